from dataclasses import replace

import numpy as np
import pytest

from benchmark.contracts import InputError
from benchmark.estimates import sample_patients
from benchmark.nodules import NEWER
from benchmark.scores import Section
from benchmark.sensitivity import choices, classes_of, sensitivities
from fakes import NAMES, A, B, C
from nodule_tables import make_predictions, make_table

NAN = np.nan
SCORES = np.array(
    [[2, 3, NAN, NAN], [1, 3, 5, NAN], [3, 4, 3, 4], [1, 1, NAN, NAN], [1, 1, 4, 4], [1, 2, 2, 5], [NAN] * 4]
)
"""Means 2.5, 3, 3.5, 1, 2.5, 2.5; medians 2.5, 3, 3.5, 1, 2.5, 2; the last has a given class."""
PUBLISHED, TEXT = [0, 1, 2, 0, 0, 0, 2], [1, 1, 1, 0, 1, 1, 2]


@pytest.fixture
def table():
    return make_table(
        7,
        reader_malignancy=SCORES,
        slice_thickness_mm=np.array([2.5, 1.0, 2.5, 3.0, NAN, 1.0, 1.0]),
        labels={"three": np.array(PUBLISHED), "two": np.array([0, -1, 1, 0, 0, 0, 1])},
    )


def labels_of(table, rule="published", label_set="three", names=NAMES):
    return {choice.title: choice.labels.tolist() for choice in choices(table, label_set, names, rule)}


def test_labels_of_every_choice_by_hand(table):
    assert labels_of(table) == {
        "mean: at most 2.5 benign, at least 3.5 malignant": PUBLISHED,
        "mean: below 2.5 benign, above 3.5 malignant": TEXT,
        "median of the readers": PUBLISHED,
        "three readers or more": [-1, 1, 2, -1, 0, 0, -1],
        "mean of exactly 3 left out": [0, -1, 2, 0, 0, 0, 2],
        "slices of at most 2.5 mm": [0, 1, 2, -1, -1, 0, 2],
        "these three together": [-1, -1, 2, -1, -1, 0, -1],
    }


def test_median_and_selections_go_by_the_runs_own_rule(table):
    table = replace(table, labels={"three": np.array(TEXT)})
    found = labels_of(table, "text")
    assert found["median of the readers"] == [1, 1, 1, 0, 1, 0, 2]  # the sixth: mean 2.5, median 2
    assert found["three readers or more"] == [-1, 1, 1, -1, 1, 1, -1]


def test_the_two_classes_leave_the_unsure_out(table):
    found = labels_of(table, "published", "two", C.class_names)
    assert found["mean: below 2.5 benign, above 3.5 malignant"] == [-1, -1, -1, 0, -1, -1, 1]
    assert found["median of the readers"] == [0, -1, 1, 0, 0, 0, 1]


def test_without_single_scores_there_is_no_median(table):
    assert "median of the readers" not in labels_of(replace(table, missing=NEWER))


def test_an_unknown_rule_is_refused(table):
    with pytest.raises(InputError, match="unknown label rule 'mine': choose from published, text"):
        list(choices(table, "three", NAMES, "mine"))


def test_what_is_not_known_has_no_class():
    assert classes_of(np.array([NAN, 3.0]), NAMES, "text").tolist() == [-1, 1]


def test_the_same_decisions_under_other_labels_by_hand(table):
    """Decided 0, 0, 2, 0, 0, 1, 2; by the labels of the run five of seven are right."""
    made = make_predictions(PUBLISHED, np.eye(3)[[0, 0, 2, 0, 0, 1, 2]])
    found = sensitivities(made, Section(A, "open"), table, "published", sample_patients(made, table, 10))
    own, text, _, three, _, _, _ = found
    assert (own.nodules, own.sizes, own.changed, own.accuracy.value) == (7, (4, 1, 2), 0, pytest.approx(5 / 7))
    assert (text.nodules, text.sizes, text.changed, text.accuracy.value) == (7, (1, 5, 1), 4, pytest.approx(3 / 7))
    assert text.largest_class == 5 / 7
    assert (three.nodules, three.sizes, three.changed) == (4, (2, 1, 1), 0)
    assert three.accuracy.value == 0.5 and three.patients == 4
    assert {each.unpredicted for each in found} == {0}


def test_nodules_that_only_another_choice_tests_are_counted_and_not_scored(table):
    """A run by the text has two nodules of two classes; the published rule would test four more."""
    own = np.array([-1, -1, -1, 0, -1, -1, 1])
    table = replace(table, labels={"two": own})
    made = make_predictions([0, 1], [[0.9, 0.1], [0.8, 0.2]], nodules=np.array([3, 6]))
    found = sensitivities(made, Section(C, "open"), table, "text", sample_patients(made, table, 10))
    published, text, median = found[:3]
    assert (published.nodules, published.unpredicted, published.accuracy.value) == (2, 4, 0.5)
    assert (text.nodules, text.unpredicted) == (2, 0)
    assert (median.nodules, median.unpredicted) == (2, 1)


def test_a_class_that_is_not_tested_stays_out(table):
    made = make_predictions(PUBLISHED, np.eye(3)[[0, 0, 2, 0, 0, 1, 2]])
    found = sensitivities(made, Section(B, "restricted"), table, "published", sample_patients(made, table, 10))
    assert [each.nodules for each in found] == [6, 2, 6, 3, 6, 4, 2]
    assert found[1].sizes == (1, 1)
