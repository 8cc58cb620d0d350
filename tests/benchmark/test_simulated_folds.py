"""What the tests on folds do where the truth is known: real learners, trained on folds that overlap as ours do."""

import numpy as np
import pytest

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
    assert _rejected(differences, 0.25) <= 0.06
    if repeats > 1:
        assert _rejected(differences, 0.0) > 0.30  # the plain test, which takes repeats for new evidence


def test_seeds_are_averaged_before_the_test_as_they_are_no_folds():
    differences = _differences(np.random.default_rng(2), UNEQUAL, 0.3, repeats=1, seeds=5, used=0.5)
    assert _rejected(differences.mean(axis=1), 0.25) <= 0.06
    assert _rejected(differences.reshape(RUNS, -1), 0.0) > 0.30


@pytest.mark.parametrize(("folds", "test_over_train", "plain"), [(5, 1 / 4, 0.138), (25, 1 / 4, 0.451)])
def test_where_folds_correlate_as_nadeau_and_bengio_assume_the_test_is_exact(folds, test_over_train, plain):
    """Correlation 1/5: the plain t is the corrected one times sqrt(1 + n q); P(|t4| > 2.776 / 1.5) is 13.8%."""
    rng = np.random.default_rng(3)
    scores = rng.normal(size=(RUNS, folds)) + np.sqrt(test_over_train) * rng.normal(size=(RUNS, 1))
    rejected = [corrected_t_test(run, test_over_train) < 0.05 for run in scores]
    assert 0.04 <= np.mean(rejected) <= 0.06
    assert _rejected(scores, 0.0) == pytest.approx(plain, abs=0.03)
    for run, found in zip(scores[:200], rejected, strict=False):
        low, high = corrected_interval(run, test_over_train)
        assert found == (not low <= 0 <= high)
