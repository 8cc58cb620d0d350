import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from benchmark.statistics import (
    all_alike,
    corrected_interval,
    corrected_t_test,
    holm,
    sample_std,
    smallest_detectable_difference,
)

differences = st.lists(st.floats(-50, 50).map(lambda x: round(x, 3)), min_size=2, max_size=10).map(np.array)


def test_the_standard_deviation_is_the_samples():
    assert sample_std(np.array([1.0, 2.0, 3.0, 4.0])) == pytest.approx(math.sqrt(5 / 3))
    assert sample_std(np.array([1.0, 3.0])) == pytest.approx(math.sqrt(2))
    assert math.isnan(sample_std(np.array([1.0]))) and math.isnan(sample_std(np.array([])))


def test_five_folds_need_1_86_standard_deviations():
    values = np.array([1.0, 2.0, 0.0, -1.0, 5.0])
    assert smallest_detectable_difference(values, 0.25) / sample_std(values) == pytest.approx(1.8624, abs=1e-4)


@given(differences)
def test_without_the_correction_it_is_students_t_test(values):
    if sample_std(values) > 1e-9:
        assert corrected_t_test(values, 0.0) == pytest.approx(stats.ttest_1samp(values, 0).pvalue, rel=1e-6, abs=1e-12)


@pytest.mark.parametrize("alpha", [0.05, 0.05 / 19])
def test_without_the_correction_p_value_and_interval_are_scipys_to_ten_digits(alpha):
    values = np.array([0.021, -0.004, 0.013, 0.009, -0.011, 0.027, 0.001])
    known = stats.ttest_1samp(values, 0)
    assert corrected_t_test(values, 0.0) == pytest.approx(known.pvalue, abs=1e-10)
    assert corrected_interval(values, 0.0, alpha) == pytest.approx(known.confidence_interval(1 - alpha), abs=1e-10)


def test_the_interval_is_by_hand_and_needs_two_folds():
    """Mean 2, deviation sqrt 2, error sqrt((1/2 + 1/4) 2); t of one degree of freedom at 0.975 is tan(0.475 pi)."""
    half = math.tan(0.475 * math.pi) * math.sqrt(1.5)
    assert corrected_interval(np.array([1.0, 3.0]), 0.25) == pytest.approx((2 - half, 2 + half), abs=1e-10)
    assert all(map(math.isnan, (*corrected_interval(np.ones(1), 0.25), *corrected_interval(np.array([]), 0.25))))


def test_repeats_are_folds_of_the_same_ratio():
    """Four folds and ratio 1: the sum of 1/4 and 1 in place of 1/2 and 1, and three degrees of freedom."""
    values = np.array([1.0, 3.0, 1.0, 3.0])
    t = 2 / math.sqrt((1 / 4 + 1) * 4 / 3)
    assert corrected_t_test(values, 1.0) == pytest.approx(2 * stats.t.sf(t, 3), abs=1e-10)


@given(differences)
def test_a_mean_is_significant_just_when_it_exceeds_the_detectable_difference(values):
    least = smallest_detectable_difference(values, 0.25)
    if sample_std(values) > 1e-6 and abs(abs(values.mean()) - least) > 1e-6:
        assert (corrected_t_test(values, 0.25) < 0.05) == (abs(values.mean()) > least)


def test_two_folds_are_enough_and_one_is_not():
    """t = mean / error with one degree of freedom, a Cauchy variate: p = 1 - 2 atan(t) / pi."""
    values = np.array([1.0, 3.0])  # mean 2, deviation sqrt 2; error sqrt((1/2 + 1/4) 2)
    t = 2 / math.sqrt(1.5)
    assert corrected_t_test(values, 0.25) == pytest.approx(1 - 2 * math.atan(t) / math.pi)
    assert smallest_detectable_difference(values, 0.25) == pytest.approx(math.tan(0.475 * math.pi) * math.sqrt(1.5))
    assert math.isnan(corrected_t_test(values[:1], 0.25)) and math.isnan(
        smallest_detectable_difference(values[:1], 0.25)
    )


def test_the_detectable_difference_is_that_of_its_alpha():
    values = np.array([1.0, 2.0, 0.0, -1.0, 5.0])
    ratio = smallest_detectable_difference(values, 0.25, alpha=0.01) / smallest_detectable_difference(values, 0.25)
    assert ratio == pytest.approx(4.6041 / 2.7764, abs=1e-4)  # t of four degrees of freedom at 0.995 and 0.975


@pytest.mark.parametrize("of_points", [0.0, 1.0, -1.0, 0.3 - 0.2])
def test_the_same_difference_in_every_fold_says_nothing_of_others(of_points):
    equal = np.array([of_points, of_points + 1e-15, of_points, of_points])  # but for rounding
    found = corrected_t_test(equal, 0.25), smallest_detectable_difference(equal, 0.25), *corrected_interval(equal, 0.25)
    assert np.isnan(found).all() and all_alike(equal)
    assert math.isnan(corrected_t_test(np.ones(1), 0.25))


def test_a_ten_thousandth_of_a_point_is_a_difference_between_folds():
    values = np.array([0.01, 0.010001, 0.01, 0.01])
    assert not all_alike(values) and corrected_t_test(values, 0.25) < 1e-9


def test_holm_by_hand_keeps_order_and_passes_unknowns_by():
    assert holm([0.01, 0.04, 0.03]) == pytest.approx([0.03, 0.06, 0.06])
    assert holm([0.5, 0.9]) == pytest.approx([1.0, 1.0])
    assert holm([0.04, 0.01, 0.005, 0.03]) == pytest.approx([0.06, 0.03, 0.02, 0.06])
    assert holm([]) == [] and holm([0.7]) == [0.7]
    assert holm([0.6, 0.9]) == [1.0, 1.0]  # a probability is never above one
    adjusted = holm([float("nan"), 0.02])
    assert math.isnan(adjusted[0]) and adjusted[1] == 0.02
