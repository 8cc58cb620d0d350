"""The command on two dozen nodules of noise: seconds, with every file that a run has."""

from dataclasses import replace
from pathlib import Path

import numpy as np

import run_all
from datasets import store
from fakes import make_cohort


def call(out: Path, work: Path, *more: str) -> int:
    """Run the command for one row of LIDC-C in two folds; return its exit status."""
    grid = ["--preset", "smoke", "--folds", "2", "--datasets", "C", "--methods", "ce", "--device", "cpu"]
    return run_all.main([*grid, "--workers", "0", "--work", str(work), "--out", str(out), *more])


def small_cohort(folder: Path) -> Path:
    """Write a prepared cohort of benign and malignant noise; return its file."""
    file = folder / "cohort.npz"
    crops = np.random.default_rng(0).integers(-1000, 400, (24, 32, 32, 32)).astype(np.int16)
    cohort = make_cohort(24, volumes=crops, malignancy=np.arange(24) % 2 * 4.0 + 1, n_readers=np.full(24, 4))
    store.write(replace(cohort, content_hash=store.content_hash(cohort)), file)
    return file
