"""The same tables wherever the command is started: several oddities at once; `--each-surrounding` takes one by one."""

import os
import resource
import shutil
import subprocess
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import pytest

import run_all

pytestmark = pytest.mark.skipif(
    sys.platform == "win32", reason="speaks of POSIX: HOME, limits, symbolic links, /dev/full"
)

ROOT = Path(run_all.__file__).parent
GRID = ["--preset", "smoke", "--folds", "2", "--device", "cpu", "--methods", "ce", "--datasets", "C", "--workers", "0"]
CHECKOUT = ("benchmark", "methods", "datasets", "results/published", "results/golden", "run_all.py", "pyproject.toml")


@dataclass(frozen=True)
class Surrounding:
    """What is unusual around a command.

    Attributes:
        environment: Variables that are set; None takes one away.
        python: Options of the interpreter.
        files: Limit on open files.
        stdin: Whether there is standard input.
        stdout: Where standard output goes; None reads it.
        checkout: How the checkout is called below the test's folder; empty takes the real one.
        linked: Whether that is a symbolic link.
    """

    environment: Mapping[str, str | None] = field(default_factory=dict)
    python: Sequence[str] = ()
    files: int = 0
    stdin: bool = True
    stdout: str | None = None
    checkout: str = ""
    linked: bool = False


PROXY = "http://127.0.0.1:9"  # where nobody answers
ALONE = {
    "no HOME": Surrounding({"HOME": None, "XDG_CACHE_HOME": None}),
    "HOME that cannot be written": Surrounding({"HOME": "/proc/nowhere"}),
    "no TMPDIR": Surrounding({"TMPDIR": None}),
    "TMPDIR that is not there": Surrounding({"TMPDIR": "/nowhere/at/all"}),
    "LANG=C": Surrounding({"LANG": "C", "LC_ALL": "C", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0"}),
    "40 columns": Surrounding({"COLUMNS": "40", "TERM": "dumb"}),
    "closed standard input": Surrounding(stdin=False),
    "output to a full device": Surrounding(stdout="/dev/full"),
    "64 open files": Surrounding(files=64),
    "proxies": Surrounding({"http_proxy": PROXY, "https_proxy": PROXY, "ALL_PROXY": PROXY, "no_proxy": ""}),
    "blanks and letters beyond ASCII": Surrounding(checkout="Jörg's Lunge 肺 copy"),
    "a checkout behind a link": Surrounding(checkout="linked", linked=True),
    "python -O": Surrounding(python=["-O"]),
    "PYTHONHASHSEED": Surrounding({"PYTHONHASHSEED": "4711"}),
}
TOGETHER = {
    "nothing usual": ("no HOME", "TMPDIR that is not there", "LANG=C", "40 columns", "blanks and letters beyond ASCII"),
    "nothing open": (
        "HOME that cannot be written",
        "closed standard input",
        "output to a full device",
        "64 open files",
        "a checkout behind a link",
    ),
    "nothing alike": ("no TMPDIR", "proxies", "python -O", "PYTHONHASHSEED"),
}


def together(names: Sequence[str]) -> Surrounding:
    """Return several surroundings in one."""
    parts = [ALONE[name] for name in names]
    return Surrounding(
        {key: value for part in parts for key, value in part.environment.items()},
        [option for part in parts for option in part.python],
        max(part.files for part in parts),
        all(part.stdin for part in parts),
        next((part.stdout for part in parts if part.stdout), None),
        next((part.checkout for part in parts if part.checkout), ""),
        any(part.linked for part in parts),
    )


def places(folder: Path) -> list[str]:
    """Return where the command may write."""
    return ["--out", str(folder / "out"), "--work", str(folder / "work")]


def tables(folder: Path) -> dict[str, bytes]:
    """Return the tables that it wrote."""
    return {path.name: path.read_bytes() for path in (folder / "out").glob("table*")}


def start(at: Surrounding, arguments: Sequence[str], tmp_path: Path) -> subprocess.CompletedProcess[str]:
    """Run the command there, from another working directory."""
    root = ROOT
    if at.checkout:
        root = tmp_path / at.checkout
        if at.linked:
            root.symlink_to(ROOT)
        else:
            for name in CHECKOUT:
                (root / name).parent.mkdir(parents=True, exist_ok=True)
                copy = shutil.copytree if (ROOT / name).is_dir() else shutil.copy
                copy(ROOT / name, root / name)
    environment = {**os.environ, "OMP_NUM_THREADS": "1", **at.environment}
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()

    def limit() -> None:
        if at.files:
            resource.setrlimit(resource.RLIMIT_NOFILE, (at.files, at.files))
        if not at.stdin:
            os.close(0)

    with open(at.stdout or os.devnull, "w") as out:
        return subprocess.run(
            [sys.executable, *at.python, str(root / "run_all.py"), *arguments],
            cwd=elsewhere,
            env={key: value for key, value in environment.items() if value is not None},
            stdout=out if at.stdout else subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            errors="replace",
            preexec_fn=limit,
            check=False,
        )


@pytest.fixture(scope="module")
def usual(prepared, tmp_path_factory) -> dict[str, bytes]:
    """The tables that the command writes where nothing is unusual."""
    folder = tmp_path_factory.mktemp("usual")
    assert run_all.main([*GRID, "--cohort", str(prepared), *places(folder)]) == 0
    return tables(folder)


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """Take surroundings together, or each alone where that is asked for."""
    each = metafunc.config.getoption("--each-surrounding")
    cases = {name: (name,) for name in ALONE} if each else TOGETHER
    if "names" in metafunc.fixturenames:
        metafunc.parametrize("names", cases.values(), ids=list(cases))


def test_the_tables_are_the_same_wherever_the_command_is_started(names, usual, prepared, tmp_path):
    done = start(together(names), [*GRID, "--cohort", str(prepared), *places(tmp_path)], tmp_path)
    assert done.returncode == 0 and "Traceback" not in done.stderr, done.stderr
    assert tables(tmp_path) == usual and len(usual) == 3


def test_every_surrounding_is_taken_at_every_commit():
    assert {name for names in TOGETHER.values() for name in names} == set(ALONE)
