import numpy as np
import pytest

from benchmark.bootstrap import patient_weights

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
    counts = patient_weights([str(i) for i in range(875)], 500, seed=0)
    assert counts.mean() == 1
    assert counts.var() == pytest.approx(1 - 1 / 875, abs=0.01)
    assert (counts == 0).mean() == pytest.approx((1 - 1 / 875) ** 875, abs=0.005)
