from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from datasets import store
from fakes import make_cohort


@pytest.fixture(scope="session")
def prepared(tmp_path_factory) -> Path:
    """A small cohort's file."""
    file = Path(tmp_path_factory.mktemp("cohort") / "small.npz")
    volumes = np.random.default_rng(0).integers(-1000, 400, (60, 32, 32, 32)).astype(np.int16)
    cohort = make_cohort(60, volumes=volumes, content_hash="")
    store.write(replace(cohort, content_hash=store.content_hash(cohort)), file)
    return file
