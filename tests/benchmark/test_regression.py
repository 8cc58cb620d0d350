"""The bounds hold their word: false alarms and detections, counted on invented runs with honest noise."""

from dataclasses import replace

import numpy as np
import pytest

import runs
from benchmark.check import regression
from benchmark.check.regression import shrink
from benchmark.scores import Score, ScoreKey


def compare(golden, run, nodules):
    return regression.compare(golden, run, nodules, {"majority"})


def fails(golden, run, nodules) -> bool:
    return any(one.is_regression for one in compare(golden, run, nodules))


def lowered(scores, points: float, row: str = "m3"):
    return {
        key: replace(score, folds=score.folds - points / 100) if key.row == row and key.metric == "accuracy" else score
        for key, score in scores.items()
    }


@pytest.fixture(scope="module")
def pairs():
    """Golden and honest rerun, three seeds each, of 60 invented benchmarks with 12 rows."""
    rng = np.random.default_rng(0)
    found = []
    for _ in range(60):
        true = runs.truth(rng)
        found.append((runs.observe(rng, true, 3), runs.observe(rng, true, 3), runs.sizes(true)))
    return found


def test_honest_reruns_with_other_seeds_pass(pairs):
    assert sum(fails(*pair) for pair in pairs) <= 3  # expected 0.6 at most; more than 3 has a chance below 1 in 300


@pytest.mark.parametrize("seeds", [(1, 1), (2, 1), (5, 1)])
def test_ten_honest_reruns_pass_whatever_the_seeds(seeds):
    rng = np.random.default_rng(1)
    true = runs.truth(rng)
    golden, nodules = runs.observe(rng, true, seeds[0]), runs.sizes(true)
    assert not any(fails(golden, runs.observe(rng, true, seeds[1]), nodules) for _ in range(10))


def test_an_accuracy_lowered_by_three_points_is_caught_in_nine_of_ten_reruns(pairs):
    caught = [fails(golden, lowered(run, 3), nodules) for golden, run, nodules in pairs]
    assert np.mean(caught) > 0.8  # 0.92 of 400


def test_a_rise_is_caught_as_a_fall_is(pairs):
    golden, run, nodules = pairs[0]
    assert fails(golden, lowered(run, -6), nodules) and fails(golden, lowered(run, 6), nodules)


def test_golden_seeds_again_with_one_row_lowered_are_caught_with_one_seed_each():
    rng = np.random.default_rng(2)
    true = runs.truth(rng)
    golden = runs.observe(rng, true, 1)
    found = compare(golden, lowered(golden, 3), runs.sizes(true))
    assert {one.key.row for one in found if one.is_regression} == {"m3"}


def test_a_run_equal_to_golden_differs_nowhere():
    rng = np.random.default_rng(3)
    true = runs.truth(rng)
    golden = runs.observe(rng, true, 2)
    found = compare(golden, golden, runs.sizes(true))
    assert all(one.difference == 0 and one.allowed > 0 for one in found)


def test_a_nodule_that_falls_otherwise_on_another_machine_is_no_regression():
    score = Score(np.array([0.80, 0.82, 0.84, 0.86, 0.88]), tuple(range(5)))
    other = replace(score, folds=score.folds - np.array([1 / 40, 0, 0, 0, 0]))
    key = ScoreKey("majority", "A-open", "accuracy")
    assert not fails({key: score}, {key: other}, {key: 40.0})


def test_the_bound_of_a_reference_row_is_that_of_one_decision_in_fifty():
    score = Score(np.full(5, 0.5), tuple(range(5)))
    key = ScoreKey("majority", "A-open", "accuracy")
    (one,) = compare({key: score}, {key: score}, {key: 500.0})
    assert one.allowed == pytest.approx(2.5758 * np.sqrt(0.02 / 500 / 5), rel=1e-4)  # alpha 0.01, a single test


def test_more_seeds_narrow_the_bound():
    true = runs.truth(np.random.default_rng(4))
    bounds = []
    for seeds in (1, 2, 4):
        rng = np.random.default_rng(5)
        found = compare(runs.observe(rng, true, seeds), runs.observe(rng, true, seeds), runs.sizes(true))
        bounds.append(np.mean([one.allowed for one in found]))
    assert bounds[0] > bounds[1] > bounds[2]


def test_folds_without_a_class_are_left_out():
    golden = Score(np.array([0.5, np.nan, 0.6, 0.7, 0.6]), tuple(range(5)))
    empty = Score(np.full(5, np.nan), tuple(range(5)))
    here, nowhere = (ScoreKey("m", "A-open", metric) for metric in ("recall_unsure", "f1_unsure"))
    (one,) = compare({here: golden, nowhere: empty}, {here: golden, nowhere: empty}, {here: 9.0, nowhere: 9.0})
    assert one.golden == pytest.approx(0.6) and not one.is_regression


def test_shrinking_keeps_the_mean_variance():
    variances, df = np.array([1.0, 2.0, 9.0]), np.full(3, 4.0)
    shrunk, _ = shrink(variances, df)
    assert shrunk.mean() == pytest.approx(4.0) and np.ptp(shrunk) == pytest.approx(np.ptp(variances) / 3)
