"""A worker that is killed in the middle of a fit: the next one goes on, and the record is the unbroken one's."""

import os
import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from benchmark.run import Run
from fakes import IDENTITY
from killed_fits import SPEC

ROOT = Path(__file__).resolve().parents[2]


def forked(whole: Path, lines: list[str]) -> list[int]:
    """Make fits one after the other, each in its own process; return their exit statuses."""
    paths = os.pathsep.join(map(str, (ROOT, ROOT / "tests" / "support")))
    command = [sys.executable, str(ROOT / "tests" / "support" / "killed_fits.py"), str(whole)]
    made = subprocess.run(
        command, input="\n".join(lines) + "\n", text=True, capture_output=True, env=os.environ | {"PYTHONPATH": paths}
    )
    assert made.returncode == 0, made.stderr
    return [int(line) for line in made.stdout.split()]


@pytest.mark.skipif(not hasattr(os, "fork"), reason="this system has no fork")
def test_a_worker_killed_mid_step_mid_checkpoint_or_mid_rename_loses_no_checkpoint(tmp_path):
    died = []
    for number in range(3):
        moments = [("step", 6 + number), ("write", 2 + number), ("rename", 2 + number), ("step", 3 + number)]
        moments += [("write", 1), ("rename", 1)]  # of what it goes on with, so that it does so twice from one epoch
        died += [f"{tmp_path / str(number)} {moment} {at}" for moment, at in moments]
    ended = [f"{tmp_path / str(number)} - 0" for number in range(3)]
    assert forked(tmp_path / "whole", [*died, *ended]) == [-signal.SIGKILL] * len(died) + [0] * 3
    unbroken = Run(tmp_path / "whole", IDENTITY).read(SPEC)
    for name in ("0", "1", "2"):
        run = Run(tmp_path / name, IDENTITY)
        record = run.read(SPEC)
        assert np.array_equal(record.proba, unbroken.proba)
        assert record.metadata.history == unbroken.metadata.history and len(record.metadata.resumed) >= 3
        assert record.metadata.weights == unbroken.metadata.weights
        left = sorted(path.name for path in run.path(SPEC).parent.iterdir())
        assert left == ["fold0-seed0.json", "fold0-seed0.safetensors"]  # and nothing half written
