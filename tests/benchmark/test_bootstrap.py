import math
from itertools import product

import numpy as np
import pytest
from scipy.special import ndtri

from benchmark.bootstrap import interval, paired_bootstrap, patient_weights

IDS = np.array(["a", "b", "a", "c", "a", "b"])


def test_a_patient_is_drawn_with_all_nodules_and_as_many_patients_as_there_are():
    weights = patient_weights(IDS, replicates=500, seed=1)
    assert weights.shape == (500, 6)
    assert (weights[:, 0] == weights[:, 2]).all() and (weights[:, 1] == weights[:, 5]).all()
    assert (weights[:, [0, 1, 3]].sum(axis=1) == 3).all()


def test_the_draws_are_the_seeds_and_do_not_hang_on_the_order_of_nodules():
    order = np.random.default_rng(0).permutation(6)
    weights = patient_weights(IDS, 50, seed=4)
    assert (patient_weights(list(IDS[order]), 50, seed=4) == weights[:, order]).all()
    assert (patient_weights(IDS, 50, seed=5) != weights).any()


def test_draws_of_a_patient_are_binomial():
    """875 draws of 1 / 875: mean 1, variance 1 - 1 / 875, and never drawn with 0.368, as in Efron's bootstrap."""
    counts = patient_weights([str(i) for i in range(875)], 500, seed=0)  # in two blocks
    assert counts.mean() == 1
    assert counts.var() == pytest.approx(1 - 1 / 875, abs=0.01)
    assert (counts == 0).mean() == pytest.approx((1 - 1 / 875) ** 875, abs=0.005)
    assert (counts[0] != counts[-1]).any()


def test_an_interval_leaves_a_fortieth_out_at_either_end():
    assert interval(np.arange(1001.0)) == (25.0, 975.0)
    assert interval(np.arange(1001.0)[::-1], level=0.9) == (50.0, 950.0)


def test_undefined_replicates_widen_the_interval_until_it_has_no_end():
    values = np.arange(1001.0)
    values[500:520] = np.nan
    assert interval(values) == (5.0, 995.0)  # 20 of them stand beyond either end, and with them 5 known ones
    values[500:526] = np.nan
    assert all(map(math.isnan, interval(values)))


def _predictions(rng, patients, gap=0.0):
    """Invent what two rows got right, and whose the nodules are: patients of one to some fifteen nodules, all alike.

    A nodule is right where a normal variate, a third of it the patient's own, lies below its quantile: accuracies of
    0.6 + gap and 0.6, whatever patients are drawn.
    """
    patient_of = np.repeat(np.arange(patients), rng.geometric(1 / 3, patients))

    def right(accuracy):
        own, shared = rng.normal(size=len(patient_of)), rng.normal(size=patients)[patient_of]
        return math.sqrt(2 / 3) * own + math.sqrt(1 / 3) * shared < ndtri(accuracy)

    return right(0.6 + gap), right(0.6), patient_of


@pytest.mark.parametrize("seed", range(7, 11))  # as many extreme draws are even and odd
def test_the_sums_over_patients_are_the_definition_over_nodules(seed):
    """The same draws, nodule by nodule, and every standard error from its residuals."""
    rng = np.random.default_rng(2)
    a, b, patient_of = _predictions(rng, 40)
    seeds = np.stack([a, rng.permutation(a)])
    found = paired_bootstrap(seeds, b, patient_of, replicates=999, seed=seed, comparisons=4)
    delta = seeds.mean(axis=0) - b
    gain, size = (np.array([x[patient_of == p].sum() for p in range(40)]) for x in (delta, np.ones(len(delta))))
    centre, distances = delta.mean(), []
    observed = abs(centre) / (np.sqrt(((gain - centre * size) ** 2).sum()) / len(delta))
    first = np.unique(patient_of, return_index=True)[1]
    for weights in patient_weights(patient_of, 999, seed=seed):
        drawn = (weights * delta).sum() / weights.sum()
        error = np.sqrt((weights[first] * (gain - drawn * size) ** 2).sum()) / weights.sum()
        distances.append(abs(drawn - centre) / error)
    least = np.sort(distances)[::-1] * abs(centre) / observed
    assert found.difference == pytest.approx(centre, abs=1e-12)
    assert found.p_value == (1 + sum(distance >= observed for distance in distances)) / 1000
    assert (found.low, found.high) == pytest.approx((centre - least[49], centre + least[49]), abs=1e-10)
    assert found.smallest_detectable == pytest.approx(least[11], abs=1e-10)  # 12 of 1,000 are at most 0.05 / 4


def test_the_p_value_converges_to_that_of_all_draws():
    """Four patients of one nodule, three of them won: all 256 draws can be counted."""
    gain = np.array([1.0, 1.0, 1.0, 0.0])
    extreme = 0
    for drawn in product(range(4), repeat=4):
        mean = gain[list(drawn)].mean()
        error = gain[list(drawn)].std() / 2
        distance = abs(mean - 0.75) / error if error else (math.inf if mean != 0.75 else 0.0)
        extreme += distance >= 0.75 / (gain.std() / 2)
    found = paired_bootstrap(gain, np.zeros(4), ["p1", "p2", "p3", "p4"], replicates=99_999)
    assert found.p_value == pytest.approx(extreme / 256, abs=0.005)


def test_interval_p_value_and_detectable_difference_are_one_test():
    rng = np.random.default_rng(3)
    for _ in range(60):
        found = paired_bootstrap(*_predictions(rng, 40, gap=0.1), replicates=999, alpha=0.1, comparisons=2)
        assert (found.p_value <= 0.1) == (found.low > 0 or found.high < 0)
        assert (found.p_value <= 0.1 / 2) == (abs(found.difference) > found.smallest_detectable)


def test_five_thousand_replicates_of_seed_zero_are_meant_where_none_are_given():
    a, b, patient_of = _predictions(np.random.default_rng(5), 20, gap=0.1)
    assert paired_bootstrap(a, b, patient_of) == paired_bootstrap(a, b, patient_of, replicates=5000, seed=0)


def test_rows_changed_about_give_the_same_test_with_the_other_sign():
    a, b, patient_of = _predictions(np.random.default_rng(4), 50, gap=0.1)
    there, back = paired_bootstrap(a, b, patient_of), paired_bootstrap(b, a, patient_of)
    assert there == paired_bootstrap(a, b, patient_of) != paired_bootstrap(a, b, patient_of, seed=1)
    assert (there.difference, there.low, there.p_value) == pytest.approx((-back.difference, -back.high, back.p_value))


def test_without_a_spread_between_patients_nothing_is_claimed():
    ids, ones, zeros = ["p1", "p2", "p2"], np.ones(3), np.zeros(3)
    same, apart, alone = (
        paired_bootstrap(ones, ones, ids),
        paired_bootstrap(ones, zeros, ids),
        paired_bootstrap(ones, np.array([1, 0, 0]), ["p1"] * 3),
    )
    assert (same.difference, same.p_value, apart.difference) == (0.0, 1.0, 1.0)
    assert all(map(math.isnan, (apart.p_value, alone.p_value, same.low, apart.high, alone.smallest_detectable)))


def test_where_one_patient_makes_the_difference_nothing_is_shown():
    """A third of the draws leave that patient out and have no spread at all: the interval is everything."""
    found = paired_bootstrap(np.array([1, 0, 0, 0, 0]), np.zeros(5), ["p1", "p2", "p3", "p4", "p5"])
    assert (found.difference, found.low, found.high, found.smallest_detectable) == (0.2, -1.0, 1.0, 1.0)
    assert found.p_value > 0.3


def test_too_few_replicates_for_the_wanted_level_are_refused():
    a, b, patient_of = _predictions(np.random.default_rng(0), 30)
    with pytest.raises(ValueError, match=r"99 replicates reach no p-value of 0\.005: take 200"):
        paired_bootstrap(a, b, patient_of, replicates=99, comparisons=10)
    with pytest.raises(ValueError, match=r"18 replicates reach no p-value of 0\.05: take 20"):
        paired_bootstrap(a, b, patient_of, replicates=18)
    assert paired_bootstrap(a, b, patient_of, replicates=19).smallest_detectable > 0
    with pytest.raises(ValueError, match="no nodule"):
        paired_bootstrap(a[:0], b[:0], [])


@pytest.mark.parametrize(("patients", "gap"), [(40, 0.0), (80, 0.08)])
def test_of_2000_simulated_cohorts_the_interval_holds_the_truth_in_93_to_97_percent(patients, gap):
    """Fixed models, new patients each time. Without a gap, what is left out is what the test rejects: 3 to 7%."""
    rng = np.random.default_rng(11)
    found = [paired_bootstrap(*_predictions(rng, patients, gap), replicates=499, seed=run) for run in range(2000)]
    covered = np.mean([result.low <= gap <= result.high for result in found])
    assert 0.93 <= covered <= 0.97
    if not gap:
        rejected = np.mean([result.p_value <= 0.05 for result in found])
        assert 0.03 <= rejected <= 0.07


def test_nodules_taken_for_patients_would_find_what_is_not_there():
    """Both rows fail on whole patients: drawn as if alone, nodules reject far more than 5%."""
    rng = np.random.default_rng(12)
    rejected = 0
    for run in range(300):
        a, b, _ = _predictions(rng, 40)
        rejected += paired_bootstrap(a, b, np.arange(len(a)), replicates=199, seed=run).p_value <= 0.05
    assert rejected / 300 > 0.09
