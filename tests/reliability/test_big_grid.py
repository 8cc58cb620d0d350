"""A grid of 2,000 fits is planned in seconds, and one that is done is read again in seconds and little memory."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

from grids import Grid
from zygote import ROOT

FITS = 2000
MEASURED = """
import json, resource, sys, time
import run_all
from benchmark.experiment import Experiment
Experiment.train = lambda *_: sys.exit("it trained again")
base = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
begun = time.monotonic()
status = run_all.main(sys.argv[1:])
seconds = time.monotonic() - begun
used = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
print(json.dumps({"status": status, "seconds": seconds, "before_mb": base / 1024, "mb": used / 1024}))
"""


def measured(*arguments: str) -> dict[str, float]:
    """Run a command in a process of its own, which has imported everything; return status, seconds and peak memory."""
    command = [sys.executable, "-c", MEASURED, *arguments]
    done = subprocess.run(command, capture_output=True, text=True, cwd=ROOT, check=False)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout.splitlines()[-1])


def test_a_plan_of_two_thousand_fits_takes_seconds(grid: Grid, tmp_path, figures):
    options = ["--datasets", "A", "--methods", "ce", "--preset", "smoke", "--folds", "2", "--device", "cpu"]
    seeds = str((FITS - 8) // 2)  # four references have one seed
    plan = measured(*options, "--seeds", seeds, "--work", str(tmp_path), "--dry-run")
    assert plan["status"] == 0 and plan["seconds"] < 5
    figures["plan of 2,000 fits"] = {"seconds": round(plan["seconds"], 1)}


@pytest.mark.slow
def test_two_thousand_fits_that_are_done_are_read_again_in_seconds(grid: Grid, tmp_path, figures):
    """Records of one seed stand for those of the others: each is sealed anew."""
    from dataclasses import replace

    from benchmark.run import Run

    run = Run.open(grid.unbroken)
    seeds = (FITS - 8) // 2
    copy = Run(tmp_path / "run", run.identity)
    copy.start("command", run.metadata(), run.protocols())
    for spec in run.specs():
        record = run.read(spec)
        trained = spec.method == "ce"
        if spec.seed == 0:
            for seed in range(seeds if trained else 1):
                copy.write(replace(record, spec=replace(spec, seed=seed)))
    options = [*grid.options, "--workers", "0", "--out", str(Path(copy.folder)), "--seeds", str(seeds)]
    again = measured(*options)
    figures["rerun of 2,000 fits, all done"] = {name: round(value, 1) for name, value in again.items()}
    assert again["status"] == 0 and again["seconds"] < 10, again
    assert again["mb"] - again["before_mb"] < 300, again  # torch alone has more than that before any work
