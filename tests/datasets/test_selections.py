"""The labels and selections that `benchmark.sensitivity` sets beside each other, on all of LIDC-IDRI."""

import itertools
from fractions import Fraction
from statistics import median

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from benchmark.sensitivity import RULES, choices, classes_of
from benchmark.strata import strata_of
from datasets.protocols import LABEL_RULES, LABEL_SETS, classify
from nodule_tables import make_table

THREE = LABEL_SETS["three"]


@given(st.lists(st.lists(st.integers(1, 5), min_size=1, max_size=8), min_size=1, max_size=20))
def test_the_label_rules_are_those_of_the_protocols(ratings):
    means = np.array([sum(scores) / len(scores) for scores in ratings])
    assert tuple(LABEL_RULES) == RULES
    for rule in RULES:
        for label_set, names in LABEL_SETS.items():
            assert classes_of(means, names, rule).tolist() == classify(means, label_set, rule).tolist()


@pytest.fixture(scope="module")
def scores(phantom):
    return [nodule.malignancy for nodule in phantom.nodules()]


@pytest.fixture(scope="module")
def table(phantom, scores):
    nodules = phantom.nodules()
    means = np.array([sum(of) / len(of) for of in scores])
    return make_table(
        len(nodules),
        reader_malignancy=[[*of, *[np.nan] * (max(map(len, scores)) - len(of))] for of in scores],
        malignancy=means,
        diameter_mm=np.array([nodule.diameter_mm for nodule in nodules]),
        slice_thickness_mm=np.array([nodule.slice_thickness_mm for nodule in nodules]),
        strata={"is_from_initial": tuple(nodule.strata["is_from_initial"] for nodule in nodules)},
        labels={"three": classify(means, "three", "published")},
    )


def test_sizes_of_every_choice_of_the_collection(table, scores):
    """The edge rules' are known; the others are counted here from the scores, one by one, in exact arithmetic."""

    def sizes(kept, score=lambda of: Fraction(int(sum(of)), len(of))):
        classes = [0 if score(of) <= 2.5 else 2 if score(of) >= 3.5 else 1 for of in itertools.compress(scores, kept)]
        return np.bincount(classes, minlength=3).tolist()

    readers = [len(of) >= 3 for of in scores]
    decided = [sum(of) != 3 * len(of) for of in scores]
    thin = [thickness <= 2.5 for thickness in table.slice_thickness_mm]
    made = choices(table, "three", THREE, "published")
    assert [np.bincount(choice.labels + 1, minlength=4)[1:].tolist() for choice in made] == [
        [1123, 1026, 502],
        [895, 1370, 386],
        sizes([True] * len(scores), median),
        sizes(readers),
        sizes(decided),
        sizes(thin),
        sizes(map(all, zip(readers, decided, thin, strict=True))),
    ]


def test_groups_of_the_collection_cover_it_once(table, scores):
    groups = strata_of(table)
    for of_stratum in groups.values():
        assert (np.sum(list(of_stratum.values()), axis=0) == 1).all()
        assert not of_stratum["not known"].any()
    same = sum(len(of) > 1 and len({"bbumm"[int(score) - 1] for score in of}) == 1 for of in scores)
    assert [int(members.sum()) for members in groups["Readers' agreement"].values()][:2] == [
        sum(len(of) == 1 for of in scores),
        same,
    ]
