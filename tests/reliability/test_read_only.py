"""A checkout, folders and a finished run on a read-only mount: what reads works, what must write says so.

The mounts are real, in a namespace of their own, so that they hold for root too and end with the process.
"""

import json
import os
import shlex
import subprocess
import sys
from pathlib import Path

import pytest

import run_all
from benchmark.commands import check
from benchmark.identity import ROOT
from benchmark.places import VARIABLE
from runs import copy_results

SMOKE = ["--preset", "smoke", "--epochs", "1", "--folds", "2", "--device", "cpu", "--workers", "0", "--methods", "ce"]
DRIVER = """
import contextlib, importlib, io, json, sys
asked = json.load(open(sys.argv[1]))
said = {}
for name, (module, arguments) in asked.items():
    out, err = io.StringIO(), io.StringIO()
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
        status = importlib.import_module(module).main(arguments)
    said[name] = status, out.getvalue(), err.getvalue()
json.dump(said, sys.stdout)
"""


def mounted(locked: list[Path], command: list[str], **environment: str) -> str:
    """Return what a command prints that finds some folders on read-only mounts."""
    mounts = [f"mount --bind {p} {p} && mount -o remount,bind,ro {p}" for p in map(shlex.quote, map(str, locked))]
    script = " && ".join([*mounts, shlex.join(command)])
    unshare = ["unshare", "--mount", *([] if os.geteuid() == 0 else ["--map-root-user"])]
    known = {name: value for name, value in os.environ.items() if name != VARIABLE} | environment
    done = subprocess.run([*unshare, "sh", "-c", script], capture_output=True, text=True, check=False, env=known)
    if done.returncode:
        raise OSError(done.stderr)
    return done.stdout


@pytest.fixture(scope="module")
def place(tmp_path_factory) -> Path:
    """A folder, on a machine where one can be mounted so that nothing can be written to it."""
    folder = tmp_path_factory.mktemp("read-only")
    (folder / "locked").mkdir()
    try:
        mounted([folder / "locked"], ["sh", "-c", f"! touch {shlex.quote(str(folder / 'locked' / 'file'))} 2>&1"])
    except OSError as error:
        pytest.skip(f"no folder can be mounted read-only here ({str(error).strip()})")
    return folder


@pytest.fixture(scope="module")
def said(place, prepared) -> dict[str, tuple[int, str, str]]:
    """What each command says, all in one process that finds the checkout and the locked folder read-only."""
    locked, run, cohort = place / "locked", place / "locked" / "run", ["--cohort", str(prepared)]
    (place / "driver.py").write_text(DRIVER)
    assert run_all.main([*SMOKE, *cohort, "--work", str(place / "work"), "--out", str(run)]) == 0
    copy_results(place / "results")
    assert check.main([str(run), "--accept", "a test", "--results", str(place / "results")]) == 0
    work, results = ["--work", str(place / "work")], ["--results", str(place / "results")]
    again = [*SMOKE, *cohort, *work]
    asked = {
        "a run elsewhere": ("run_all", [*again, "--out", str(place / "new")]),
        "the default folder": ("run_all", [*SMOKE, *cohort, "--dry-run"]),
        "a locked --work": ("run_all", [*SMOKE, *cohort, "--work", str(locked)]),
        "a locked --out": ("run_all", [*again, "--out", str(locked / "new")]),
        "a dry run with a locked --out": ("run_all", [*again, "--out", str(locked / "new"), "--dry-run"]),
        "the finished run again": ("run_all", [*again, "--out", str(run)]),
        "the list": ("run_all", ["--list"]),
        "report": ("benchmark.commands.report", [str(run)]),
        "report elsewhere": ("benchmark.commands.report", [str(run), "--out", str(place / "report.html")]),
        "check": ("benchmark.commands.check", [str(run), *results]),
        "compare": ("benchmark.commands.compare", [str(run), str(run)]),
        "predict": ("benchmark.commands.predict", [str(run), "ce", "--input", str(prepared)]),
        "predict into it": (
            "benchmark.commands.predict",
            [str(run), "ce", "--input", str(prepared), "--out", str(run / "p.csv")],
        ),
        "accept into the checkout": ("benchmark.commands.check", [str(run), "--accept", "a test"]),
    }
    (place / "asked.json").write_text(json.dumps(asked))
    before = contents(locked)
    python = [sys.executable, str(place / "driver.py"), str(place / "asked.json")]
    paths = os.pathsep.join([str(ROOT), os.environ.get("PYTHONPATH", "")])
    text = mounted([ROOT, locked], python, PYTHONPATH=paths, HOME=str(place), XDG_CACHE_HOME=str(place / "cache"))
    assert contents(locked) == before
    return json.loads(text)


def contents(folder: Path) -> dict[str, bytes]:
    return {str(path): path.read_bytes() for path in sorted(folder.rglob("*")) if path.is_file()}


READS = ("a run elsewhere", "the default folder", "the list", "report", "report elsewhere", "check", "compare")


@pytest.mark.parametrize("command", [*READS, "predict"])
def test_what_writes_nothing_there_works(said, command):
    status, out, err = said[command]
    assert status == 0 and "Read-only" not in out + err, err


def test_work_goes_to_the_users_cache_where_the_checkout_cannot_be_written_to(said, place):
    assert str(place / "cache" / "lung-nodule-benchmark") in "".join(said["the default folder"][1].split("\n"))


WRITES = {
    "a locked --work": "nothing can be written to {locked} (Read-only file system): give another folder with --work",
    "a locked --out": "nothing can be written to {locked}/new (Read-only file system): give another folder with --out",
    "a dry run with a locked --out": "nothing can be written to {locked}/new (Read-only file system): give another",
    "the finished run again": "nothing can be written to {locked}/run (Read-only file system): give another folder",
    "predict into it": "nothing can be written to {locked}/run (Read-only file system): give another folder with --out",
    "accept into the checkout": ".toml: cannot be written (Read-only file system); see to it, or give another",
}


@pytest.mark.parametrize("command", WRITES)
def test_what_must_write_there_says_so_in_one_sentence(said, place, command):
    status, _, err = said[command]
    assert status == 2 and err.count("\n") == 1, err
    assert WRITES[command].format(locked=place / "locked") in err
