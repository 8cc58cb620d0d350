import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import friedmanchisquare

from benchmark.ranks import critical_difference, effective_blocks, friedman, groups, ranking, ranks_of

# Demsar's worked example: C4.5 with no, with m, with cf and with both parameters tuned, ranked on 14 data sets.
DEMSAR = np.array(
    [
        *([4, 3, 2, 1], [1, 2, 3, 4], [4, 1, 2, 3], [4, 1, 3, 2], [4, 2, 3, 1], [1, 2.5, 4, 2.5], [3, 2, 4, 1]),
        *([2.5, 2.5, 4, 1], [4, 3, 2, 1], [2.5] * 4, [4, 2.5, 1, 2.5], [3, 2, 4, 1], [4, 1, 2, 3], [3, 1, 4, 2]),
    ]
)


def test_demsars_example_gives_his_numbers():
    """Mean ranks 3.143, 2.000, 2.893, 1.964; chi2 9.28; critical differences 1.25 and 1.12 (sections 3.2.2, 3.2.4)."""
    found = ranking(-DEMSAR, test_over_train=0.0)
    assert found.mean_ranks == pytest.approx([3.143, 2.000, 2.893, 1.964], abs=5e-4)
    ties = 1 - (4**3 - 4 + 3 * (2**3 - 2)) / (14 * 4 * (4**2 - 1))  # one block of four, three of two; he leaves them
    assert friedman(DEMSAR, 14.0)[0] * ties == pytest.approx(9.28, abs=0.005)
    assert found.critical_difference == pytest.approx(1.25, abs=0.005)
    assert found.groups == ((3, 1, 2, 0),)
    at_ten_percent = ranking(-DEMSAR, 0.0, alpha=0.10)
    assert at_ten_percent.critical_difference == pytest.approx(1.12, abs=0.005)
    assert at_ten_percent.groups == ((3, 1, 2), (2, 0))  # "worse than" both with m, and cf in neither group alone


def test_f_of_two_methods_by_hand():
    """Three blocks rank 1 2, 1 2, 2 1: rank sums 4 and 5, chi2 = 1 / 3, F = 2 (1 / 3) / (3 - 1 / 3) = 1 / 4.

    With 1 and 2 degrees of freedom it is the square of a t of 1 / 2, whose two tails are 1 - t / sqrt(2 + t^2) = 2 / 3.
    """
    assert friedman(np.array([[1.0, 2.0], [1.0, 2.0], [2.0, 1.0]]), effective=3.0) == pytest.approx((1 / 3, 2 / 3))


def test_two_blocks_have_a_critical_difference_and_one_has_none():
    two = ranking(np.array([[3.0, 1.0, 2.0], [1.0, 2.0, 3.0]]), test_over_train=0.0)
    assert two.critical_difference == critical_difference(3, blocks=2.0)
    assert math.isnan(ranking(np.array([[3.0, 1.0, 2.0]]), test_over_train=0.0).critical_difference)


@pytest.mark.parametrize(("methods", "q"), [(2, 1.960), (3, 2.343), (4, 2.569), (5, 2.728), (10, 3.164)])
def test_nemenyis_quantiles_are_those_of_demsars_table(methods, q):
    """His table 5(a) cuts the digits off: 2.343 is 2.3437."""
    found = critical_difference(methods, blocks=1.0) / math.sqrt(methods * (methods + 1) / 6)
    assert found == pytest.approx(q, abs=1e-3)


def test_of_two_methods_the_critical_difference_is_the_normal_quantiles():
    """Range over sqrt 2 of two normal variates is a half-normal one; 2 * 3 / (6 * 9) is 1 / 9."""
    assert critical_difference(2, blocks=9.0) == pytest.approx(1.959963984540054 / 3, abs=1e-10)


def test_ranks_by_hand_share_ties():
    assert ranks_of(np.array([[0.5, 0.7, 0.7, 0.1], [0.2, 0.2, 0.2, 0.2]])).tolist() == [
        [3.0, 1.5, 1.5, 4.0],
        [2.5, 2.5, 2.5, 2.5],
    ]


def test_friedman_and_f_by_hand():
    """Three blocks rank 1 2 3, 1 2 3, 2 1 3: rank sums 4, 5, 9; chi2 = 12 / 36 (16 + 25 + 81) - 36 = 14 / 3.

    F = 2 (14 / 3) / (6 - 14 / 3) = 7 with 2 and 4 degrees of freedom, whose tail is (1 + 2 F / 4)^-2.
    """
    chi2, p = friedman(np.array([[1.0, 2.0, 3.0], [1.0, 2.0, 3.0], [2.0, 1.0, 3.0]]), effective=3.0)
    assert (chi2, p) == pytest.approx((14 / 3, 1 / 4.5**2), abs=1e-10)


@given(st.lists(st.lists(st.integers(0, 3), min_size=4, max_size=4), min_size=2, max_size=9).map(np.array))
def test_friedmans_statistic_is_scipys_with_ties(values):
    if (values != values[:, :1]).any():
        scores = values.astype(float)
        assert friedman(ranks_of(scores), float(len(scores)))[0] == pytest.approx(
            friedmanchisquare(*scores.T).statistic, abs=1e-10
        )


def test_blocks_that_tell_nothing_or_everything():
    assert friedman(np.full((4, 3), 2.0), 4.0) == (0.0, 1.0)
    assert friedman(np.array([[1.0, 2.0, 3.0]] * 4), 4.0)[1] == 0.0
    for scores in (np.array([[0.1, 0.2]]), np.array([[0.1], [0.2]]), np.empty((0, 2))):
        found = ranking(scores, 0.25)
        assert math.isnan(found.p_value) and math.isnan(found.critical_difference) and found.groups == ()


def test_a_missing_score_is_refused():
    with pytest.raises(ValueError, match="cannot be ranked"):
        ranking(np.array([[0.1, np.nan], [0.2, 0.3]]), 0.25)


def test_groups_are_the_largest_and_a_difference_as_large_as_the_critical_one_parts_them():
    assert groups([1.0, 2.0, 3.0, 4.0], 1.5) == ((0, 1), (1, 2), (2, 3))
    assert groups([1.0, 2.0, 3.0], 1.0) == ()
    assert groups([1.0, 1.0, 5.0], 0.5) == ((0, 1),)
    assert groups([3.0, 1.0, 2.0], 9.0) == ((1, 2, 0),)


def test_folds_of_one_cohort_are_worth_fewer_blocks():
    """Five folds correlate by 1 / 5: 5 / 1.8. However many repeats, never more than 1 / rho = 5."""
    assert effective_blocks(5, 0.25) == pytest.approx(5 / 1.8)
    assert effective_blocks(5, 0.0) == 5 and effective_blocks(10**9, 0.25) == pytest.approx(5)
    scores = np.random.default_rng(0).normal(size=(5, 4))
    folds, sets = ranking(scores, 0.25), ranking(scores, 0.0)
    assert folds.critical_difference / sets.critical_difference == pytest.approx(math.sqrt(1.8))
    assert friedman(ranks_of(scores), 5 / 1.8)[0] * 1.8 == pytest.approx(friedman(ranks_of(scores), 5.0)[0])
    assert folds.p_value > sets.p_value


@pytest.mark.parametrize("folds", [5, 25])
def test_equal_methods_on_folds_of_one_cohort_are_told_apart_too_often_unless_folds_count_for_less(folds):
    """500 cohorts: what a method owes to the cohort has n_test / n_train of the variance between folds."""
    rng = np.random.default_rng(5)
    found = {0.0: 0, 0.25: 0}
    for _ in range(500):
        scores = rng.normal(size=(folds, 5)) + 0.5 * rng.normal(size=5)
        ranks = ranks_of(scores)
        for ratio in found:
            found[ratio] += friedman(ranks, effective_blocks(folds, ratio))[1] < 0.05
    assert found[0.0] / 500 > 0.2 and found[0.25] / 500 <= 0.05


def test_rankings_can_be_told_apart_and_kept_in_a_set():
    one, other = ranking(-DEMSAR, test_over_train=0.0), ranking(-DEMSAR, test_over_train=0.0)
    assert len({one, other, one}) == 2
