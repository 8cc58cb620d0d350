"""Folds: patient-disjoint and class-stratified, one assignment for all label sets; and what each fit is given."""

import warnings
from collections.abc import Collection, Iterable, Mapping, Sequence
from functools import cache, partial
from itertools import combinations
from pathlib import Path

import numpy as np
from jaxtyping import Int

from benchmark.contracts import Cohort, FoldData, InputError
from datasets import store
from datasets.protocols import LABEL_SETS, labels

_SEEDS = 50  # tried in turn; patients that are alike are few, so that more give little else
_MOST_TOLD = 20  # folds in a sentence: dealing a large cohort into hundreds, time and again, would take hours


def assign(
    labels_three: Int[np.ndarray, " nodules"],
    patient_ids: Sequence[str],
    n_folds: int,
    seed: int = 0,
    label_sets: Iterable[str] = LABEL_SETS,
) -> Int[np.ndarray, " nodules"]:
    """Return each nodule's fold, 0..n_folds-1: by scikit-learn's StratifiedGroupKFold, and checked.

    Every fold holds every class, so that each class can be trained on and tested everywhere. Where a seed does not
    give that, the next ones are tried, and at last folds are built around groups of patients that hold every class. A
    cut that serves all that the cohort has is taken before one that serves only the label sets in use, so that their
    choice moves no nodule where it need not.

    Args:
        labels_three: Classes of the label set `three`, which leaves no nodule out.
        patient_ids: The groups that stay together.
        n_folds: Number of folds.
        seed: Order in which patients are dealt.
        label_sets: Those in use, whose classes no fold may lack.

    Raises:
        InputError: Fewer than two folds, a class with fewer patients than folds, or no way to give every fold every
            class.
    """
    if n_folds < 2:
        raise InputError(f"cross-validation needs at least 2 folds, not {n_folds}")
    patients = np.asarray(patient_ids)
    there = set(np.unique(labels_three).tolist())
    used = there & {LABEL_SETS["three"].index(word) for name in label_sets for word in LABEL_SETS[name]}
    for classes in (there, used):
        if (fold_of := _first_that_works(labels_three, patients, n_folds, seed, classes)) is not None:
            return fold_of
    held = {label: len(np.unique(patients[labels_three == label])) for label in sorted(used)}
    smaller = range(min(n_folds - 1, _MOST_TOLD, *held.values()), 1, -1)
    works = (k for k in smaller if _first_that_works(labels_three, patients, k, seed, used) is not None)
    instead = f"give --folds {k}, or " if (k := next(works, None)) else ""
    few = [label for label in held if held[label] < n_folds]
    words = [LABEL_SETS["three"][label] for label in (few[:1] or held)]
    if few:
        why = f"need {n_folds} patients with a nodule of class {words[0]}, and the cohort has {held[few[0]]}"
    else:
        why = f"cannot each hold a nodule of {', '.join(words[:-1])} and {words[-1]} of whole patients"
    raise InputError(f"{n_folds} folds {why}: {instead}add nodules of more patients")


def can_be_cut(
    labels_three: Int[np.ndarray, " nodules"], patient_ids: Sequence[str], n_folds: int, classes: Collection[int]
) -> bool:
    """Say whether so many folds of whole patients can each hold all of the classes, as `assign` cuts them."""
    patients = np.asarray(patient_ids)
    if not classes:
        return len(np.unique(patients)) >= n_folds
    if n_folds > _MOST_TOLD:
        return _first_that_works(labels_three, patients, n_folds, 0, classes) is not None
    held = _held(labels_three, patients, classes)  # as many groups of patients that do are as many cores of folds
    return whole_groups(held, frozenset(classes), n_folds) is not None


def _first_that_works(
    labels_three: Int[np.ndarray, " nodules"], patients: np.ndarray, n_folds: int, seed: int, classes: Collection[int]
) -> Int[np.ndarray, " nodules"] | None:
    """Return the first seed's folds that each hold all of the classes, else folds around groups that do, else None."""
    if any(len(np.unique(patients[labels_three == label])) < n_folds for label in classes):
        return None
    for other in range(seed, seed + _SEEDS):
        fold_of = _deal(labels_three, patients, n_folds, other)
        if all(len(np.unique(fold_of[labels_three == label])) == n_folds for label in classes):
            return fold_of
    if n_folds > _MOST_TOLD:
        return None
    held = _held(labels_three, patients, classes)
    return _deal_groups(patients, whole_groups(held, frozenset(classes), n_folds), seed)


def _held(
    labels_three: Int[np.ndarray, " n"], patients: np.ndarray, classes: Collection[int]
) -> dict[str, frozenset[int]]:
    """Return which of the classes each patient has."""
    held = dict.fromkeys(np.unique(patients).tolist(), frozenset[int]())
    for patient, label in zip(patients.tolist(), labels_three.tolist(), strict=True):
        held[patient] |= {label} & set(classes)
    return held


def whole_groups(
    held: Mapping[str, frozenset[int]], classes: frozenset[int], count: int
) -> list[tuple[str, ...]] | None:
    """Return so many disjoint groups of patients that each hold all classes; None if there are not so many.

    Patients that hold the same classes are alike, so there are few kinds of patients and few kinds of groups without a
    superfluous member; how often each kind of group is taken is found by trying, which is exact.

    >>> whole_groups({"a": frozenset({0}), "b": frozenset({1}), "c": frozenset({0, 1})}, frozenset({0, 1}), 2)
    [('c',), ('a', 'b')]
    """
    alike: dict[frozenset[int], list[str]] = {}
    for patient, own in held.items():
        alike.setdefault(own, []).append(patient)
    kinds = sorted(alike, key=sorted)
    enough = [
        group
        for size in range(1, len(classes) + 1)
        for group in combinations(kinds, size)
        if frozenset().union(*group) >= classes
    ]
    least = [g for g in enough if not any(set(other) < set(g) for other in enough)]

    @cache
    def taken(first: int, left: tuple[int, ...], wanted: int) -> tuple[int, ...] | None:
        """Return how many groups of each kind from the first on, that `left` patients of each kind allow."""
        if wanted == 0 or first == len(least):
            return (0,) * (len(least) - first) if wanted == 0 else None
        members = [kinds.index(kind) for kind in least[first]]
        for number in range(min(wanted, *(left[kind] for kind in members)), -1, -1):
            rest = tuple(n - number * (kind in members) for kind, n in enumerate(left))
            if (others := taken(first + 1, rest, wanted - number)) is not None:
                return (number, *others)
        return None

    numbers = taken(0, tuple(len(alike[kind]) for kind in kinds), count)
    if numbers is None:
        return None
    queues = {kind: iter(alike[kind]) for kind in kinds}
    return [
        tuple(next(queues[kind]) for kind in group) for group, n in zip(least, numbers, strict=True) for _ in range(n)
    ]


def _deal_groups(
    patients: np.ndarray, groups: Sequence[Sequence[str]] | None, seed: int
) -> Int[np.ndarray, " nodules"] | None:
    """Give each fold a group, and every other patient, in an order of the seed, to the fold with the fewest nodules."""
    if groups is None:
        return None
    fold = {patient: number for number, group in enumerate(groups) for patient in group}
    sizes = dict(zip(*np.unique(patients, return_counts=True), strict=True))
    nodules = np.bincount(list(fold.values()), [sizes[patient] for patient in fold], len(groups))
    for patient in np.random.default_rng(seed).permutation([p for p in sizes if p not in fold]):
        fold[patient] = int(nodules.argmin())
        nodules[fold[patient]] += sizes[patient]
    return np.array([fold[patient] for patient in patients])


def _deal(
    labels_three: Int[np.ndarray, " nodules"], patients: np.ndarray, n_folds: int, seed: int
) -> Int[np.ndarray, " nodules"]:
    """Return each nodule's fold, as scikit-learn deals the patients; some fold may lack a class."""
    from sklearn.model_selection import StratifiedGroupKFold  # here: it takes a second that bad input need not wait for

    splitter = StratifiedGroupKFold(n_folds, shuffle=True, random_state=seed)
    fold_of = np.full(len(labels_three), -1)
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "The least populated class", UserWarning)  # it may be one that is not used
        for number, (_, test) in enumerate(splitter.split(labels_three[:, None], labels_three, patients)):
            fold_of[test] = number
    return fold_of


def assign_cohort(
    cohort: Cohort, label_sets: Iterable[str], rule: str, n_folds: int, seed: int = 0
) -> Int[np.ndarray, " nodules"]:
    """Return the fold of each of a cohort's nodules.

    Raises:
        InputError: As `assign`, or an unknown label rule.
    """
    return assign(labels(cohort, "three", rule), cohort.patient_ids, n_folds, seed, label_sets)


def assign_ignoring_patients(
    cohort: Cohort, label_sets: Iterable[str], rule: str, n_folds: int, seed: int = 0
) -> Int[np.ndarray, " nodules"]:
    """Return folds that treat each nodule as if it were a patient of its own: to measure what that habit adds.

    All else is as in `assign_cohort`: the same deal, balanced over the same classes.

    Raises:
        InputError: As `assign_cohort`, or no patient has more than one nodule.
    """
    if len(set(cohort.patient_ids)) == len(cohort):
        raise InputError(
            f"--habits: every patient of {cohort.collection} has one nodule here, so no folds can ignore patients: "
            "give --test-curve, which measures the other habit alone"
        )
    return assign(labels(cohort, "three", rule), cohort.nodule_ids, n_folds, seed, label_sets)


def split(
    number: int, fold_of: Int[np.ndarray, " nodules"], labels: Int[np.ndarray, " nodules"]
) -> tuple[Int[np.ndarray, " train"], Int[np.ndarray, " test"]]:
    """Return the train and test rows of one fold, ascending; rows with label -1 are in neither."""
    used = labels >= 0
    return np.flatnonzero(used & (fold_of != number)), np.flatnonzero(used & (fold_of == number))


def fold_data(
    file: Path, label_sets: Iterable[str], rule: str, fold_of: Int[np.ndarray, " nodules"]
) -> dict[tuple[str, int], FoldData]:
    """Return what the fits of every label set and fold are given. This is the only place that decides it.

    Args:
        file: A prepared cohort.
        label_sets: Names of the label sets, which share one assignment of patients to folds.
        rule: The label rule.
        fold_of: The assignment, as `assign_cohort` made it for these label sets.

    Raises:
        InputError: As `store.load`.
    """
    stamp = store.stamp_of(file)  # before the file is checked: one that changes meanwhile is checked again by workers
    cohort = store.open_once(file)
    made = {}
    for label_set in label_sets:
        classes = labels(cohort, label_set, rule)
        for number in range(int(fold_of.max()) + 1):
            train, test = split(number, fold_of, classes)
            made[label_set, number] = FoldData(
                cohort_file=file,
                cohort_hash=cohort.content_hash,
                open=partial(store.open_once, verified=stamp),
                label_set=label_set,
                class_names=LABEL_SETS[label_set],
                train=train,
                test=test,
                train_labels=classes[train],
                test_labels=classes[test],
                test_ids=tuple(cohort.nodule_ids[row] for row in test),
            )
    return made
