import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.special import nctdtr, stdtrit

from benchmark.planning import Spread, _first
from benchmark.statistics import corrected_t_test


@pytest.mark.parametrize(
    ("spread", "wanted", "folds", "seeds"),
    [
        (Spread(0.25, fold_std=0.02, seed_std=0.03), 0.06, 5, 3),
        (Spread(1 / 9, fold_std=0.02, seed_std=0.02), 0.03, 10, 1),
        (Spread(0.25, fold_std=0.01, seed_std=0.04), 0.03, 15, 2),
    ],
)
def test_the_power_is_how_often_the_test_finds_the_difference_where_the_model_is_true(spread, wanted, folds, seeds):
    rng = np.random.default_rng(8)
    of_cohort = math.sqrt(spread.test_over_train) * spread.fold_std * rng.normal(size=(3000, 1, 1))
    of_fold = spread.fold_std * rng.normal(size=(3000, folds, 1))
    of_seed = spread.seed_std * rng.normal(size=(3000, folds, seeds))
    runs = (wanted + of_cohort + of_fold + of_seed).mean(axis=2)
    found = np.mean([run.mean() > 0 and corrected_t_test(run, spread.test_over_train) < 0.05 for run in runs])
    assert spread.power(wanted, folds, seeds) == pytest.approx(found, abs=0.027)  # three standard errors


def test_without_seeds_the_power_is_that_of_a_noncentral_t():
    """Five folds, tau 2 points, wanted 4: the error is sqrt(0.2 + 0.25) 2 = 1.342 points."""
    expected = 1 - nctdtr(4, 4 / (2 * math.sqrt(0.45)), stdtrit(4, 0.975))
    assert Spread(0.25, fold_std=0.02).power(0.04, 5, 1) == pytest.approx(expected, abs=1e-4)
    assert Spread(0.25, fold_std=0.02).power(0.04, 1, 1) == 0  # one fold shows nothing


def test_the_folds_own_spread_is_what_their_seeds_do_not_explain():
    """Variances 2.5 and 10 of the two methods, mean 6.25; three seeds of deviation 3 leave 3 of it to the seeds."""
    differences = np.array([[0.0, 1.0, 2.0, 3.0, 4.0], [0.0, 2.0, 4.0, 6.0, 8.0]])
    assert Spread.of(differences, 0.25, seed_std=3.0, seeds=3).fold_std == pytest.approx(math.sqrt(3.25))
    assert Spread.of(differences[0], 0.25).fold_std == pytest.approx(math.sqrt(2.5))
    assert Spread.of(differences[0], 0.25, seed_std=9.0).fold_std == 0.0


def test_one_fold_or_a_missing_score_is_no_estimate():
    for differences, seed_std in ((np.ones(1), 0.0), (np.array([0.1, np.nan]), 0.0), (np.ones(3), math.nan)):
        with pytest.raises(ValueError, match="two folds or more"):
            Spread.of(differences, 0.25, seed_std=seed_std)


def test_five_folds_and_one_seed_are_meant_where_none_are_given():
    spread = Spread(0.25, fold_std=0.01, seed_std=0.03)
    assert spread.repeats_needed(0.04) == spread.repeats_needed(0.04, folds=5, seeds=1) == 9
    assert spread.seeds_needed(0.04) == spread.seeds_needed(0.04, folds=5) == 6
    assert spread.fewest_trainings(0.05) == spread.fewest_trainings(0.05, folds=5) == (3, 1)


def test_two_points_are_meant_where_no_difference_is_given():
    spread = Spread(0.25, fold_std=0.004, seed_std=0.008)
    assert spread.repeats_needed() == spread.repeats_needed(0.02) > spread.repeats_needed(0.04)
    assert spread.seeds_needed() == spread.seeds_needed(0.02) > spread.seeds_needed(0.04)
    assert spread.fewest_trainings() == spread.fewest_trainings(0.02) != spread.fewest_trainings(0.04)


def test_a_thousand_is_tried_and_no_more():
    assert [_first(lambda number, least=least: number >= least) for least in (1, 1000, 1001)] == [1, 1000, None]


def test_two_points_are_never_found_where_folds_differ_by_two():
    """The cohort's own part, sqrt(1/4) 2 points = 1 point, stays; 80% power needs 1.96 + 0.84 of it."""
    spread = Spread(0.25, fold_std=0.02, seed_std=0.02)
    assert spread.smallest_ever() == pytest.approx(0.01 * (1.959964 + 0.841621))
    assert spread.repeats_needed(0.02) is spread.seeds_needed(0.02, folds=500) is spread.fewest_trainings(0.02) is None
    assert spread.power(spread.smallest_ever(), math.inf, math.inf) == pytest.approx(0.8)
    assert spread.repeats_needed(0.029, seeds=1000) is not None and spread.repeats_needed(0.027, seeds=1000) is None


def test_more_seeds_take_away_their_own_part_and_no_more():
    noisy, of_folds = Spread(0.25, fold_std=0.005, seed_std=0.03), Spread(0.25, fold_std=0.03)
    assert noisy.repeats_needed(0.02, seeds=1) is None and noisy.repeats_needed(0.02, seeds=10) is not None
    only_seeds = Spread(0.25, fold_std=0.0, seed_std=0.03)  # which the test widens: 1.96 sqrt(1/4) 3 points = 2.94
    assert (only_seeds.power(0.029, math.inf, 1), only_seeds.power(0.03, math.inf, 1)) == (0.0, 1.0)
    assert of_folds.power(0.05, 5, 1000) == of_folds.power(0.05, 5, 1)
    assert noisy.power(0.02, 5, math.inf) == pytest.approx(Spread(0.25, fold_std=0.005).power(0.02, 5, 1))


spreads = st.builds(
    Spread,
    st.sampled_from([1 / 9, 0.25, 0.5]),
    st.floats(0, 0.03).map(lambda x: round(x, 3)),
    st.floats(0, 0.03).map(lambda x: round(x, 3)),
)


@given(spreads, st.sampled_from([0.01, 0.02, 0.05]), st.sampled_from([0.05, 0.05 / 19]), st.integers(1, 5))
def test_the_number_needed_is_the_first_that_suffices(spread, wanted, alpha, seeds):
    if (repeats := spread.repeats_needed(wanted, 5, seeds, alpha)) is not None:
        assert spread.power(wanted, 5 * repeats, seeds, alpha) >= 0.8
        assert all(spread.power(wanted, 5 * repeats * more, seeds, alpha) >= 0.8 for more in (2, 7, 100))
        assert repeats == 1 or spread.power(wanted, 5 * (repeats - 1), seeds, alpha) < 0.8
    if (needed := spread.seeds_needed(wanted, 10, alpha)) is not None:
        assert spread.power(wanted, 10, needed, alpha) >= 0.8
        assert needed == 1 or spread.power(wanted, 10, needed - 1, alpha) < 0.8


def test_the_fewest_trainings_weigh_repeats_against_seeds():
    spread = Spread(0.25, fold_std=0.008, seed_std=0.02)
    found = spread.fewest_trainings(0.02, alpha=0.05 / 19)
    options = [
        (repeats * seeds, (repeats, seeds))
        for repeats in range(1, 60)
        for seeds in range(1, 21)
        if spread.power(0.02, 5 * repeats, seeds, 0.05 / 19) >= 0.8
    ]
    assert found is not None and math.prod(found) == min(options)[0]
    assert Spread(0.25, fold_std=0.01, seed_std=0.03).fewest_trainings(0.05, most_seeds=1) == (3, 1)


def test_two_folds_may_find_a_large_difference_and_one_none():
    spread = Spread(0.25, fold_std=0.001, seed_std=0.0)
    assert spread.power(0.5, 2, 1) > 0.9 and spread.power(0.5, 1, 1) == 0.0
