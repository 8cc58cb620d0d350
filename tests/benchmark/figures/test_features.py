"""t-SNE and the neighbours that it should show."""

import numpy as np
import pytest
from sklearn.manifold import TSNE

from benchmark.contracts import InputError
from benchmark.figures.features import alike_by_chance, neighbours_alike, spread, t_sne


def groups(each: int = 20) -> tuple[np.ndarray, np.ndarray]:
    """Two groups that point in two directions, of very different lengths."""
    random = np.random.default_rng(0)
    middle = np.eye(2, 16).repeat(each, axis=0)
    features = middle + 0.1 * random.standard_normal((2 * each, 16))
    return features * random.uniform(0.1, 50, (2 * each, 1)), np.arange(2).repeat(each)


def test_points_are_the_same_for_the_same_features_and_seed_bit_by_bit() -> None:
    features = np.random.default_rng(0).standard_normal((60, 50))
    first = t_sne(features, seed=3)
    assert first.shape == (60, 2) and np.isfinite(first).all()
    assert first.tobytes() == t_sne(features, seed=3).tobytes()


def test_the_seed_reaches_what_there_is_of_chance(monkeypatch: pytest.MonkeyPatch) -> None:
    """In scikit-learn 1.9 a seed changes points only above 500 nodules and 500 features: too slow for a test."""
    given = []
    monkeypatch.setattr("sklearn.manifold.TSNE", lambda **settings: given.append(settings) or TSNE(**settings))
    t_sne(groups()[0], seed=7)
    assert given[0]["random_state"] == 7


def test_points_do_not_depend_on_the_features_lengths() -> None:
    features, _ = groups()
    lengths = 2.0 ** np.random.default_rng(1).integers(-9, 9, (40, 1))  # no rounding
    assert t_sne(features).tobytes() == t_sne(features * lengths).tobytes()


def test_features_that_point_apart_lie_apart_whatever_their_length() -> None:
    features, labels = groups()
    points = t_sne(features)
    distance = np.linalg.norm(points[:, None] - points, axis=2) + np.diag(np.full(40, np.inf))
    assert (labels[distance.argmin(axis=1)] == labels).all()
    assert (neighbours_alike(features, labels) == 1).all()


def test_neighbours_are_counted_by_hand() -> None:
    angle = np.deg2rad([0, 10, 25, 45, 70])
    features = np.stack([np.cos(angle), np.sin(angle)], axis=1) * np.array([[1], [9], [1], [5], [2]])
    labels = np.array([0, 0, 1, 0, 1])
    # Two nearest: of 0 degrees 10 and 25; of 10: 0 and 25; of 25: 10 and 45; of 45: 25 and 70; of 70: 45 and 25.
    assert neighbours_alike(features, labels, 2).tolist() == [0.5, 0.5, 0, 0, 0.5]
    assert neighbours_alike(features, labels, 99).tolist() == [0.5, 0.5, 0.25, 0.5, 0.25]


def test_a_nodule_is_no_neighbour_of_itself_even_where_all_features_are_alike() -> None:
    labels = np.arange(6)
    assert neighbours_alike(np.ones((6, 3)), labels, 2).tolist() == [0] * 6
    assert neighbours_alike(np.zeros((6, 3)), labels, 2).tolist() == [0] * 6
    halves = 2 * neighbours_alike(np.ones((6, 3)), labels % 2, 2)  # of two neighbours, though the tree may find three
    assert (halves == halves.round()).all()


def test_chance_is_what_labels_that_know_nothing_have() -> None:
    random = np.random.default_rng(0)
    labels = np.repeat([0, 1, 2], [40, 30, 10])
    features = random.standard_normal((80, 5))
    shuffled = [neighbours_alike(features, random.permutation(labels)).mean() for _ in range(200)]
    assert np.mean(shuffled) == pytest.approx(alike_by_chance(labels), abs=0.01)


def test_a_spread_has_its_interval_by_patients() -> None:
    features, labels = groups(10)
    labels[0] = 1  # one nodule among the others' neighbours
    found = spread(features, labels, [f"p{i // 2}" for i in range(20)])
    assert found.alike.low < found.alike.value < found.alike.high < 1
    assert found.by_chance == alike_by_chance(labels)
    assert found.points.shape == (20, 2)


def test_what_has_no_picture_is_refused_in_a_sentence() -> None:
    with pytest.raises(InputError, match="at least 5 nodules, not 4"):
        t_sne(np.ones((4, 3)))
    with pytest.raises(InputError, match="not finite"):
        spread(np.full((9, 3), np.nan), np.zeros(9, dtype=int), ["p"] * 9)
