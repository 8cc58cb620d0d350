"""Signals end a run within ten seconds: resumable, one sentence, status 130, and nothing left behind."""

import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from grids import Grid
from leftovers import left_behind
from zygote import ROOT, Command

IN_TIME_S = 10.0
SAID = "run_all.py: stopped; what is finished is kept, the same command goes on from there"
LONG = ("--epochs", "2000")  # nobody waits for these


def until(true: Callable[[], object], seconds: float = 90.0) -> None:
    end = time.monotonic() + seconds
    while not true():
        assert time.monotonic() < end
        time.sleep(0.02)


def stop(grid: Grid, command: Command, number: int) -> None:
    """Send a signal to all processes, as terminals and Slurm do, and see how the command ends."""
    begun = time.monotonic()
    command.kill_all(number)
    assert grid.zygote.wait(command) == 130, command.said.read_text()
    assert time.monotonic() - begun < IN_TIME_S
    assert command.are_gone(IN_TIME_S)
    said = command.said.read_text()
    assert SAID in said and "Traceback" not in said and "Exception" not in said, said


def training(run: Path) -> Callable[[], object]:
    """Say whether a method is being trained: references come first."""
    return lambda: list((run / "claims").glob("three-ce-*"))


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGUSR1], ids=lambda one: one.name)
def test_a_signal_ends_training_and_the_same_command_goes_on(grid: Grid, tmp_path, number):
    run = tmp_path / "run"
    (grid.work / "timings.json").unlink(missing_ok=True)
    command = grid.start(run, 0, *LONG)
    until(training(run))
    stop(grid, command, number)
    assert left_behind(run) == [] and len(grid.fits(run)) == 8  # the references
    assert '"majority"' in (grid.work / "timings.json").read_text()  # what is finished has told what it took


def test_a_signal_ends_worker_processes_too(grid: Grid, tmp_path):
    run = tmp_path / "run"
    command = grid.start(run, 2, *LONG)
    until(training(run))
    stop(grid, command, signal.SIGINT)
    assert left_behind(run) == []


def test_a_second_signal_ends_it_at_once(grid: Grid, tmp_path):
    run = tmp_path / "run"
    command = grid.start(run, 0, *LONG)
    until(training(run))
    command.kill_all(signal.SIGINT)
    time.sleep(0.05)  # two that wait together are one
    command.kill_all(signal.SIGINT)
    begun = time.monotonic()
    assert grid.zygote.wait(command) == 130 and time.monotonic() - begun < 2
    assert command.are_gone(2.0) and "Traceback" not in command.said.read_text()


@pytest.mark.parametrize("place", ["benchmark.report.page:gather", "benchmark.completion:write_tables"])
def test_a_signal_while_tables_and_report_are_written_loses_nothing(grid: Grid, tmp_path, place):
    run = tmp_path / "run"
    command = grid.start(run, term_in=place)
    assert grid.zygote.wait(command) == 130 and "Traceback" not in command.said.read_text(), command.said.read_text()
    grid.finish(run)
    grid.check(run)


def test_a_signal_ends_preparation_with_its_processes(grid: Grid, tmp_path):
    options = ["--preset", "quick", "--workers", "2", "--work", str(tmp_path / "work"), "--out", str(tmp_path / "run")]
    command = grid.zygote.start(options)
    until(lambda: len(command.processes()) > 2)  # one of them keeps account of shared things
    stop(grid, command, signal.SIGINT)
    assert list((tmp_path / "work" / "cohorts").iterdir()) == []


HALF_STARTED = """
import multiprocessing, threading, time
from multiprocessing import resource_tracker, util
from benchmark.signals import end

def stalled(*arguments):
    whole(*arguments)  # the process is there, and waits to be told what it is
    there.set()
    time.sleep(60)

resource_tracker.ensure_running()
whole, there = util.spawnv_passfds, threading.Event()
util.spawnv_passfds = stalled
process = multiprocessing.get_context("spawn").Process(target=print)
threading.Thread(target=process.start, daemon=True).start()
there.wait()
end()
"""


@pytest.mark.skipif(not Path("/proc/self/task").exists(), reason="finds processes by /proc")
def test_a_process_that_is_just_being_started_ends_without_a_word():
    ended = subprocess.run([sys.executable, "-c", HALF_STARTED], capture_output=True, text=True, cwd=ROOT)
    assert (ended.returncode, ended.stdout, ended.stderr) == (130, "", "")
