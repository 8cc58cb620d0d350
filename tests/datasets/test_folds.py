import pickle
import re
from collections import Counter
from collections.abc import Sequence
from itertools import combinations

import numpy as np
import pytest
from hypothesis import assume, example, given
from hypothesis import strategies as st

from benchmark.contracts import InputError
from datasets import cohort, folds, store
from datasets.folds import (
    assign,
    assign_cohort,
    assign_ignoring_patients,
    can_be_cut,
    fold_data,
    split,
    whole_groups,
)
from datasets.protocols import LABEL_SETS, classify


@pytest.fixture(scope="module")
def three(nodules):
    return classify(np.array([nodule.malignancy for nodule in nodules]), "three")


@pytest.fixture(scope="module")
def patients(nodules):
    return [nodule.scan.patient_id for nodule in nodules]


@pytest.fixture(scope="module")
def fold_of(three, patients):
    return assign(three, patients, 5)


@pytest.fixture(scope="module")
def file(toy, tmp_path_factory):
    """Thirty patients of one nodule each, ten of each class; the first class's scores stand on the edge."""
    words = ["benign", "unsure", "malignant"]
    pairs = [(f"p{number:02}", (2, 3) if number % 3 == 0 else words[number % 3]) for number in range(30)]
    return cohort.prepare(toy(*pairs), tmp_path_factory.mktemp("cohort"))


def test_patients_are_shuffled_before_they_are_dealt():
    """Twelve patients alike: without a shuffle they would be dealt in turn, whatever the seed."""
    labels, patients = np.zeros(12, dtype=int), [f"p{number:02}" for number in range(12)]
    dealt = {tuple(assign(labels, patients, 3, seed).tolist()) for seed in range(8)}
    assert len(dealt) == 8


def test_classes_are_spread_evenly_where_that_can_be_done():
    labels = np.arange(60) % 3
    for fold in range(4):
        assert np.bincount(labels[assign(labels, list(map(str, range(60))), 4) == fold]).tolist() == [5, 5, 5]


@given(
    st.lists(st.tuples(st.integers(0, 11), st.integers(0, 2)), min_size=30, max_size=80),
    st.integers(2, 4),
    st.integers(0, 3),
)
def test_any_cohort_is_cut_into_whole_patients(drawn, n_folds, seed):
    pairs = [(patient, label) for patient in range(12) for label in range(3)] + drawn
    patients, labels = [f"p{patient}" for patient, _ in pairs], np.array([label for _, label in pairs])
    fold_of = assign(labels, patients, n_folds, seed)
    assert set(fold_of.tolist()) == set(range(n_folds))
    assert len(set(zip(patients, fold_of.tolist(), strict=True))) == 12
    for number in range(n_folds):
        train, test = split(number, fold_of, labels)
        assert sorted([*train, *test]) == list(range(len(labels)))
        assert not {patients[row] for row in train} & {patients[row] for row in test}


def test_split_by_hand():
    fold_of, labels = np.array([0, 1, 1, 0, 2, 1]), np.array([0, 1, -1, -1, 0, 0])
    assert [rows.tolist() for rows in split(0, fold_of, labels)] == [[1, 4, 5], [0]]
    assert [rows.tolist() for rows in split(1, fold_of, labels)] == [[0, 4], [1, 5]]
    assert [rows.tolist() for rows in split(2, fold_of, labels)] == [[0, 1, 5], [4]]


def test_a_class_with_too_few_patients_is_named_with_the_folds_that_work():
    found = np.array([0, 0, 0, 0, 1, 1, 1, 2, 2, 2])
    patients = ["a", "b", "c", "d", "a", "b", "c", "a", "b", "b"]  # class 2 has three nodules of two patients
    with pytest.raises(InputError) as told:
        assign(found, patients, 3)
    assert str(told.value) == (
        "3 folds need 3 patients with a nodule of class malignant, and the cohort has 2: give --folds 2, or add "
        "nodules of more patients"
    )
    assert set(assign(found, patients, 2).tolist()) == {0, 1}  # as many patients as folds are enough
    with pytest.raises(InputError, match=r"^4 folds need 4 patients with a nodule of class unsure, and .* 3: .* 2, or"):
        assign(found, patients, 4)  # the fewest patients of any class decide
    with pytest.raises(
        InputError, match=r"^5 folds need 5 patients with a nodule of class benign, and the cohort has 4:"
    ):
        assign(found, patients, 5)


@pytest.mark.parametrize("patients", [4, 7])
def test_the_largest_number_of_folds_is_told_whatever_was_asked(patients):
    found, names = np.arange(3 * patients) % 3, [f"p{number}" for number in range(3 * patients)]
    for asked in (patients + 1, 1000):
        with pytest.raises(
            InputError, match=f"has {patients}: give --folds {patients}, or add nodules of more patients$"
        ):
            assign(found, names, asked)
    assert set(assign(found, names, patients).tolist()) == set(range(patients))


def test_without_unsure_nodules_the_folds_of_two_classes_are_told():
    with pytest.raises(InputError, match=r"class benign, and the cohort has 3: give --folds 3, or add"):
        assign(np.array([0, 2] * 3), list("abcdef"), 4)


def test_folds_that_would_lack_a_class_are_not_told():
    """Four patients of each class, but unsure and malignant nodules meet in such a way that three folds fail too."""
    found, patients = np.array([0, 1, 2, 0, 1, 1, 2, 0, 2]), list("aaabbccdd")
    with pytest.raises(InputError, match=r"^5 folds need 5 .* has 3: give --folds 2, or add nodules of more patients$"):
        assign(found, patients, 5)


def test_where_no_number_of_folds_works_none_is_told():
    with pytest.raises(InputError, match=r"and the cohort has 2: add nodules of more patients$"):
        assign(np.array([0, 0, 2]), list("aba"), 5)


def test_a_large_number_of_folds_is_refused_at_once():
    """Dealing a thousand patients into hundreds of folds, for each smaller number, would take hours."""
    found, names = np.arange(3000) % 3, [f"p{number}" for number in range(3000)]
    with pytest.raises(InputError, match=r"^2000 folds need 2000 patients .* has 1000: give --folds 20, or"):
        assign(found, names, 2000)


def test_folds_that_cannot_all_hold_every_class_are_refused_in_the_classes_names():
    """A patient with one nodule of each class and three with a pair: never three folds of all three."""
    found, patients = np.array([0, 1, 2, 0, 1, 1, 2, 0, 2]), list("aaabbccdd")
    with pytest.raises(InputError) as told:
        assign(found, patients, 3)
    assert str(told.value) == (
        "3 folds cannot each hold a nodule of benign, unsure and malignant of whole patients: give --folds 2, or add "
        "nodules of more patients"
    )


def test_what_no_seed_gives_is_built_from_groups_of_patients(monkeypatch):
    """Seeds that always leave a fold without malignant nodules; two groups of patients hold every class."""
    monkeypatch.setattr(folds, "_deal", lambda labels, *_: np.where(labels == 2, 0, np.arange(len(labels)) % 2))
    found, patients = np.array([0, 1, 2, 0, 1, 2, 0, 0]), list("abbccdef")
    fold_of = assign(found, patients, 2)
    assert all(set(found[fold_of == number]) == {0, 1, 2} for number in (0, 1))
    assert len(set(zip(patients, fold_of.tolist(), strict=True))) == 6
    assert sorted(np.bincount(fold_of)) == [4, 4]  # what is left goes where there is least


def test_twenty_folds_are_still_built_from_groups_and_no_more(monkeypatch):
    monkeypatch.setattr(folds, "_deal", lambda labels, *_: np.zeros(len(labels), dtype=int))
    found, patients = np.arange(63) % 3, [f"p{number}" for number in range(63)]
    assert set(assign(found, patients, 20).tolist()) == set(range(20))
    with pytest.raises(InputError, match=r"^21 folds cannot each hold .*: give --folds 20, or"):
        assign(found, patients, 21)
    assert [can_be_cut(found, patients, number, {0, 1, 2}) for number in (20, 21)] == [True, False]


KINDS = [frozenset(kind) for kind in ((0,), (1,), (2,), (0, 1), (0, 2), (1, 2), (0, 1, 2))]


def most_groups(held: tuple[frozenset[int], ...]) -> int:
    """The most disjoint groups that each hold classes 0 to 2, by trying all partitions of the patients."""
    if not frozenset().union(*held) >= {0, 1, 2}:
        return 0
    first, *rest = held
    best = most_groups(tuple(rest)) if rest else 0
    for size in range(len(rest) + 1):
        for others in combinations(range(len(rest)), size):
            if first.union(*(rest[k] for k in others)) >= {0, 1, 2}:
                left = tuple(own for k, own in enumerate(rest) if k not in others)
                best = max(best, 1 + (most_groups(left) if left else 0))
    return best


@given(st.lists(st.sampled_from(KINDS), min_size=1, max_size=6))
@example([KINDS[1], KINDS[3], KINDS[2], KINDS[4]])  # as many as can be of one kind of group leave no second
def test_as_many_groups_are_found_as_there_are(kinds):
    held = {f"p{number}": kind for number, kind in enumerate(kinds)}
    most = most_groups(tuple(kinds))
    for count in range(1, most + 1):
        groups = whole_groups(held, frozenset({0, 1, 2}), count)
        members = [patient for group in groups for patient in group]
        assert len(groups) == count and len(set(members)) == len(members)
        assert all(frozenset().union(*(held[p] for p in group)) == {0, 1, 2} for group in groups)
    assert whole_groups(held, frozenset({0, 1, 2}), most + 1) is None


@pytest.fixture
def second_works(monkeypatch):
    """Deals that leave a fold without class 2, but for seed 6; they are counted."""
    dealt = []

    def deal(labels, patients, n_folds, seed):
        dealt.append(seed)
        by_turns = np.arange(len(labels)) % 2
        return np.arange(len(labels)) // 3 % n_folds if seed == 6 else np.where(labels == 2, 0, by_turns)

    monkeypatch.setattr(folds, "_deal", deal)
    return dealt


def test_where_a_seed_leaves_a_fold_without_a_class_the_next_are_tried(second_works):
    found = assign(np.arange(12) % 3, list(map(str, range(12))), 2, seed=4)
    assert second_works == [4, 5, 6] and found.tolist() == [0, 0, 0, 1, 1, 1] * 2


def test_a_class_that_is_not_in_use_may_lack_where_nothing_else_can_be_had():
    """One unsure nodule: two folds for two classes, and none for three."""
    found, names = np.array([0, 2, 0, 2, 1]), list("abcde")
    fold_of = assign(found, names, 2, label_sets=["two"])
    assert all(set(found[fold_of == number]) >= {0, 2} for number in (0, 1))
    for label_sets in (["three"], ["two", "three"]):
        with pytest.raises(InputError, match=r"^2 folds need 2 patients .* of class unsure, and .* has 1: add"):
            assign(found, names, 2, label_sets=label_sets)


def test_the_choice_of_label_sets_moves_no_nodule_where_all_can_be_served(three, patients, fold_of):
    np.testing.assert_array_equal(assign(three, patients, 5, label_sets=["two"]), fold_of)


@pytest.mark.parametrize("n_folds", [1, 0, -1])
def test_fewer_than_two_folds_are_refused(n_folds):
    with pytest.raises(InputError, match=f"^cross-validation needs at least 2 folds, not {n_folds}$"):
        assign(np.array([0, 1]), ["a", "b"], n_folds)


def test_a_cohort_is_cut_by_its_three_classes_under_the_rule(file):
    found = store.load(file)
    edge = np.arange(30) % 3 == 0  # a mean of 2.5: benign as published, unsure by the text
    by_rule = {"published": np.arange(30) % 3, "text": np.where(edge, 1, np.arange(30) % 3)}
    for rule, labels in by_rule.items():
        np.testing.assert_array_equal(
            assign_cohort(found, ["three"], rule, 3, seed=4), assign(labels, found.patient_ids, 3, seed=4)
        )
    assert (
        assign_cohort(found, ["two"], "published", 3) == assign(by_rule["published"], found.patient_ids, 3, 0)
    ).all()


def test_a_cohort_is_cut_for_the_label_sets_in_use(toy, tmp_path):
    words = ["benign", "malignant"] * 4 + ["unsure"]
    lone = store.load(cohort.prepare(toy(*((f"p{number}", word) for number, word in enumerate(words))), tmp_path))
    assert set(assign_cohort(lone, ["two"], "published", 4).tolist()) == {0, 1, 2, 3}
    with pytest.raises(InputError, match="class unsure"):
        assign_cohort(lone, ["two", "three"], "published", 4)


def data_of(file, label_sets, rule, n_folds, seed=0):
    return fold_data(file, label_sets, rule, assign_cohort(store.load(file), label_sets, rule, n_folds, seed))


def test_each_label_set_and_fold_has_its_data(file):
    made = data_of(file, ["two", "three"], "published", 3, seed=2)
    assert list(made) == [(label_set, number) for label_set in ("two", "three") for number in range(3)]
    found = store.load(file)
    fold_of = assign(np.arange(30) % 3, found.patient_ids, 3, seed=2)
    classes = {"three": (np.arange(30) % 3), "two": np.array([0, -1, 1])[np.arange(30) % 3]}
    for (label_set, number), data in made.items():
        train, test = split(number, fold_of, classes[label_set])
        np.testing.assert_array_equal(data.train, train)
        np.testing.assert_array_equal(data.test, test)
        np.testing.assert_array_equal(data.train_labels, classes[label_set][train])
        np.testing.assert_array_equal(data.test_labels, classes[label_set][test])
        assert data.test_ids == tuple(found.nodule_ids[row] for row in test)
        assert data.label_set == label_set and data.cohort_file == file and data.cohort_hash == found.content_hash
    assert made["three", 0].class_names == ("benign", "unsure", "malignant")
    assert made["two", 0].class_names == ("benign", "malignant")


def test_the_default_seed_is_zero(file):
    found = store.load(file)
    default = assign_cohort(found, ["three"], "published", 3)
    assert (default == assign_cohort(found, ["three"], "published", 3, seed=0)).all()
    assert (default != assign_cohort(found, ["three"], "published", 3, seed=1)).any()


def test_fold_data_travels_and_opens_the_cohort_once(file):
    data = data_of(file, ["two"], "published", 2)["two", 1]
    twin = pickle.loads(pickle.dumps(data))
    assert len(pickle.dumps(data)) < 10_000  # a description, not the voxels
    assert twin.cohort() is store.open_once(file) and twin.cohort().content_hash == data.cohort_hash
    assert twin.open.keywords == {"verified": store.stamp_of(file)}  # so that no worker hashes all voxels again


# The collection's own nodules, which take seconds to read, come last.


def test_every_nodule_is_tested_once(three, fold_of):
    tests = np.concatenate([split(number, fold_of, three)[1] for number in range(5)])
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
    fold_of = assign(classify(malignancy, "three", rule), patients, 5)
    for label_set, classes in (("three", 3), ("two", 2)):
        found = classify(malignancy, label_set, rule)
        for number in range(5):
            assert set(found[split(number, fold_of, found)[1]]) == set(range(classes))


def test_label_sets_share_one_assignment(three, fold_of):
    two = np.array([0, -1, 1])[three]
    for number in range(5):
        (whole_train, whole_test), (train, test) = split(number, fold_of, three), split(number, fold_of, two)
        assert set(train) == {row for row in whole_train if three[row] != 1}
        assert set(test) == {row for row in whole_test if three[row] != 1}
        assert not set(train) & set(test)


def test_the_seed_alone_decides(three, patients, fold_of):
    np.testing.assert_array_equal(assign(three, patients, 5, seed=0), fold_of)
    assert (assign(three, patients, 5, seed=1) != fold_of).any()


SIZES, FOLDS = range(5, 21), (3, 5)


def windows(patients: Sequence[str]) -> list[list[str]]:
    """Every run of 5 to 20 consecutive patients that have nodules, by id."""
    ids = sorted(set(patients))
    return [ids[start : start + size] for size in SIZES for start in range(len(ids) - size + 1)]


def check_window(window: Sequence[str], three: np.ndarray, patients: Sequence[str], n_folds: int) -> str:
    """Cut a window; see that every fold trains on and tests every class, or that the sentence tells the truth."""
    inside = np.isin(patients, window)
    found, own = three[inside], np.asarray(patients)[inside]
    there = set(found.tolist())
    try:
        fold_of = assign(found, own.tolist(), n_folds)
    except InputError as error:
        told = re.search(r": (?:give --folds (\d+), or )?add nodules of more patients$", str(error))
        assert told and re.match(rf"{n_folds} folds (need|cannot each hold)", str(error)), str(error)
        largest = int(told[1] or 1)
        for smaller in range(2, n_folds):
            works = folds._first_that_works(found, own, smaller, 0, there) is not None
            assert works or smaller != largest
            assert not works or smaller <= largest, f"{error}: {smaller} folds work"
        return "refused"
    for label_set, classes in (("three", 3), ("two", 2)):
        labels = found if label_set == "three" else np.array([0, -1, 1])[found]
        expected = set(np.unique(labels[labels >= 0]).tolist())
        for number in range(n_folds):
            train, test = split(number, fold_of, labels)
            assert set(labels[train].tolist()) == set(labels[test].tolist()) == expected, (label_set, classes)
            assert not set(own[train]) & set(own[test])
    return "cut"


def test_five_hundred_windows_of_patients_are_cut_rightly_or_refused_in_words(three, patients, request):
    """All 27,632 of them by `--all-windows`."""
    every = [(window, n_folds) for window in windows(patients) for n_folds in FOLDS]
    if not request.config.getoption("--all-windows"):
        chosen = np.random.default_rng(0).permutation(len(every))[:500]
        every = [every[number] for number in chosen]
    came = Counter((n_folds, check_window(window, three, patients, n_folds)) for window, n_folds in every)
    assert set(came) == {(n_folds, end) for n_folds in FOLDS for end in ("cut", "refused")}, came


def test_a_window_that_no_seed_cuts_is_cut_around_groups(three, patients):
    """Patients 0008 to 0017 with five folds, where scikit-learn leaves a fold without benign nodules."""
    window = [f"LIDC-IDRI-{number:04}" for number in range(8, 18)]
    assert check_window(window, three, patients, 5) == check_window(window, three, patients, 3) == "cut"


def in_several_folds(patients: Sequence[str], fold_of: np.ndarray) -> set[str]:
    """Return the patients that a fit trains and is tested on."""
    seen = Counter(patient for patient, _ in set(zip(patients, fold_of.tolist(), strict=True)))
    return {patient for patient, folds in seen.items() if folds > 1}


@pytest.fixture(scope="module")
def paired(toy, tmp_path_factory):
    """Thirty patients of two nodules each, of two classes."""
    words = ["benign", "unsure", "malignant"]
    pairs = [(f"p{number // 2:02}", words[number % 3]) for number in range(60)]
    return store.open_once(cohort.prepare(toy(*pairs), tmp_path_factory.mktemp("paired")))


def test_folds_that_ignore_patients_put_them_on_both_sides_and_the_others_never_do(paired):
    given = paired, ["three"], "published", 5
    patients = list(paired.patient_ids)
    assert not in_several_folds(patients, assign_cohort(*given))
    fold_of = assign_ignoring_patients(*given)
    split_up = in_several_folds(patients, fold_of)
    assert len(split_up) > 15  # by chance 24 of 30
    train, test = split(0, fold_of, np.zeros(60, dtype=int))
    both = {patients[row] for row in train} & {patients[row] for row in test}
    assert both and both <= split_up


def test_folds_that_ignore_patients_are_balanced_over_classes_and_dealt_by_the_seed(paired):
    given = paired, ["three"], "published", 5
    classes = np.arange(60) % 3
    for number in range(5):
        assert np.bincount(classes[assign_ignoring_patients(*given) == number]).tolist() == [4, 4, 4]
    dealt = {tuple(assign_ignoring_patients(*given, seed).tolist()) for seed in (0, 0, 1, 2)}
    assert len(dealt) == 3


def test_patients_of_one_nodule_each_cannot_be_ignored(file):
    with pytest.raises(InputError, match=r"^--habits: every patient of .* has one nodule here, .*: give --test-curve"):
        assign_ignoring_patients(store.open_once(file), ["three"], "published", 5)


@given(
    st.lists(st.tuples(st.integers(0, 9), st.integers(0, 2)), min_size=1, max_size=30),
    st.integers(2, 5),
    st.sampled_from([("three",), ("two",), ("three", "two")]),
)
def test_whether_folds_can_be_cut_is_said_without_cutting_them_and_is_true(pairs, n_folds, label_sets):
    classes, patients = np.array([label for _, label in pairs]), [f"p{patient}" for patient, _ in pairs]
    used = set(classes.tolist()) & {LABEL_SETS["three"].index(word) for name in label_sets for word in LABEL_SETS[name]}
    assume(used)
    try:
        assign(classes, patients, n_folds, label_sets=label_sets)
        cut = True
    except InputError:
        cut = False
    assert can_be_cut(classes, patients, n_folds, used) == cut
