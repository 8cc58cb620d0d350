"""What trains nothing needs no torch: half a gigabyte and seconds less for every look at what is there."""

import shutil
import sys
from pathlib import Path

import pytest

from benchmark.commands.check import RESULTS
from fresh import taken
from grids import Grid

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="a process's peak is read from /proc")
MB = 300


@pytest.fixture
def results(tmp_path) -> Path:
    """A copy of the folder of published and accepted numbers, which a test may write to."""
    return Path(shutil.copytree(RESULTS, tmp_path / "results", ignore=shutil.ignore_patterns("*.tar.xz")))


@pytest.mark.parametrize("what", ["rerun", "plan", "list"])
def test_a_run_that_is_done_a_plan_and_the_list_of_choices_import_no_torch(grid: Grid, what):
    done = ["--workers", "0", "--out", grid.unbroken]
    more = {"rerun": done, "plan": [*done, "--dry-run"], "list": ["--list"]}[what]
    found = taken(["run_all", *grid.options, *more])
    assert found.statuses == [0] and not found.has_torch and found.mb < MB, found


def test_reports_checks_comparisons_cohorts_and_audits_import_no_torch(grid: Grid, cohort: Path, results, tmp_path):
    run = grid.unbroken
    found = taken(
        ["report", run, "--out", tmp_path / "report.html"],
        ["check", run, "--results", results, "--accept", "a test"],
        ["check", run, "--results", results],
        ["compare", run, run],
        ["cohort", cohort],
        ["audit"],
    )
    assert found.statuses == [0] * 6 and not found.has_torch and found.mb < MB, found
