import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from benchmark.estimates import sample_patients
from benchmark.nodules import NEWER
from benchmark.scores import Section
from benchmark.strata import UNKNOWN, agreement, by_size, by_stratum, by_thickness, strata_of
from fakes import A, B
from nodule_tables import make_predictions, make_table

ONE, SAME, APART, FURTHER = (
    "one reader only",
    "all readers name one class",
    "classes differ, scores at most one apart",
    "classes differ, scores further apart",
)


def padded(scores):
    return np.array([[*of, *[np.nan] * (4 - len(of))] for of in scores], dtype=float)


def groups_of(groups):
    """Return the group of each nodule, having seen that it has one."""
    members = np.array(list(groups.values()))
    assert (members.sum(axis=0) == 1).all()
    return [list(groups)[row] for row in members.argmax(axis=0)]


@pytest.mark.parametrize(
    ("scores", "group"),
    [
        ((3,), ONE),
        ((1, 2), SAME),
        ((2, 1, 1, 2), SAME),
        ((3, 3, 3), SAME),
        ((4, 5, 5), SAME),
        ((2, 3), APART),
        ((3, 3.5), APART),
        ((2.5, 3), APART),
        ((3, 4, 4), APART),
        ((2, 4), FURTHER),
        ((1, 3), FURTHER),
        ((2, 3, 4), FURTHER),
        ((1, 5, 1, 1), FURTHER),
        ((), UNKNOWN),
    ],
)
def test_agreement_by_hand(scores, group):
    assert groups_of(agreement(make_table(1, reader_malignancy=padded([scores])))) == [group]


@given(st.lists(st.lists(st.integers(1, 5), max_size=4), min_size=1, max_size=12), st.integers(0, 1000))
def test_every_nodule_is_in_exactly_one_group_of_each_stratum(scores, seed):
    rng, n = np.random.default_rng(seed), len(scores)
    table = make_table(
        n,
        reader_malignancy=padded(scores),
        diameter_mm=rng.choice([3.0, 6.0, 8.0, 9.0, np.nan], n),
        slice_thickness_mm=rng.choice([1.25, 2.5, 3.0, np.nan], n),
        strata={"site": tuple(rng.choice(["", "x", "y"], n).tolist())},
    )
    for groups in strata_of(table).values():
        assert list(groups)[-1] == UNKNOWN
        groups_of(groups)


def test_readers_without_known_scores_are_not_known_but_for_their_number():
    scores = padded([(2, 2), (3,)])
    table = make_table(2, reader_malignancy=scores * np.nan, n_readers=np.array([2, 1]), missing=NEWER)
    assert groups_of(agreement(table)) == [UNKNOWN, ONE]


def test_sizes_and_thicknesses_at_their_edges():
    sizes = np.array([5.99, 6.0, 8.0, 8.01, np.nan])
    found = groups_of(by_size(make_table(5, diameter_mm=sizes)))
    assert found == ["under 6 mm", "6 to 8 mm", "6 to 8 mm", "above 8 mm", UNKNOWN]
    thicknesses = np.array([0.6, 1.25, 1.5, 2.5, 3.0, np.nan])
    found = groups_of(by_thickness(make_table(6, slice_thickness_mm=thicknesses)))
    assert found == ["at most 1.25 mm"] * 2 + ["above 1.25, at most 2.5 mm"] * 2 + ["above 2.5 mm", UNKNOWN]


@pytest.fixture
def halves():
    return parted(19)


def parted(few: int):
    """Sixty nodules of thirty patients; the first few are of site x, and decided rightly by one seed of two."""
    labels = np.arange(60) % 3
    x = np.arange(60) < few
    right, wrong = np.eye(3)[labels], np.eye(3)[(labels + 1) % 3]
    table = make_table(
        60,
        patient_ids=tuple(f"p{i // 2}" for i in range(60)),
        strata={"scan_site": tuple(np.where(x, "x", "y").tolist())},
    )
    return table, make_predictions(labels, [np.where(x[:, None], right, wrong), right])


def test_a_group_by_hand(halves):
    table, made = halves
    found = by_stratum(made, Section(A, "open"), table, sample_patients(made, table, 200))
    assert {each.stratum for each in found} == {"Readers' agreement", "Diameter", "Slice thickness", "scan site"}
    x, y = (each for each in found if each.stratum == "scan site")
    assert (x.group, x.nodules, x.patients, x.largest_class) == ("x", 19, 10, 7 / 19)
    assert (y.group, y.nodules, y.patients, y.largest_class) == ("y", 41, 21, 14 / 41)
    assert x.accuracy.value == 1.0 and y.accuracy.value == 0.5
    assert np.isnan(x.accuracy.low) and np.isnan(x.accuracy.high)  # fewer than 20
    assert y.accuracy.low == y.accuracy.high == 0.5
    assert [each.group for each in found if each.stratum == "Diameter"] == [UNKNOWN]


def test_twenty_nodules_are_enough_for_an_interval():
    table, made = parted(20)
    found = by_stratum(made, Section(A, "open"), table, sample_patients(made, table, 200))
    (x,) = (each for each in found if (each.stratum, each.group) == ("scan site", "x"))
    assert x.nodules == 20 and x.accuracy.low == x.accuracy.high == 1.0


def test_only_tested_nodules_count(halves):
    table, made = halves
    found = by_stratum(made, Section(B, "open"), table, sample_patients(made, table, 20))
    x, y = (each for each in found if each.stratum == "scan site")
    assert (x.nodules, y.nodules) == (13, 27) and x.largest_class == 7 / 13
