import numpy as np
import pytest

from benchmark.habits import epoch_choices, shares_patient
from benchmark.records import FitSpec, Metadata
from fakes import record


def fit(method: str, fold: int, seed: int, curve: list[float], label_set: str = "three", **changes):
    spec = FitSpec(label_set, method, fold, seed)
    return record(spec, [0], [[1.0, 0.0, 0.0]], metadata=Metadata(test_curve=curve), **changes)


def test_the_best_epochs_gain_is_over_the_last_epoch_averaged_over_seeds_then_folds():
    records = [
        fit("ce", 0, 0, [0.2, 0.6, 0.5]),  # + 0.1
        fit("ce", 0, 1, [0.9, 0.1, 0.6]),  # + 0.3
        fit("ce", 1, 0, [0.1, 0.2, 0.3]),  # the last is the best
        fit("ce", 1, 1, [0.3, 0.3, 0.3]),
    ]
    found = epoch_choices(records)["three", "ce"]
    assert found.on_test.folds.tolist() == pytest.approx([0.2, 0.0]) and found.on_test.seeds == 2
    assert found.on_test.mean == pytest.approx(0.1) and found.on_test.std == pytest.approx(0.2 / 2**0.5)
    assert found.last.folds.tolist() == pytest.approx([0.55, 0.3])


def test_an_honest_choice_is_made_on_the_other_folds_alone_and_may_lose():
    records = [
        fit("ce", 0, 0, [0.2, 0.9, 0.5]),  # the others' mean is best in epoch 0: - 0.3
        fit("ce", 1, 0, [0.9, 0.1, 0.3]),  # the others' mean: 0.35, 0.75, 0.55; epoch 1: - 0.2
        fit("ce", 2, 0, [0.5, 0.6, 0.6]),  # the others' mean: 0.55, 0.5, 0.4; epoch 0: - 0.1
    ]
    found = epoch_choices(records)["three", "ce"]
    assert found.elsewhere.folds.tolist() == pytest.approx([-0.3, -0.2, -0.1])
    assert found.on_test.folds.tolist() == pytest.approx([0.4, 0.6, 0.0])


def test_the_seeds_of_other_folds_choose_together_and_each_seed_is_judged():
    records = [
        fit("ce", 0, 0, [0.4, 0.0]),
        fit("ce", 0, 1, [0.7, 0.5]),
        fit("ce", 1, 0, [0.0, 0.5]),  # one seed alone would choose epoch 1 for fold 0
        fit("ce", 1, 1, [0.9, 0.3]),
    ]
    found = epoch_choices(records)["three", "ce"].elsewhere
    assert found.folds.tolist() == pytest.approx([0.3, 0.05]) and found.seeds == 2


def test_one_fold_alone_has_no_honest_choice():
    assert epoch_choices([fit("ce", 0, 0, [0.9, 0.1])])["three", "ce"].elsewhere is None


def test_epochs_that_differ_by_chance_alone_gain_by_the_choice_on_the_test_fold_and_not_by_an_honest_one():
    """Eight equal epochs with normal noise of 0.01: the expected maximum of eight is 1.4236 standard deviations."""
    rng = np.random.default_rng(0)
    records = [fit("ce", fold, 0, (0.6 + 0.01 * rng.standard_normal(8)).tolist()) for fold in range(400)]
    found = epoch_choices(records)["three", "ce"]
    error = 0.01 * (1 + 0.37) ** 0.5 / 400**0.5  # variances of the last epoch and of the maximum
    assert found.on_test.mean == pytest.approx(0.014236, abs=4 * error)
    assert found.elsewhere.mean == pytest.approx(0.0, abs=4 * 0.01 * 2**0.5 / 400**0.5)


def test_rows_and_label_sets_have_gains_of_their_own_and_fits_without_a_curve_none():
    records = [
        fit("ce", 0, 0, [0.5, 0.4]),
        fit("ce", 0, 0, [0.7, 0.4], label_set="two"),
        fit("corf", 0, 0, [0.9, 0.4]),
        fit("udm", 0, 0, []),
        fit("nsb", 0, 0, [0.9, 0.1], status="failed"),
        None,
    ]
    found = {key: round(one.on_test.mean, 6) for key, one in epoch_choices(records).items()}
    assert found == {("three", "ce"): 0.1, ("two", "ce"): 0.3, ("three", "corf"): 0.5}


def test_a_nodule_shares_its_patient_with_training_where_another_fold_has_one_too():
    patients = ["p1", "p2", "p1", "p3", "p3", "p4"]
    assert shares_patient(patients, np.array([0, 0, 1, 2, 2, 1])).tolist() == [True, False, True, False, False, False]
