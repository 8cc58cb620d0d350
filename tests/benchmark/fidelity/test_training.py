from dataclasses import replace

import numpy as np
import pytest
from torch import nn

from benchmark.contracts import Method, Row
from benchmark.fidelity.training import Learner, apart, crossed, percent, told_apart
from benchmark.recipe import PRESETS

QUICK = PRESETS["quick"]


class Brightness(Method):
    """Tells classes by the density in the middle, nothing else."""

    title = "Brightness"

    def __init__(self, task):
        super().__init__()
        assert task.image_shape == (1, 32, 32)
        self.line = nn.Linear(1, task.num_classes)

    def logits(self, images):
        return self.line(10 * images[:, :, 10:22, 10:22].mean(dim=(1, 2, 3))[:, None] - 4)

    def loss(self, batch):
        return {"ce": nn.functional.cross_entropy(self.logits(batch.images), batch.labels)}

    def predict_proba(self, images):
        return self.logits(images).softmax(dim=1)


LEARNER = Learner(
    Row("brightness", "Brightness", "plugin", Brightness), replace(QUICK, recipe=replace(QUICK.recipe, epochs=20))
)


def discs(labels, hu, seed):
    """Return slices with a disc whose density is the class's, on lung."""
    random = np.random.default_rng(seed)
    i, j = np.indices((32, 32)) - 15.5
    shown = np.where(np.hypot(i, j) < 8, np.array(hu)[labels][:, None, None], -850)
    return (shown + 30 * random.standard_normal(shown.shape)).astype(np.int16)


@pytest.fixture(scope="module")
def labels():
    return np.arange(160) % 2


@pytest.fixture(scope="module")
def fold_of():
    return np.arange(160) // 2 % 2


def test_what_is_learned_carries_over_where_classes_look_alike_and_not_where_they_look_otherwise(labels, fold_of):
    some = labels.copy()
    some[:4] = -1
    kinds = {"real": discs(labels, [-700, 100], 0), "turned": discs(labels, [100, -700], 1)}
    done = []
    learner = Learner(LEARNER.row, LEARNER.preset, lambda: done.append(1))
    right = crossed(learner, kinds, some, ("one", "two"), fold_of, 2)
    assert list(right) == [("real", "real"), ("real", "turned"), ("turned", "real"), ("turned", "turned")]
    assert len(done) == 2 * 2 * 2  # folds, seeds, kinds
    every = np.arange(len(labels))
    assert percent(right["real", "real"])(every) > 90 and percent(right["turned", "real"])(every) < 10
    for of in right.values():
        assert of.shape == (2, 160) and np.isnan(of[:, :4]).all() and not np.isnan(of[:, 4:]).any()


def test_a_fit_is_repeated_bit_by_bit(labels):
    hu = discs(labels, [-700, 100], 0)
    first, again, other = (LEARNER.learn(hu, labels, ("one", "two"), [hu[:9]], seed)[0] for seed in (1, 1, 2))
    np.testing.assert_array_equal(first, again)
    assert (first != other).any()


def test_kinds_that_differ_are_told_apart_and_others_are_not(labels, fold_of):
    one, same, other = discs(labels, [0, 0], 0), discs(labels, [0, 0], 1), discs(labels, [-300, -300], 2)
    every = np.arange(len(labels))
    assert apart(told_apart(LEARNER, one, other, fold_of, 1), fold_of, every) > 0.95
    assert 0.3 < apart(told_apart(LEARNER, one, same, fold_of, 1), fold_of, every) < 0.7


def test_the_area_is_the_mean_over_folds_and_seeds():
    proba = np.array([[[0.1, 0.2, 0.9, 0.8], [0.3, 0.4, 0.1, 0.2]], [[0.1, 0.3, 0.1, 0.1], [0.2, 0.4, 0.1, 0.1]]])
    fold_of = np.array([0, 0, 1, 1])
    assert apart(proba, fold_of, np.arange(4)) == pytest.approx((1 + 0 + 0.75 + 0.5) / 4)
    assert apart(proba, fold_of, np.array([0, 0])) == pytest.approx(1)  # a fold that was not drawn does not count


def test_percent_is_the_mean_over_seeds_and_rows_without_nan():
    right = np.array([[1.0, 0.0, np.nan], [1.0, 1.0, np.nan]])
    assert percent(right)(np.arange(3)) == pytest.approx(75)
    assert percent(right)(np.array([0, 0, 1])) == pytest.approx(100 * 5 / 6)
