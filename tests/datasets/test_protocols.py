from dataclasses import replace
from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from benchmark.contracts import InputError
from datasets import DATASETS, cohort, store
from datasets.protocols import LABEL_SETS, classify, labels, protocols, protocols_of


@pytest.fixture
def made(toy, tmp_path):
    """Prepare a cohort of one patient for each label or score."""

    def make(*said):
        collection = toy(*((f"p{number}", one) for number, one in enumerate(said)))
        return store.load(cohort.prepare(collection, tmp_path))

    return make


@given(st.lists(st.lists(st.integers(1, 5), min_size=1, max_size=8), min_size=1, max_size=20))
def test_labels_are_those_of_exact_arithmetic(ratings):
    means = np.array([sum(scores) / len(scores) for scores in ratings])
    exact = [Fraction(sum(scores), len(scores)) for scores in ratings]
    low, high = Fraction(5, 2), Fraction(7, 2)
    published = [0 if mean <= low else 2 if mean >= high else 1 for mean in exact]
    text = [0 if mean < low else 2 if mean > high else 1 for mean in exact]
    two = {0: 0, 1: -1, 2: 1}
    assert classify(means, "three", "published").tolist() == published
    assert classify(means, "three", "text").tolist() == text
    assert classify(means, "two", "published").tolist() == [two[label] for label in published]
    assert classify(means, "two", "text").tolist() == [two[label] for label in text]


@pytest.mark.parametrize(("rule", "counts"), [("published", [1123, 1026, 502]), ("text", [895, 1370, 386])])
def test_class_sizes_of_the_collection(nodules, rule, counts):
    malignancy = np.array([nodule.malignancy for nodule in nodules])
    assert np.bincount(classify(malignancy, "three", rule)).tolist() == counts
    two = classify(malignancy, "two", rule)
    assert [(two == label).sum() for label in (-1, 0, 1)] == [counts[1], counts[0], counts[2]]


def test_rule_published_is_the_default():
    assert classify(np.array([2.5, 3.5]), "three").tolist() == [0, 2]


def test_a_given_class_stands_and_a_score_follows_the_rule(made):
    found = made("benign", "unsure", "malignant", (2, 3), (4, 3), (1,))
    assert labels(found, "three", "published").tolist() == [0, 1, 2, 0, 2, 0]
    assert labels(found, "three", "text").tolist() == [0, 1, 2, 1, 1, 0]
    assert labels(found, "two", "published").tolist() == [0, -1, 1, 0, 1, 0]
    assert labels(found, "two", "text").tolist() == [0, -1, 1, -1, -1, 0]


def test_a_given_class_outweighs_a_score(made):
    found = replace(made((1,), (1,)), given_labels=np.array([2, -1]))
    assert labels(found, "three", "published").tolist() == [2, 0]


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
    assert DATASETS["A"].printed_classes == (0, 2, 1) and DATASETS["B"].printed_classes == (0, 2)


def test_another_collection_gives_its_title():
    assert [protocol.title for protocol in protocols("Ours").values()] == ["Ours-A", "Ours-B", "Ours-C"]
    assert protocols("Ours")["B"] == replace(DATASETS["B"], title="Ours-B")


def test_all_protocols_or_those_asked_for_in_their_order(made):
    found = made("benign", "unsure", "malignant")
    assert [protocol.title for protocol in protocols_of(found, None, "published")] == ["Toy-A", "Toy-B", "Toy-C"]
    assert [protocol.key for protocol in protocols_of(found, ["C", "A"], "published")] == ["C", "A"]


def test_without_unsure_nodules_there_is_c_alone(made):
    found = made("benign", "malignant", (5,))
    assert [protocol.key for protocol in protocols_of(found, None, "published")] == ["C"]
    assert [protocol.key for protocol in protocols_of(found, ["C"], "published")] == ["C"]
    with pytest.raises(InputError, match=r"^the collection Toy has no unsure nodule, so only C can be made: leave A"):
        protocols_of(found, ["A", "B", "C"], "published")
    with pytest.raises(InputError, match="leave B out"):
        protocols_of(found, ["B"], "published")


def test_whether_there_are_unsure_nodules_depends_on_the_rule(made):
    found = made((2, 3), (1,), (5,))
    assert [protocol.key for protocol in protocols_of(found, None, "published")] == ["C"]
    assert [protocol.key for protocol in protocols_of(found, None, "text")] == ["A", "B", "C"]


@pytest.mark.parametrize(("said", "word"), [(["unsure", "malignant"], "benign"), (["benign", (3,)], "malignant")])
def test_a_cohort_without_a_benign_or_a_malignant_nodule_is_refused(made, said, word):
    with pytest.raises(
        InputError, match=f"^the collection Toy has no {word} nodule.*, so there is nothing to tell apart"
    ):
        protocols_of(made(*said), None, "published")


@pytest.mark.parametrize(
    ("said", "rule", "sentence"),
    [
        (["benign", "unsure"], "published", "no malignant nodule, so there is nothing to tell apart: add some"),
        (
            ["benign", (3,)],
            "published",
            "no malignant nodule by the label rule 'published', so there is nothing to tell apart: add some",
        ),
        (
            ["benign", (3, 4)],
            "text",
            "no malignant nodule by the label rule 'text', so there is nothing to tell apart: add some, or give "
            "--label-rule published",
        ),
        (
            [(2, 3), "unsure"],
            "text",
            "no benign nodule by the label rule 'text', so there is nothing to tell apart: add some",
        ),
    ],
    ids=str,
)
def test_another_label_rule_is_advised_only_where_it_helps(made, said, rule, sentence):
    with pytest.raises(InputError) as told:
        protocols_of(made(*said), None, rule)
    assert str(told.value) == f"the collection Toy has {sentence}"


@pytest.mark.parametrize(("key", "hint"), [("D", "choose from A, B, C"), ("a", "did you mean 'A'")])
def test_an_unknown_dataset_is_refused_with_the_choices(made, key, hint):
    with pytest.raises(InputError, match=f"there is no dataset '{key}': .*{hint}"):
        protocols_of(made("benign", "malignant"), [key], "published")


@pytest.mark.parametrize(("label_set", "rule"), [("four", "published"), ("three", "paper")])
def test_an_unknown_name_is_refused_with_the_choices(label_set, rule):
    with pytest.raises(InputError, match="choose from"):
        classify(np.array([3.0]), label_set, rule)
