from pathlib import Path

import numpy as np
import pytest

from benchmark.contracts import Cohort, Fold
from benchmark.records import Run
from fakes import IDENTITY, make_cohort


@pytest.fixture
def cohort() -> Cohort:
    return make_cohort()


@pytest.fixture
def labels() -> np.ndarray:
    return np.arange(30) % 3


@pytest.fixture
def fold() -> Fold:
    return Fold(0, np.arange(20), np.arange(20, 30))


@pytest.fixture
def run(tmp_path: Path) -> Run:
    return Run(tmp_path / "run", IDENTITY)
