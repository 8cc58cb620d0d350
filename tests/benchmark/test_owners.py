"""Whose something is."""

import os
import subprocess
import sys

import pytest

from benchmark import files, owners
from benchmark.identity import ROOT


@pytest.fixture(scope="module")
def dead() -> str:
    """The mark of a process of this machine that is dead."""
    script = "from benchmark import owners; print(owners.mark())"
    return subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, cwd=ROOT).stdout.strip()


def test_a_mark_tells_the_dead_of_this_machine_from_the_living_and_from_all_others(dead):
    here, pid, when = owners.mark().split("-")
    assert owners.is_of_the_dead(dead) and not owners.is_of_the_dead(owners.mark())
    assert owners.is_of_the_dead(f"{here}-{pid}-{int(when) - 1}")  # who had the number before
    far = dead.replace(here, "0" * len(here))
    assert not any(map(owners.is_of_the_dead, (far, "", "tmp", "0123456789abcdef", f"{here}-x-1", f"{here}-{pid}")))


def test_a_zombie_is_dead():
    child = subprocess.Popen([sys.executable, "-c", ""])
    os.waitid(os.P_PID, child.pid, os.WEXITED | os.WNOWAIT)
    assert owners.started(child.pid) == "" and owners.started(os.getpid()) != ""
    child.wait()


def test_half_written_files_of_the_dead_are_swept_and_no_others(tmp_path, dead):
    names = [f".run.json.01.{owners.mark()}.tmp", ".run.json.0123456789abcdef.tmp", ".tmp", f".{dead}", f"a.{dead}.tmp"]
    for name in (*names, f".run.json.01.{dead}.tmp"):
        (tmp_path / name).write_text("{")
    files.sweep(tmp_path.glob(files.PASSING))
    assert sorted(path.name for path in tmp_path.iterdir()) == sorted(names)


def test_a_file_that_is_being_written_says_by_whom(tmp_path):
    with files.replacing(tmp_path / "file"):
        (half,) = tmp_path.glob(files.PASSING)
        assert half.name.split(".")[-2] == owners.mark()
    assert files.remains(tmp_path / "file") == []
