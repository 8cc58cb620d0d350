from collections import Counter

import numpy as np
import pytest

from benchmark.contracts import InputError
from datasets.folds import assign, fold
from datasets.protocols import labels


@pytest.fixture(scope="module")
def three(nodules):
    return labels(np.array([nodule.malignancy for nodule in nodules]), "three")


@pytest.fixture(scope="module")
def patients(nodules):
    return [nodule.scan.patient_id for nodule in nodules]


@pytest.fixture(scope="module")
def fold_of(three, patients):
    return assign(three, patients, 5)


def test_every_nodule_is_tested_once(three, fold_of):
    tests = np.concatenate([fold(number, fold_of, three).test for number in range(5)])
    assert sorted(tests.tolist()) == list(range(2651))


def test_no_patient_is_in_two_folds(patients, fold_of):
    assert max(len(set(fold_of[np.array(patients) == patient])) for patient in set(patients)) == 1


def test_patients_with_two_scans_stay_together(nodules, patients, fold_of):
    scans = Counter(patient for patient, _ in {(n.scan.patient_id, n.scan.series_uid) for n in nodules})
    twice = [patient for patient, count in scans.items() if count == 2]
    assert len(twice) == 8
    for patient in twice:
        assert len(set(fold_of[np.array(patients) == patient])) == 1


def test_folds_are_alike_in_size_and_classes(three, fold_of):
    whole = np.bincount(three) / len(three)
    for number in range(5):
        test = three[fold_of == number]
        assert abs(len(test) / len(three) - 0.2) < 0.01
        assert np.abs(np.bincount(test, minlength=3) / len(test) - whole).max() < 0.02


@pytest.mark.parametrize("rule", ["published", "text"])
def test_every_class_is_in_every_test_fold_of_either_label_set(nodules, patients, rule):
    malignancy = np.array([nodule.malignancy for nodule in nodules])
    fold_of = assign(labels(malignancy, "three", rule), patients, 5)
    for label_set, classes in (("three", 3), ("two", 2)):
        found = labels(malignancy, label_set, rule)
        for number in range(5):
            assert set(found[fold(number, fold_of, found).test]) == set(range(classes))


def test_label_sets_share_one_assignment(three, fold_of):
    two = np.array([0, -1, 1])[three]
    for number in range(5):
        whole, part = fold(number, fold_of, three), fold(number, fold_of, two)
        assert set(part.train) == {row for row in whole.train if three[row] != 1}
        assert set(part.test) == {row for row in whole.test if three[row] != 1}
        assert not set(part.train) & set(part.test)


def test_the_seed_alone_decides(three, patients, fold_of):
    np.testing.assert_array_equal(assign(three, patients, 5, seed=0), fold_of)
    assert (assign(three, patients, 5, seed=1) != fold_of).any()


def test_too_many_or_too_few_folds_are_refused():
    found = np.array([0, 0, 0, 1, 1, 1, 2, 2])
    patients = ["a", "b", "c", "a", "b", "c", "a", "a"]
    with pytest.raises(InputError, match="class 2, and the cohort has 1"):
        assign(found, patients, 2)
    with pytest.raises(InputError, match="at least 2 folds"):
        assign(found, patients, 1)
