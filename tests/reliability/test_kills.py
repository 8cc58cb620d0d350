"""kill -9 at random moments: nothing is lost, nothing is left, and the tables have the bytes of the unbroken run."""

import json
import os
import random
import signal
import time
from pathlib import Path

import pytest

from grids import Grid, fresh, left_behind

pytestmark = pytest.mark.skipif(not os.path.isdir("/proc"), reason="counts processes by /proc")


def test_a_driver_that_is_killed_at_random_moments_loses_nothing(grid: Grid, tmp_path, many, figures):
    moments = random.Random(many.seed)
    kills, finished, run = 0, 0, tmp_path / "run"
    while kills < many.kills:
        command = grid.start(run)
        time.sleep(moments.uniform(0, grid.seconds / 2))
        command.kill()
        kills += grid.zygote.wait(command) == -signal.SIGKILL
        assert command.are_gone()
        if grid.fits(run) == grid.fits(grid.unbroken) or kills == many.kills:
            grid.finish(run)
            grid.check(run)
            finished += 1
            fresh(run)
    figures["kills of the driver, 12 fits, --workers 0"] = {"kills": kills, "grids compared": finished}


def test_drivers_and_workers_that_are_killed_leave_no_process_and_lose_nothing(grid: Grid, tmp_path, many, figures):
    moments, run = random.Random(many.seed), tmp_path / "run"
    for _ in range(many.kills_with_workers):
        command = grid.start(run, 2)
        until = time.monotonic() + 60
        while not (run / "claims").exists() and time.monotonic() < until:
            time.sleep(0.05)
        time.sleep(moments.uniform(0, 1))
        command.kill()
        assert grid.zygote.wait(command) == -signal.SIGKILL
        assert command.are_gone()
    command = grid.start(run, 2)
    killed = 0
    until = time.monotonic() + 120
    while killed < many.worker_kills and time.monotonic() < until and command.pid in command.processes():
        for file in (run / "claims").glob("*.json"):  # whoever holds one is at work
            pid = owner(file)
            if pid in command.processes() and pid != command.pid:
                os.kill(pid, signal.SIGKILL)
                killed += 1
                time.sleep(moments.uniform(1, 3))
                break
        time.sleep(0.02)
    grid.zygote.wait(command)
    grid.finish(run)
    grid.check(run)
    assert left_behind(run) == [] and killed
    figures["kills of driver and workers, 12 fits, --workers 2"] = {
        "kills of the driver": many.kills_with_workers,
        "kills of a worker": killed,
    }


def owner(file: Path) -> int | None:
    try:
        return json.loads(file.read_text())["pid"]
    except (OSError, ValueError):
        return None
