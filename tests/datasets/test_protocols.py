from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from benchmark.contracts import InputError
from datasets import DATASETS
from datasets.protocols import LABEL_SETS, labels


@given(st.lists(st.lists(st.integers(1, 5), min_size=1, max_size=8), min_size=1, max_size=20))
def test_labels_are_those_of_exact_arithmetic(ratings):
    means = np.array([sum(scores) / len(scores) for scores in ratings])
    exact = [Fraction(sum(scores), len(scores)) for scores in ratings]
    low, high = Fraction(5, 2), Fraction(7, 2)
    published = [0 if mean <= low else 2 if mean >= high else 1 for mean in exact]
    text = [0 if mean < low else 2 if mean > high else 1 for mean in exact]
    two = {0: 0, 1: -1, 2: 1}
    assert labels(means, "three", "published").tolist() == published
    assert labels(means, "three", "text").tolist() == text
    assert labels(means, "two", "published").tolist() == [two[label] for label in published]
    assert labels(means, "two", "text").tolist() == [two[label] for label in text]


@pytest.mark.parametrize(("rule", "counts"), [("published", [1123, 1026, 502]), ("text", [895, 1370, 386])])
def test_class_sizes_of_the_collection(nodules, rule, counts):
    malignancy = np.array([nodule.malignancy for nodule in nodules])
    assert np.bincount(labels(malignancy, "three", rule)).tolist() == counts
    two = labels(malignancy, "two", rule)
    assert [(two == label).sum() for label in (-1, 0, 1)] == [counts[1], counts[0], counts[2]]


def test_rule_published_is_the_default():
    assert labels(np.array([2.5, 3.5]), "three").tolist() == [0, 2]


def test_protocols_are_the_papers():
    assert list(DATASETS) == ["A", "B", "C"]
    for key, protocol in DATASETS.items():
        assert (protocol.key, protocol.title) == (key, f"LIDC-{key}")
        assert protocol.class_names == LABEL_SETS[protocol.label_set]
    tested = {key: [p.class_names[k] for k in p.test_classes] for key, p in DATASETS.items()}
    assert tested == {
        "A": ["benign", "unsure", "malignant"],
        "B": ["benign", "malignant"],
        "C": ["benign", "malignant"],
    }
    assert DATASETS["A"].label_set == DATASETS["B"].label_set == "three"
    assert DATASETS["B"].decisions == ("restricted", "open")


@pytest.mark.parametrize(("label_set", "rule"), [("four", "published"), ("three", "paper")])
def test_an_unknown_name_is_refused_with_the_choices(label_set, rule):
    with pytest.raises(InputError, match="choose from"):
        labels(np.array([3.0]), label_set, rule)
