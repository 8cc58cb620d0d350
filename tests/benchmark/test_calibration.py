import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from benchmark.calibration import (
    BINS,
    bins_of,
    brier_scores,
    calibration_error_by_chance,
    calibration_gaps,
    calibration_interval,
    expected_calibration_error,
    ranked_probability_scores,
)
from benchmark.estimates import with_interval

PROBA = np.array([[0.5, 0.3, 0.2], [0.1, 0.2, 0.7], [0.0, 1.0, 0.0]])


def truth(labels, classes=3):
    return np.array(labels)[:, None] == np.arange(classes)


def error(labels, proba):
    return expected_calibration_error(calibration_gaps(truth(labels, proba.shape[1]), proba).mean(axis=0)[None])[0]


def test_brier_by_hand():
    expected = [0.25 + 0.09 + 0.04, 0.01 + 0.04 + 0.09, 1 + 1]
    assert brier_scores(truth([0, 2, 0]), PROBA) == pytest.approx(expected)


def test_ranked_probability_by_hand():
    """Cumulative 0.5, 0.8 against 1, 1; 0.1, 0.3 against 0, 0; 0, 1 against 1, 1: squares summed, over two."""
    expected = [(0.25 + 0.04) / 2, (0.01 + 0.09) / 2, 1 / 2]
    assert ranked_probability_scores(truth([0, 2, 0]), PROBA) == pytest.approx(expected)


def test_two_classes_have_half_the_brier_score():
    proba = np.array([[0.3, 0.7], [0.9, 0.1]])
    assert ranked_probability_scores(truth([0, 0], 2), proba) == pytest.approx([0.49, 0.01])
    assert brier_scores(truth([0, 0], 2), proba) == pytest.approx([0.98, 0.02])


@given(st.integers(2, 6), st.integers(0, 1000))
def test_a_certain_decision_has_its_error_in_ranks(classes, seed):
    labels, decided = np.random.default_rng(seed).integers(0, classes, (2, 20))
    scores = ranked_probability_scores(truth(labels, classes), np.eye(classes)[decided])
    assert scores * (classes - 1) == pytest.approx(np.abs(labels - decided))


@given(st.integers(0, 1000))
def test_both_scores_are_best_for_the_true_probabilities(seed):
    """A proper score's expectation over labels is least for the probabilities that they are drawn by."""
    right, other = np.random.default_rng(seed).dirichlet(np.ones(3), size=2)
    for score in (brier_scores, ranked_probability_scores):
        expected = [right @ score(np.eye(3, dtype=bool), np.tile(told, (3, 1))) for told in (right, other)]
        assert expected[0] <= expected[1]


def test_bins_are_closed_above():
    edges = np.arange(BINS + 1) / BINS
    assert bins_of(edges).tolist() == [0, *range(BINS)]
    assert bins_of(np.nextafter(edges[1:-1], 1)).tolist() == list(range(1, BINS))


def test_calibration_error_by_hand():
    """Top 0.65 and 0.66 share a bin, one right: 0.31 too sure; 0.9 is right: 0.1 too unsure."""
    proba = np.array([[0.65, 0.35], [0.34, 0.66], [0.9, 0.1]])
    assert bins_of(proba.max(axis=1)).tolist() == [9, 9, 13]
    assert error([0, 0, 0], proba) == pytest.approx((0.31 + 0.1) / 3)


def test_calibration_error_is_that_of_guo_et_al():
    """Eq. 3 of their paper, written as they do: sum over bins of |B| / n * |acc(B) - conf(B)|."""
    rng = np.random.default_rng(0)
    proba, labels = rng.dirichlet(np.ones(3), size=500), rng.integers(0, 3, 500)
    confidence, correct, total = proba.max(axis=1), proba.argmax(axis=1) == labels, 0.0
    for m in range(1, 16):
        inside = ((m - 1) / 15 < confidence) & (confidence <= m / 15)
        if inside.any():
            total += inside.sum() / 500 * abs(correct[inside].mean() - confidence[inside].mean())
    assert error(labels, proba) == pytest.approx(total, abs=1e-12)


def test_the_error_by_chance_is_what_right_probabilities_show():
    rng = np.random.default_rng(0)
    top = rng.uniform(0.5, 1, 600)
    proba = np.stack([top, 1 - top], axis=1)
    found = [error((rng.random(600) > top).astype(int), proba) for _ in range(300)]
    assert calibration_error_by_chance(proba) == pytest.approx(np.mean(found), rel=0.04)


@pytest.mark.parametrize(("too_sure", "least"), [(0.0, 0.93), (0.03, 0.95)])
def test_the_interval_covers_the_calibration_error_where_the_plain_one_does_not(too_sure, least):
    """600 nodules, 100 times: the right probability of the top class is that which is told, less a constant."""
    rng = np.random.default_rng(0)
    weights = np.concatenate([np.ones((1, 600)), rng.multinomial(600, np.full(600, 1 / 600), size=200)])
    covered = plain = 0
    for _ in range(100):
        top = rng.uniform(0.55, 0.95, 600)
        labels = (rng.random(600) > top - too_sure).astype(int)
        gaps = weights @ calibration_gaps(truth(labels, 2), np.stack([top, 1 - top], axis=1)) / 600
        errors = expected_calibration_error(gaps)
        low, high = calibration_interval(errors, expected_calibration_error(gaps - gaps[0]))
        assert low <= errors[0] <= high
        covered += low <= too_sure <= high
        usual = with_interval(errors)
        plain += usual.low <= too_sure <= usual.high
    assert covered / 100 >= least and plain / 100 < 0.6


def test_the_interval_by_hand():
    errors, distances = np.array([0.1, 0.3, 0.3, 0.3]), np.array([0.0, 0.04, 0.04, 0.04])
    assert calibration_interval(errors, distances) == pytest.approx((0.06, 0.3))
    assert calibration_interval(errors, distances * 5) == pytest.approx((0.0, 0.3))  # an error is never below zero
    spread = np.array([0.1, *np.arange(1001) / 1000])
    assert calibration_interval(spread, np.zeros(1002)) == pytest.approx((0.1, 0.975))


def test_an_error_that_is_not_known_has_no_interval():
    assert np.isnan(calibration_interval(np.full(3, np.nan), np.full(3, np.nan))).all()
