from pathlib import Path

import pytest

from benchmark.contracts import Cohort, FoldData
from benchmark.run import Run
from fakes import IDENTITY, fold_data, make_cohort


@pytest.fixture
def cohort() -> Cohort:
    return make_cohort()


@pytest.fixture
def data(cohort: Cohort) -> FoldData:
    return fold_data(cohort)


@pytest.fixture
def run(tmp_path: Path) -> Run:
    return Run(tmp_path / "run", IDENTITY)
