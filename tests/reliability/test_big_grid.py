"""A grid of 2,000 fits is planned in seconds, and one that is done is read again in seconds and little memory."""

import sys
from dataclasses import asdict, replace

import pytest

from benchmark.run import Run
from fresh import Taken, taken
from grids import Grid

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="a process's peak is read from /proc")
FITS = 2000
SEEDS = (FITS - 8) // 2  # four references have one seed


def rounded(found: Taken) -> dict[str, object]:
    return asdict(found) | {"seconds": round(found.seconds, 1), "mb": round(found.mb, 1)}


def test_a_plan_of_two_thousand_fits_takes_seconds(grid: Grid, tmp_path, figures):
    options = ["--datasets", "A", "--methods", "ce", "--preset", "smoke", "--folds", "2", "--device", "cpu"]
    plan = taken(["run_all", *options, "--seeds", SEEDS, "--work", tmp_path, "--dry-run"])
    figures["plan of 2,000 fits"] = rounded(plan)
    assert plan.statuses == [0] and plan.seconds < 10 and plan.mb < 300, plan


@pytest.mark.slow
def test_two_thousand_fits_that_are_done_are_read_again_in_seconds(grid: Grid, tmp_path, figures):
    """Records of one seed stand for those of the others: each is sealed anew."""
    run = Run.open(grid.unbroken)
    copy = Run(tmp_path / "run", run.identity)
    copy.start("command", run.metadata(), run.protocols())
    for spec in run.specs():
        record = run.read(spec)
        if spec.seed == 0:
            for seed in range(SEEDS if spec.method == "ce" else 1):
                copy.write(replace(record, spec=replace(spec, seed=seed)))
    command = ["run_all", *grid.options, "--workers", "0", "--out", copy.folder, "--seeds", SEEDS]
    first = taken(command)  # says finished, and writes the tables and the report
    assert first.statuses == [0] and first.mb < 300, first
    again = taken(command)
    figures["rerun of 2,000 fits, all done"] = rounded(again)
    assert again.statuses == [0] and again.seconds < 10 and again.mb < 300, again
