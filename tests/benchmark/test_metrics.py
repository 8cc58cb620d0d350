from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sklearn import metrics as sk

from benchmark.contracts import Protocol
from benchmark.metrics import auc, confusion_matrix, decide, quadratic_weighted_kappa, scores

NAMES = ("benign", "unsure", "malignant")
THREE = Protocol("A", "LIDC-A", "three", NAMES, (0, 1, 2), (0, 2, 1))
ENDS = Protocol("B", "LIDC-B", "three", NAMES, (0, 2), (0, 2), ("restricted", "open"))


@st.composite
def labelled_probabilities(draw):
    seed = draw(st.integers(0, 2**32 - 1))
    n = draw(st.integers(6, 60))
    rng = np.random.default_rng(seed)
    labels = np.concatenate([np.arange(3), np.arange(3), rng.integers(0, 3, n - 6)])
    proba = rng.dirichlet(np.ones(3), size=n).round(draw(st.sampled_from([1, 12])))
    return labels, proba / proba.sum(axis=1, keepdims=True)


def test_decoders_differ_as_written_in_the_methods_sheet():
    proba = np.array([[0.4, 0.15, 0.45], [0.5, 0.3, 0.2], [0.2, 0.3, 0.5]])
    assert decide(proba, "argmax").tolist() == [2, 0, 2]
    assert decide(proba, "median").tolist() == [1, 0, 1]


def test_median_reaches_half_in_spite_of_rounding():
    assert decide(np.array([[0.1 + 0.2 + 0.2 - 1e-16, 0.5, 0.0]]), "median").tolist() == [0]


def test_confusion_matrix_by_hand():
    labels, decisions = np.array([0, 0, 1, 2, 2]), np.array([0, 1, 1, 0, 2])
    assert confusion_matrix(labels, decisions, 3).tolist() == [[1, 1, 0], [0, 1, 0], [1, 0, 1]]


@given(labelled_probabilities())
def test_every_metric_equals_scikit_learns(case):
    labels, proba = case
    found = scores(labels, proba, "argmax", THREE, "open")
    decisions = proba.argmax(axis=1)
    recall = sk.recall_score(labels, decisions, average=None, labels=[0, 1, 2])
    f1 = sk.f1_score(labels, decisions, average=None, labels=[0, 1, 2], zero_division=0)
    expected = {f"recall_{n}": recall[k] for k, n in enumerate(NAMES)} | {f"f1_{n}": f1[k] for k, n in enumerate(NAMES)}
    expected |= {
        "accuracy": sk.accuracy_score(labels, decisions),
        "accuracy_argmax": sk.accuracy_score(labels, decisions),
        "macro_f1": f1.mean(),
        "balanced_accuracy": sk.balanced_accuracy_score(labels, decisions),
        "mae_ranks": sk.mean_absolute_error(labels, decisions),
        "quadratic_weighted_kappa": sk.cohen_kappa_score(labels, decisions, weights="quadratic"),
        "auc_ovr": sk.roc_auc_score(labels, proba, multi_class="ovr", average="macro"),
    }
    assert found.keys() == expected.keys()
    for name, value in expected.items():
        assert found[name] == pytest.approx(value, abs=1e-12), name


@given(labelled_probabilities())
def test_the_restricted_decision_never_says_a_class_that_is_not_tested(case):
    labels, proba = case
    restricted = scores(labels, proba, "argmax", ENDS, "restricted")
    opened = scores(labels, proba, "argmax", ENDS, "open")
    ends = labels != 1
    two = proba[ends][:, [0, 2]].argmax(axis=1) * 2
    assert restricted["accuracy"] == pytest.approx((two == labels[ends]).mean())
    assert opened["recall_benign"] <= restricted["recall_benign"]
    assert not any("unsure" in name for name in restricted)


def test_open_decisions_on_the_untested_class_count_as_wrong():
    labels = np.array([0, 0, 2, 1])
    proba = np.array([[0.2, 0.7, 0.1], [0.8, 0.1, 0.1], [0.1, 0.2, 0.7], [0.1, 0.8, 0.1]])
    found = scores(labels, proba, "argmax", ENDS, "open")
    assert found["accuracy"] == pytest.approx(2 / 3)
    assert found["recall_benign"] == 0.5
    assert found["f1_benign"] == pytest.approx(2 / 3)  # one hit of two; one decision, a right one
    assert found["mae_ranks"] == pytest.approx(1 / 3)


def test_a_median_decoder_restricted_to_two_classes_is_the_more_probable_one():
    labels, proba = np.array([0, 2]), np.array([[0.3, 0.5, 0.2], [0.2, 0.5, 0.3]])
    assert scores(labels, proba, "median", ENDS, "restricted")["accuracy"] == 1.0


def test_probability_on_untested_classes_alone_is_no_crash():
    found = scores(np.array([0, 2]), np.array([[0.0, 1.0, 0.0], [0.0, 1.0, 0.0]]), "argmax", ENDS, "restricted")
    assert found["accuracy"] == 0.5


def test_auc_counts_ties_half_and_an_empty_side_as_unknown():
    assert auc(np.array([0, 1]), np.array([0.5, 0.5])) == 0.5
    assert auc(np.array([0, 0, 1]), np.array([0.1, 0.4, 0.3])) == 0.5
    assert np.isnan(auc(np.array([0, 0]), np.array([0.1, 0.4])))


def test_kappa_by_hand():
    assert quadratic_weighted_kappa(np.array([[2, 0], [0, 2]])) == 1.0
    assert quadratic_weighted_kappa(np.array([[1, 1], [1, 1]])) == 0.0
    assert np.isnan(quadratic_weighted_kappa(np.array([[4, 0], [0, 0]])))


@pytest.mark.parametrize("decision", ["open", "restricted"])
def test_the_accuracy_of_the_most_probable_class_stands_beside_every_decoders(decision):
    """Restricted to the outer classes 0.45 and 0.4 of 0.85: both decoders take the first; among all three they part."""
    proba = np.array([[0.45, 0.15, 0.4]] * 4)
    found = scores(np.array([0, 0, 1, 2]), proba, "median", THREE, "open")
    assert (found["accuracy"], found["accuracy_argmax"]) == (1 / 4, 2 / 4)
    outer = replace(THREE, test_classes=(0, 2), printed_classes=(0, 2))
    found = scores(np.array([0, 0, 2]), proba[:3], "median", outer, decision)
    assert found["accuracy_argmax"] == 2 / 3 and found["accuracy"] == (2 / 3 if decision == "restricted" else 0)
