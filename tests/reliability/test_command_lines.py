"""Command lines and preset files that nobody thought of, through `main()`: a plan, or one sentence and status 2."""

import itertools
import pickle
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import run_all
from benchmark import commandline
from benchmark.places import VARIABLE
from once import read_once

AFEW, MANY = 200, 1500  # of each kind
WORDS = (
    *("", " ", "-", "--", "-1", "0", "1", "2", "5", "7", "1e309", "nan", "inf", "0x10", "1_0", "9" * 400, "٣"),
    *("A", "B", "C", "a", "ce", "CE", "clip_lung", "paper", "all", "quick", "smoke", "auto", "phantom", "dicom"),
    *(
        "published",
        "text",
        "openai",
        "random",
        "cpu",
        "cuda",
        "cuda:99",
        "mps",
        "hf-hub:",
        "hf-hub:a/b@c",
        "local-dir:",
    ),
    *(
        "local-dir:/dev/null",
        "RN50",
        "clip_lung.alpha=2",
        "clip_lung.alpha=nan",
        "clip_lung.losses=[1",
        "ce.x=1",
        "ce.=1",
    ),
    *(
        "=",
        "a.b.c=d",
        "clip_lung.alpha=" + "[" * 300,
        "~nobody/x",
        "/dev/null",
        "/proc/self/mem",
        "/dev/full",
        "..",
        ".",
    ),
    *("x" * 5000, "a/" * 3000, "\ud800", "\x1b[2J", "[bold]x[/]", "{0}%s%n", "=cmd|' /C calc'!A0", "<script>", "a\nb"),
    *("nothing.toml", "nothing.npz", "nothing.py", "tcp://256.1.1.1:1", "tls://", "localhost", "://", "http://["),
)
MADE = "made:"  # a file that the test made


@pytest.fixture(scope="module")
def made(tmp_path_factory, prepared) -> Path:
    """A folder with files that are not what an option wants, and a cohort that is."""
    folder = tmp_path_factory.mktemp("made")
    contents = {
        "pickle.npz": pickle.dumps({"a": 1}),
        "empty.npz": b"",
        "cut.npz": prepared.read_bytes()[:5000],
        "empty.toml": b"",
        "bytes.toml": bytes(range(256)),
        "deep.toml": b"base = " + b"[" * 5000,
        "cohort.npz": prepared.read_bytes(),
        "text.py": b"this is no Python",
        "stops.py": b"raise ValueError('no')",
        "nodules.csv": b"nodule_id,patient_id\n1,=1+1\n",
    }
    for name, content in contents.items():
        (folder / name).write_bytes(content)
    return folder


@pytest.fixture
def call(capsys, monkeypatch, tmp_path) -> Callable[[list[str]], None]:
    """Give what runs a command line, which must end as is promised."""
    down = tmp_path / "here" / "there"
    down.mkdir(parents=True)
    monkeypatch.chdir(down)
    monkeypatch.setenv(VARIABLE, str(tmp_path / "work"))
    read_once(monkeypatch)

    def call(arguments: list[str]) -> None:
        capsys.readouterr()
        try:
            status = run_all.main(arguments)
        except SystemExit as help_was_asked_for:
            assert help_was_asked_for.code == 0 and {"-h", "--help"} & {one[:6] for one in arguments}
            return
        out, err = capsys.readouterr()
        assert status in (0, 2), (arguments, status, err)
        assert "Traceback" not in out + err
        if status == 2:
            assert err.startswith("run_all.py: ") and err.count("\n") == 1 and not out, (arguments, out, err)

    return call


def examples(request: pytest.FixtureRequest) -> settings:
    number = MANY if request.config.getoption("--many-command-lines") else AFEW
    checks = [HealthCheck.function_scoped_fixture, HealthCheck.too_slow]
    return settings(max_examples=number, suppress_health_check=checks, database=None)


def options() -> st.SearchStrategy[list[str]]:
    """Return one option with its values, of those that the parser has, or words alone."""
    names = sorted(name for action in commandline.parser()._actions for name in action.option_strings)
    words = st.one_of(st.sampled_from(WORDS), st.text(max_size=8), st.integers().map(str), files())
    given = st.tuples(st.sampled_from(names), st.lists(words, max_size=2)).map(lambda pair: [pair[0], *pair[1]])
    glued = st.tuples(st.sampled_from(names), words).map(lambda pair: [f"{pair[0]}={pair[1]}"])
    return st.one_of(given, given, given, glued, st.lists(words, max_size=1))


def files() -> st.SearchStrategy[str]:
    names = ("", "pickle.npz", "empty.npz", "cut.npz", "cohort.npz", "text.py", "stops.py", "nodules.csv", "nowhere")
    return st.sampled_from([*names, "empty.toml", "bytes.toml", "deep.toml"]).map(lambda name: MADE + name)


def test_any_command_line_ends_in_a_plan_or_a_sentence(call, made, request):
    @examples(request)
    @given(st.lists(options(), max_size=5))
    def check(lines: list[list[str]]) -> None:
        words = list(itertools.chain.from_iterable(lines))
        call([*(word.replace(MADE, f"{made}/") for word in words), "--dry-run"])

    check()


KEYS = ("base", "recipe", "encoder", "text_tower", "folds", "nodules", "purpose", "recipe.lr", "recipe.epochs", "x")
KEYS += ("recipe.window_hu", "recipe.ema", "encoder.channels", "encoder.slices", "encoder.stem", "text_tower.width")
PLAIN = ('"quick"', '"smoke"', "0", "-1", "1", "3", "0.5", "1e400", "nan", "inf", "true", '""', '"3x3"', "[1, 2]", "[]")
PLAIN += (
    "[[1], 2]",
    "{}",
    "{lr = 1}",
    "2026-11-26",
    "9" * 30,
    "[64, 64, 64, 64]",
    "[-1.0, 1.0]",
    '"\\u0000"',
    "'''a\nb'''",
)


def test_any_preset_file_is_taken_or_refused_in_a_sentence(call, tmp_path, request):
    file = tmp_path / "my.toml"
    lines = st.tuples(st.sampled_from(KEYS), st.sampled_from(PLAIN)).map(" = ".join)

    @examples(request)
    @given(st.sampled_from(["", 'base = "quick"', 'base = "smoke"']), st.lists(st.one_of(lines, st.text(max_size=5))))
    def check(base: str, others: list[str]) -> None:
        text = "\n".join([base, *others])
        file.write_bytes(text.encode("utf-8", "surrogatepass"))
        call(["--preset", str(file), "--methods", "ce", "--dry-run"])

    check()


@pytest.mark.skipif(sys.platform == "win32", reason="speaks of a POSIX device")
def test_a_run_that_was_not_planned_ends_so_too(call, made, tmp_path):
    ready = [
        "--preset",
        "smoke",
        "--epochs",
        "1",
        "--methods",
        "ce",
        "--workers",
        "0",
        "--datasets",
        "C",
        "--folds",
        "2",
    ]
    call([*ready, "--cohort", str(made / "cohort.npz"), "--out", str(tmp_path / "out")])
    assert (tmp_path / "out" / "table2.md").exists()
    for name in ("pickle.npz", "empty.npz", "cut.npz", "text.py", "nowhere"):
        call([*ready, "--cohort", str(made / name)])
    for out in ("/dev/null", "/proc/nowhere", "x" * 5000, str(made / "cohort.npz")):
        call([*ready, "--cohort", str(made / "cohort.npz"), "--out", out])
