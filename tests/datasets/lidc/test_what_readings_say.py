"""Known figures of the collection come out of the product: the labels' limit and the rating fault."""

from functools import partial

import numpy as np
import pytest

from benchmark.bootstrap import patient_weights
from benchmark.fault import correlations
from benchmark.limit import against_all, against_others, pairs, scored
from datasets.lidc.readings import ATTRIBUTES
from datasets.protocols import LABEL_SETS, classify


@pytest.fixture(scope="module")
def scores(nodules):
    """Each reader's malignancy score, NaN beyond the nodule's readers."""
    most = max(len(nodule.readings) for nodule in nodules)
    given = [[reading.malignancy for reading in nodule.readings] for nodule in nodules]
    return np.array([[*of, *[np.nan] * (most - len(of))] for of in given], dtype=np.float64)


@pytest.fixture(scope="module")
def weights(nodules):
    return patient_weights([nodule.scan.patient_id for nodule in nodules], 400, 0)


def accuracy(make, scores, label_set, weights):
    reads = make(scores, partial(classify, label_set=label_set, rule="published"), len(LABEL_SETS[label_set]))
    found = scored(reads, LABEL_SETS[label_set], weights)["accuracy"]
    assert found.low < found.value < found.high < found.low + 0.07
    return len(reads), round(100 * found.value, 2)


def test_one_radiologist_reaches_half_against_the_others(scores, weights):
    """49.6 % of 5,112 reads, as an independent computation found."""
    assert accuracy(against_others, scores, "three", weights) == (5112, 49.63)


def test_a_mean_that_includes_the_reader_or_a_decision_of_two_classes_is_easier(scores, weights):
    assert accuracy(against_all, scores, "three", weights) == (5112, 64.40)
    assert accuracy(against_others, scores, "two", weights) == (3135, 70.57)


def test_two_readers_agree_with_two_in_little_more_than_half(scores, weights):
    """897 nodules have four readers: three ways to pair them, each seen from both sides."""
    assert accuracy(pairs, scores, "three", weights)[0] == 6 * 897


def test_spiculation_and_lobulation_of_the_first_release_tell_less(nodules, scores, weights):
    """Mean ratings of a nodule with its mean malignancy: spiculation 0.26 there, 0.51 elsewhere."""
    ratings = np.array([[nodule.rating(name) for name in ATTRIBUTES] for nodule in nodules])
    flagged = np.array([nodule.scan.is_from_initial for nodule in nodules])
    found = correlations(ratings, np.nanmean(scores, axis=1), flagged, ATTRIBUTES, weights)
    by_name = {one.attribute: one for one in found}
    rounded = {
        name: (round(by_name[name].flagged.value, 2), round(by_name[name].elsewhere.value, 2)) for name in by_name
    }
    assert rounded["spiculation"] == (0.26, 0.51) and rounded["lobulation"] == (0.28, 0.49)
    largest = sorted(ATTRIBUTES, key=lambda name: by_name[name].difference.value)[:2]
    assert largest == ["spiculation", "lobulation"]
    assert all(by_name[name].difference.high < -0.05 for name in largest)
    assert all(abs(by_name[name].difference.value) < 0.12 for name in set(ATTRIBUTES) - set(largest))
