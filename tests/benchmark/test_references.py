from dataclasses import replace

import numpy as np
import pytest

from benchmark.contracts import Columns, Unsupported
from benchmark.references import ROWS, log_diameter, majority, number_of_readers, ratings_forest

NAMES = ("subtlety", "margin")


def columns(n: int, seed: int = 0, **changes: object) -> Columns:
    rng = np.random.default_rng(seed)
    found = Columns(
        ratings=rng.uniform(1, 5, (n, 2)),
        trusted=np.ones((n, 2), dtype=bool),
        diameter_mm=rng.uniform(3, 30, n),
        n_readers=rng.integers(1, 5, n),
        attribute_names=NAMES,
    )
    return replace(found, **changes)


TRAIN, TEST = columns(90), columns(30, seed=1)
LABELS = np.arange(90) % 3


def accuracy(proba: np.ndarray, labels: np.ndarray) -> float:
    return float((proba.argmax(axis=1) == labels).mean())


@pytest.mark.parametrize("key", ROWS)
def test_a_reference_gives_every_test_nodule_probabilities_over_the_classes(key):
    proba = ROWS[key].reference(TRAIN, TEST, LABELS, 3, 0)
    assert proba.shape == (30, 3) and (proba >= 0).all()
    np.testing.assert_allclose(proba.sum(axis=1), 1)


def test_every_reference_is_a_row_of_its_own_kind_and_key():
    assert all(row.kind == "reference" and row.key == key and row.method is None for key, row in ROWS.items())
    assert [row.title for row in ROWS.values()] == [
        *("Majority", "Log diameter", "Number of readers", "Radiologists' ratings")
    ]


def test_the_majority_gives_the_training_sets_class_frequencies():
    labels = np.array([1] * 54 + [0] * 36)
    assert majority(TRAIN, TEST, labels, 2, 0).tolist() == [[0.4, 0.6]] * 30


@pytest.mark.parametrize("key", ROWS)
@pytest.mark.parametrize("absent", [0, 1, 2])
def test_a_class_that_was_not_trained_keeps_its_column(key, absent):
    labels = np.array([number for number in range(3) if number != absent] * 45)
    proba = ROWS[key].reference(TRAIN, TEST, labels, 3, 0)
    assert proba.shape == (30, 3) and (proba[:, absent] == 0).all()
    np.testing.assert_allclose(proba.sum(axis=1), 1)
    assert (proba[:, [n for n in range(3) if n != absent]] > 0).any(axis=0).all()


@pytest.mark.parametrize("key", ROWS)
def test_a_single_class_is_certain(key):
    assert ROWS[key].reference(TRAIN, TEST, np.ones(90, dtype=int), 3, 0).tolist() == [[0, 1, 0]] * 30


def by_size(found: Columns, inverse: bool = False) -> np.ndarray:
    return np.digitize(found.diameter_mm, [8, 16])


def test_the_log_diameter_learns_what_the_diameter_decides():
    assert accuracy(log_diameter(TRAIN, TEST, by_size(TRAIN), 3, 0), by_size(TEST)) > 0.9


def test_the_log_diameter_reads_the_diameter_alone():
    other = replace(TRAIN, ratings=TRAIN.ratings[::-1].copy(), n_readers=TRAIN.n_readers[::-1].copy())
    before = log_diameter(TRAIN, TEST, by_size(TRAIN), 3, 0)
    assert np.array_equal(before, log_diameter(other, TEST, by_size(TRAIN), 3, 1))
    shuffled = replace(TEST, diameter_mm=TEST.diameter_mm[::-1].copy())
    assert np.array_equal(before[::-1], log_diameter(TRAIN, shuffled, by_size(TRAIN), 3, 0))


def test_the_log_diameter_is_multinomial_logistic_regression_on_the_standardised_logarithm():
    """At the optimum of sum log-loss + |w|^2 / 2 the gradient is zero; checked for scikit-learn's C = 1."""
    labels = by_size(TRAIN)
    mean, std = np.log(TRAIN.diameter_mm).mean(), np.log(TRAIN.diameter_mm).std()
    x = (np.log(TRAIN.diameter_mm) - mean) / std
    at = replace(TEST, diameter_mm=np.exp(mean + std * np.linspace(-1.5, 1.5, 30)))
    logits = np.log(log_diameter(TRAIN, at, labels, 3, 0))
    slopes = (logits[-1] - logits[-1].mean() - logits[0] + logits[0].mean()) / 3  # d logit / d x, centred
    residual = np.eye(3)[labels] - log_diameter(TRAIN, TRAIN, labels, 3, 0)
    gradient = (residual * x[:, None]).sum(axis=0)
    np.testing.assert_allclose(gradient - gradient.mean(), slopes, atol=0.02)


@pytest.mark.parametrize("part", ["train", "test"])
def test_the_log_diameter_needs_every_diameter(part):
    parts = {"train": TRAIN, "test": TEST}
    gap = parts[part].diameter_mm.copy()
    gap[0] = np.nan
    parts[part] = replace(parts[part], diameter_mm=gap)
    with pytest.raises(Unsupported, match="does not give every nodule's diameter"):
        log_diameter(parts["train"], parts["test"], LABELS, 3, 0)


def test_the_number_of_readers_gives_each_number_its_own_class_frequencies():
    """Logistic regression on categories tends to their frequencies; they need not rise or fall with the number."""
    readers = np.repeat([1, 2, 3], 30)
    labels = np.concatenate([np.repeat([0, 1, 2], of) for of in ([24, 3, 3], [3, 24, 3], [24, 3, 3])])
    proba = number_of_readers(replace(TRAIN, n_readers=readers), replace(TEST, n_readers=readers[::3]), labels, 3, 0)
    np.testing.assert_allclose(proba[[0, 10, 20]], [[0.8, 0.1, 0.1], [0.1, 0.8, 0.1], [0.8, 0.1, 0.1]], atol=0.05)
    assert (proba[:10] == proba[0]).all()


def test_the_number_of_readers_reads_that_alone_and_takes_a_number_it_never_saw():
    before = number_of_readers(TRAIN, TEST, LABELS, 3, 0)
    other = replace(TEST, ratings=TEST.ratings[::-1].copy(), diameter_mm=TEST.diameter_mm[::-1].copy())
    assert np.array_equal(before, number_of_readers(TRAIN, other, LABELS, 3, 1))
    unseen = number_of_readers(TRAIN, replace(TEST, n_readers=np.full(30, 9)), LABELS, 3, 0)
    np.testing.assert_allclose(unseen, 1 / 3, atol=0.05)  # the classes are of one size


@pytest.mark.parametrize("part", ["train", "test"])
def test_the_number_of_readers_must_be_known(part):
    parts = {"train": TRAIN, "test": TEST}
    parts[part] = replace(parts[part], n_readers=np.array([0, *parts[part].n_readers[1:]]))
    with pytest.raises(Unsupported, match="does not say how many readers each nodule has"):
        number_of_readers(parts["train"], parts["test"], LABELS, 3, 0)


def test_the_forest_learns_from_the_ratings_of_the_test_nodules():
    labels, wanted = (np.digitize(found.ratings[:, 1], [2.3, 3.7]) for found in (TRAIN, TEST))
    assert accuracy(ratings_forest(TRAIN, TEST, labels, 3, 0), wanted) > 0.9


def test_the_forest_reads_the_ratings_alone_and_repeats_itself_by_its_seed():
    first = ratings_forest(TRAIN, TEST, LABELS, 3, 0)
    other = replace(TEST, diameter_mm=TEST.diameter_mm[::-1].copy())
    assert np.array_equal(first, ratings_forest(TRAIN, other, LABELS, 3, 0))
    assert not np.array_equal(first, ratings_forest(TRAIN, TEST, LABELS, 3, 1))


def test_the_forest_is_a_hundred_trees_grown_to_their_ends():
    """Each tree votes for whole classes, so probabilities are whole hundredths; it nearly knows its training set."""
    proba = ratings_forest(TRAIN, TEST, LABELS, 3, 0)
    np.testing.assert_allclose(proba * 100, np.round(proba * 100), atol=1e-9)
    assert accuracy(ratings_forest(TRAIN, TRAIN, LABELS, 3, 0), LABELS) > 0.98


def test_the_forest_needs_ratings():
    bare = {"ratings": np.empty((90, 0)), "trusted": np.empty((90, 0), dtype=bool), "attribute_names": ()}
    with pytest.raises(Unsupported, match="has no attribute ratings"):
        ratings_forest(replace(TRAIN, **bare), TEST, LABELS, 3, 0)
