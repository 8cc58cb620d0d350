"""What the tests on folds do where the truth is known: real learners, trained on folds that overlap as ours do."""

import numpy as np
import pytest

from benchmark.planning import Spread
from benchmark.statistics import corrected_interval, corrected_t_test

RUNS, NODULES, FEATURES = 2000, 100, 5
EQUAL, UNEQUAL = [20] * 5, [36, 24, 18, 12, 10]


def _accuracies(rng, features, labels, fold_of, used=1.0):
    """Train a nearest-mean classifier without each fold, on a random share of the rest; return accuracies [run, fold].

    Args:
        rng: For the share that is used.
        features: [run, nodule, feature].
        labels: Boolean [run, nodule].
        fold_of: Integer [run, nodule].
        used: Which share of its training set a training sees: what another seed changes.
    """
    held_out = fold_of[:, :, None] == np.arange(5)
    seen = ~held_out & (rng.random(fold_of.shape) < used)[:, :, None]
    weights = [(seen & (labels == label)[:, :, None]).astype(float) for label in (False, True)]
    benign, malignant = (
        w.swapaxes(1, 2) @ features / np.maximum(w.sum(axis=1), 1)[:, :, None] for w in weights
    )  # means: [run, fold, feature]
    lead = features @ (malignant - benign).swapaxes(1, 2) - ((malignant**2 - benign**2).sum(axis=2) / 2)[:, None]
    right = ((lead > 0) == labels[:, :, None]) & held_out
    return right.sum(axis=1) / held_out.sum(axis=1)


def _differences(rng, sizes, malignant, repeats, seeds=1, used=1.0):
    """Compare two learners that see features of their own, alike in law: the truth is no difference.

    Returns:
        [run, seed, fold over all repeats].
    """
    labels = rng.random((RUNS, NODULES)) < malignant
    features = rng.normal(size=(2, RUNS, NODULES, FEATURES)) + 0.67 * labels[..., None]
    folds = np.repeat(np.arange(5), sizes)
    by_repeat = []
    for _ in range(repeats):
        fold_of = rng.permuted(np.broadcast_to(folds, labels.shape), axis=1)
        reached = [
            [_accuracies(rng, own, labels, fold_of, used) for own in features] for _ in range(seeds)
        ]  # [seed, learner, run, fold]
        by_repeat.append(np.array(reached)[:, 0] - np.array(reached)[:, 1])
    return np.concatenate(by_repeat, axis=2).swapaxes(0, 1)


def _rejected(differences, test_over_train):
    return np.mean([corrected_t_test(run, test_over_train) < 0.05 for run in differences])


@pytest.mark.parametrize(
    ("sizes", "malignant", "repeats"), [(EQUAL, 0.5, 1), (UNEQUAL, 0.3, 1), (EQUAL, 0.5, 5), (UNEQUAL, 0.3, 5)]
)
def test_of_2000_equal_pairs_the_corrected_test_rejects_at_most_6_percent(sizes, malignant, repeats):
    differences = _differences(np.random.default_rng(1), sizes, malignant, repeats)[:, 0]
    print("REAL", sizes, repeats, _rejected(differences, 0.25), _rejected(differences, 0.0))
    assert _rejected(differences, 0.25) <= 0.06
    if repeats > 1:
        assert _rejected(differences, 0.0) > 0.30  # the naive test, which takes repeats for new evidence


@pytest.mark.parametrize("repeats", [1, 5])
def test_seeds(repeats):
    differences = _differences(np.random.default_rng(2), UNEQUAL, 0.3, repeats, seeds=5, used=0.5)
    averaged = differences.mean(axis=1)
    counted = differences.reshape(RUNS, -1)
    for q in 0.25, 0.0:
        print("SEEDS", repeats, q, _rejected(averaged, q), _rejected(counted, q))


@pytest.mark.parametrize("folds", [5, 25, 10])
def test_gauss(folds):
    rng = np.random.default_rng(3)
    q = 0.25 if folds != 10 else 1 / 9
    scores = rng.normal(size=(RUNS, folds)) + np.sqrt(q) * rng.normal(size=(RUNS, 1))
    print("GAUSS", folds, _rejected(scores, q), _rejected(scores, 0.0))
    inside = [low <= 0 <= high for low, high in (corrected_interval(run, q) for run in scores)]
    print(np.mean(inside), Spread)
