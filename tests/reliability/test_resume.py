"""A fit that was interrupted, in whatever epoch and of whatever row, ends with the bits of one that was not."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch

from benchmark.contracts import EncoderSpec, Row
from benchmark.extras import Extras
from benchmark.recipe import Preset, Recipe
from benchmark.records import FitRecord, FitSpec
from benchmark.run import Run
from benchmark.runner import Setup, run_fit
from benchmark.step import Step
from fakes import IDENTITY, fold_data, make_cohort
from methods import ROWS
from vision import TOWER

RECIPE = Recipe(epochs=3, batch_size=3, lr=0.02, ema=0.9)
ENCODER = EncoderSpec(channels=(8, 8, 16, 64), layers=(1, 1, 1, 1), stem="pooled", slices=1)
PRESET = Preset(RECIPE, ENCODER, TOWER, "a test")
DATA = fold_data(make_cohort(9, volumes=np.random.default_rng(0).integers(-1000, 400, (9, 4, 32, 32)).astype(np.int16)))
STEPS = 2  # an epoch, with six training nodules


@pytest.fixture
def fit(tmp_path: Path, monkeypatch) -> Callable[..., FitRecord | None]:
    """Make a fit in a folder; None where it was interrupted at a step, as it is by a signal."""

    runs = {name: Run(tmp_path / name, IDENTITY) for name in ("broken", "unbroken")}

    def fit(folder: str, row: Row, at_step: int = 10**6, **extras: object) -> FitRecord | None:
        taken = iter(range(1, 10**6))

        def step(self: Step, batch) -> None:
            if next(taken) == at_step:
                raise KeyboardInterrupt
            whole(self, batch)

        whole = Step.__call__
        setup = Setup(PRESET, torch.device("cpu"), "key", Extras(True, **{"checkpoint_s": 0.0} | extras))
        with monkeypatch.context() as patch:
            patch.setattr(Step, "__call__", step)
            try:
                return run_fit(runs[folder], spec_of(row), row, DATA, setup)
            except KeyboardInterrupt:
                return None

    return fit


def spec_of(row: Row) -> FitSpec:
    return FitSpec("three", row.key, 0, 0)


@pytest.mark.parametrize("key", [key for key, row in ROWS.items() if row.method])
def test_a_fit_interrupted_in_every_epoch_is_the_unbroken_one(key, fit, tmp_path):
    row = ROWS[key]
    unbroken = fit("unbroken", row, checkpoint_s=1e9, test_curve=True)
    for epoch in (1, 2):  # in the first two epochs of a training from the start: the second leaves a checkpoint
        assert fit("broken", row, STEPS * epoch, test_curve=True) is None
    assert fit("broken", row, STEPS * 2, test_curve=True) is None  # in the third, having gone on from the first
    assert len(list((tmp_path / "broken").rglob("*.checkpoint"))) == 1
    broken = fit("broken", row, test_curve=True)
    assert (unbroken.status, unbroken.metadata.resumed, broken.metadata.resumed) == ("done", [], [1, 2])
    assert np.array_equal(broken.proba, unbroken.proba)
    for name in ("weights", "history", "test_curve", "method"):  # weights: the hash of all parameters and features
        assert getattr(broken.metadata, name) == getattr(unbroken.metadata, name), name
    left = sorted(path.name for path in (tmp_path / "broken").rglob("*") if path.is_file())
    assert left == ["fold0-seed0.json", "fold0-seed0.safetensors"]
