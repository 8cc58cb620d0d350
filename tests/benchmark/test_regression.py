"""The bounds are what the text says, by hand, and hold their word on invented runs with honest noise."""

import math
from dataclasses import FrozenInstanceError, replace

import numpy as np
import pytest
from scipy import stats

import runs
from benchmark.check import regression
from benchmark.check.measured import MEAN
from benchmark.check.regression import Comparison, shrink
from benchmark.scores import Score, ScoreKey


def compare(golden, run, nodules):
    return regression.compare(golden, run, nodules, {"majority"})


def key(metric: str = "accuracy", section: str = "A-open", row: str = "ce") -> ScoreKey:
    """Name a score with texts as a file gives them: equal to the constants in the code, and not the same objects."""
    return ScoreKey(*("".join(list(name)) for name in (row, section, metric)))


def score(*folds: float, seeds: int = 1, seed_std: float = math.nan) -> Score:
    return Score(np.array(folds), tuple(range(len(folds))), seeds, seed_std)


def bound(golden: Score, run: Score, nodules: float = 1e9, one: ScoreKey | None = None) -> float:
    """Return what is allowed where there is only this one score, by default of too many nodules to need a floor."""
    one = one or key()
    (found,) = compare({one: golden}, {one: run}, {one: nodules})
    return found.allowed


T, NORMAL = stats.t.isf, stats.norm.isf
ALONE = 0.01 / 2  # the tail on either side where one score has all false alarms to itself


def test_what_seeds_and_folds_tell_is_pooled_by_degrees_of_freedom():
    golden = score(0.50, 0.60, 0.70, 0.55, seeds=2, seed_std=0.02)
    run = score(0.54, 0.58, 0.72, 0.55, seeds=3, seed_std=0.03)  # differences 0.01 and 0.03, -0.03, 0.01, -0.01 beside
    squares = 0.0020 / (1 / 2 + 1 / 3) + 4 * 1 * 0.0004 + 4 * 2 * 0.0009
    variance, freedom = squares / (3 + 4 + 8), 8 + 3 + 4 + 8
    assert bound(golden, run) == pytest.approx(T(ALONE, freedom) * math.sqrt(variance * (1 / 2 + 1 / 3) / 4))


def test_with_one_seed_each_the_spread_over_folds_is_all_there_is():
    golden, run = score(0.5, 0.6, 0.7), score(0.6, 0.7, 0.74)  # differences 0.08 and 0.02, 0.02, -0.04 beside
    variance = 0.0024 / 2 / 2
    assert bound(golden, run) == pytest.approx(T(ALONE, 8 + 2) * math.sqrt(variance * 2 / 3))


def test_one_side_alone_may_tell_the_spread_between_seeds():
    many, one = score(0.5, 0.6, seeds=5, seed_std=0.03), score(0.5, 0.6)
    share = 1 / 5 + 1
    expected = T(ALONE, 8 + 1 + 8) * math.sqrt(8 * 0.0009 / 9 * share / 2)
    assert bound(many, one) == pytest.approx(expected) and bound(one, many) == pytest.approx(expected)


def test_an_unknown_spread_between_seeds_tells_nothing():
    golden, run = score(0.5, 0.6, 0.7, seeds=2), score(0.6, 0.7, 0.74, seeds=2)
    variance = 0.0024 / (1 / 2 + 1 / 2) / 2
    assert bound(golden, run) == pytest.approx(T(ALONE, 8 + 2) * math.sqrt(variance / 3))


def test_an_equal_fall_in_all_folds_tells_no_spread():
    assert bound(score(0.5, 0.6, 0.7), score(0.4, 0.5, 0.6), nodules=50.0) == pytest.approx(
        NORMAL(ALONE) * math.sqrt(0.1 / 50 / 3)
    )


def test_methods_lend_each_other_strength_as_eight_degrees_of_freedom():
    flat = score(0.5, 0.5, seeds=3, seed_std=0.0)
    spreads = {"ce": 0.02, "udm": 0.04}
    golden = {key(row=row): score(0.5, 0.5, seeds=3, seed_std=spread) for row, spread in spreads.items()}
    found = compare(golden, dict.fromkeys(golden, flat), dict.fromkeys(golden, 1e9))
    own = [4 * spread**2 / (1 + 4 + 4) for spread in spreads.values()]
    for one, variance in zip(found, own, strict=True):
        shrunk = (8 * sum(own) / 2 + 9 * variance) / (8 + 9)
        assert one.allowed == pytest.approx(T(0.01 / 2 / 2, 17) * math.sqrt(shrunk * (1 / 3 + 1 / 3) / 2))


@pytest.mark.parametrize("other", [key(section="C-open"), key("macro_f1"), key(row="majority")])
def test_strength_is_lent_within_a_section_and_metric_and_among_methods_only(other):
    restless = score(0.2, 0.8, seeds=3, seed_std=0.2)
    still = score(0.5, 0.5, seeds=3, seed_std=0.01)
    golden = {key(): still, other: restless}
    found = compare(golden, golden, dict.fromkeys(golden, 1e9))
    families = 2 if other.metric == "macro_f1" else 1
    tail = 0.01 / families / (2 / families) / 2
    variance = 8 * 0.0001 / (1 + 8)
    assert found[0].allowed == pytest.approx(T(tail, 8 + 9) * math.sqrt(variance * (2 / 3) / 2))


def test_shrinking_weighs_variances_by_their_degrees_of_freedom():
    variances, df = shrink(np.array([1.0, 4.0]), np.array([2.0, 4.0]))  # mean (2 * 1 + 4 * 4) / 6 = 3
    assert variances.tolist() == pytest.approx([(8 * 3 + 2 * 1) / 10, (8 * 3 + 4 * 4) / 12])
    assert df.tolist() == [10, 12]


def test_a_method_has_room_for_a_tenth_of_its_decisions_and_a_reference_for_a_fiftieth():
    still = score(0.5, 0.5, 0.5, 0.5, seeds=2, seed_std=0.0)
    share = (1 / 2 + 1 / 2) / 4
    method, reference = bound(still, still, 30.0), bound(still, still, 30.0, key(row="majority"))
    assert method == pytest.approx(NORMAL(ALONE) * math.sqrt(0.1 / 2 / 30 * share))
    assert reference == pytest.approx(NORMAL(ALONE) * math.sqrt(0.02 / 2 / 30 * share))


def test_the_spread_of_a_reference_over_folds_does_not_widen_its_bound():
    golden, run = score(0.5, 0.6, 0.7), score(0.6, 0.7, 0.74)
    assert bound(golden, run, 40.0, key(row="majority")) == pytest.approx(NORMAL(ALONE) * math.sqrt(0.02 / 40 / 3))


def test_one_fold_of_one_seed_tells_no_spread():
    golden, run = score(0.5, math.nan), score(0.6, math.nan)
    assert bound(golden, run, 40.0) == pytest.approx(NORMAL(ALONE) * math.sqrt(0.1 / 40))


def test_three_families_share_the_false_alarms_equally_whatever_their_sizes():
    accuracies = [key(section=section, row=row) for section in ("A-open", "own-open", "C-open") for row in ("ce", "m")]
    means = [key(section=MEAN, row=row) for row in ("ce", "m", "udm")]
    others = [key(metric, "own-open") for metric in ("a_rate", "auc_ovr", "macro_f1", "recall_benign")]
    everything = dict.fromkeys([*others[:2], *means, *accuracies, *others[2:]], score(0.5, 0.5))
    found = {one.key: one.allowed for one in compare(everything, everything, dict.fromkeys(everything, 50.0))}
    for family in (accuracies, means, others):
        floor = NORMAL(0.01 / 3 / len(family) / 2) * math.sqrt(0.1 / 50 / 2)
        assert [found[one] for one in family] == pytest.approx([floor] * len(family))


def test_a_family_that_is_not_there_takes_no_share():
    cells = dict.fromkeys([key(), key(section="C-open"), key("f1_benign")], score(0.5, 0.5))
    found = compare(cells, cells, dict.fromkeys(cells, 50.0))
    floors = [NORMAL(0.01 / 2 / size / 2) * math.sqrt(0.1 / 50 / 2) for size in (2, 2, 1)]
    assert [one.allowed for one in found] == pytest.approx(floors)


def test_scores_that_one_side_lacks_are_neither_compared_nor_counted():
    golden = dict.fromkeys([key(), key(row="gone"), key("macro_f1")], score(0.5, 0.5))
    run = dict.fromkeys([key(row="new"), key()], score(0.5, 0.5))
    (one,) = compare(golden, run, dict.fromkeys([*golden, *run], 50.0))
    assert one.key == key() and one.allowed == pytest.approx(NORMAL(ALONE) * math.sqrt(0.1 / 50 / 2))


def test_means_are_over_the_folds_that_both_have():
    golden, run = score(0.1, 0.2, math.nan, 0.4), score(math.nan, 0.4, 0.9, 0.8)
    (one,) = compare({key(): golden}, {key(): run}, {key(): 50.0})
    assert (one.golden, one.run, one.difference) == pytest.approx((0.3, 0.6, 0.3))
    variance = 0.02 / 2 / 1  # differences 0.2 and 0.4
    assert one.allowed == pytest.approx(T(ALONE, 8 + 1) * math.sqrt(variance * 2 / 2))


def test_scores_of_zero_and_below_are_scores_as_others():
    golden, run = score(0.0, -0.2, 0.3), score(-0.1, 0.0, 0.3)  # a kappa; differences -0.1, 0.2, 0
    kappa = key("quadratic_weighted_kappa")
    (one,) = compare({kappa: golden}, {kappa: run}, {kappa: 1e9})
    assert (one.golden, one.run) == pytest.approx((0.1 / 3, 0.2 / 3))
    variance = (0.01 + 0.04 - 0.01 / 3) / 2 / 2
    assert one.allowed == pytest.approx(T(ALONE, 10) * math.sqrt(variance * 2 / 3))


def test_a_regression_is_more_than_is_allowed_in_either_direction():
    verdicts = [Comparison(key(), 0.5, run, 0.25).is_regression for run in (0.125, 0.25, 0.375, 0.5, 0.75, 0.875)]
    assert verdicts == [True, False, False, False, False, True]


def test_a_comparison_cannot_be_changed():
    with pytest.raises(FrozenInstanceError):
        Comparison(key(), 0.5, 0.25, 0.125).allowed = 1.0


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
