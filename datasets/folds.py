"""Folds: patient-disjoint and class-stratified, one assignment for all label sets; and what each fit is given."""

from collections.abc import Iterable, Sequence
from pathlib import Path

import numpy as np
from jaxtyping import Int

from benchmark.contracts import Cohort, FoldData, InputError
from datasets import store
from datasets.protocols import LABEL_SETS, labels


def assign(
    labels_three: Int[np.ndarray, " nodules"], patient_ids: Sequence[str], n_folds: int, seed: int = 0
) -> Int[np.ndarray, " nodules"]:
    """Return each nodule's fold, 0..n_folds-1, by scikit-learn's StratifiedGroupKFold.

    Args:
        labels_three: Classes of the label set `three`, which leaves no nodule out.
        patient_ids: The groups that stay together.
        n_folds: Number of folds.
        seed: Order in which patients are dealt.

    Raises:
        InputError: Fewer than two folds, or a class with fewer patients than folds.
    """
    if n_folds < 2:
        raise InputError(f"cross-validation needs at least 2 folds, not {n_folds}")
    patients = np.asarray(patient_ids)
    for label in np.unique(labels_three):
        count = len(np.unique(patients[labels_three == label]))
        if count < n_folds:
            raise InputError(
                f"{n_folds} folds need {n_folds} patients with a nodule of class {LABEL_SETS['three'][label]}, and the "
                f"cohort has {count}: {_instead(labels_three, patients, n_folds, seed)}"
            )
    return _deal(labels_three, patients, n_folds, seed)


def _deal(
    labels_three: Int[np.ndarray, " nodules"], patients: np.ndarray, n_folds: int, seed: int
) -> Int[np.ndarray, " nodules"]:
    """Return each nodule's fold, for a number of folds that was checked."""
    from sklearn.model_selection import StratifiedGroupKFold  # here: it takes a second that bad input need not wait for

    splitter = StratifiedGroupKFold(n_folds, shuffle=True, random_state=seed)
    fold_of = np.full(len(labels_three), -1)
    for number, (_, test) in enumerate(splitter.split(labels_three[:, None], labels_three, patients)):
        fold_of[test] = number
    return fold_of


def _instead(labels_three: Int[np.ndarray, " nodules"], patients: np.ndarray, n_folds: int, seed: int) -> str:
    """Return what to do about too many folds: give the largest number that works, if there is one."""
    fewest = min(len(np.unique(patients[labels_three == label])) for label in np.unique(labels_three))
    for number in range(min(n_folds - 1, fewest), 1, -1):
        if _works(labels_three, _deal(labels_three, patients, number, seed), number):
            return f"give --folds {number}, or add nodules of more patients"
    return "add nodules of more patients"


def _works(labels_three: Int[np.ndarray, " nodules"], fold_of: Int[np.ndarray, " nodules"], n_folds: int) -> bool:
    """Return whether each fold of each label set that can be made trains on every class and tests something."""
    three = LABEL_SETS["three"]
    for classes in LABEL_SETS.values():
        if "unsure" in classes and three.index("unsure") not in labels_three:
            continue
        found = np.array([classes.index(word) if word in classes else -1 for word in three])[labels_three]
        if any(_lacks(classes, found, *split(number, fold_of, found)) for number in range(n_folds)):
            return False
    return True


def _lacks(
    classes: Sequence[str],
    found: Int[np.ndarray, " nodules"],
    train: Int[np.ndarray, " train"],
    test: Int[np.ndarray, " test"],
) -> bool:
    """Return whether a fold would train without one of its classes, or test nothing."""
    return len(test) == 0 or len(np.unique(found[train])) < len(classes)


def assign_cohort(cohort: Cohort, rule: str, n_folds: int, seed: int = 0) -> Int[np.ndarray, " nodules"]:
    """Return the fold of each of a cohort's nodules.

    Raises:
        InputError: As `assign`, or an unknown label rule.
    """
    return assign(labels(cohort, "three", rule), cohort.patient_ids, n_folds, seed)


def split(
    number: int, fold_of: Int[np.ndarray, " nodules"], labels: Int[np.ndarray, " nodules"]
) -> tuple[Int[np.ndarray, " train"], Int[np.ndarray, " test"]]:
    """Return the train and test rows of one fold, ascending; rows with label -1 are in neither."""
    used = labels >= 0
    return np.flatnonzero(used & (fold_of != number)), np.flatnonzero(used & (fold_of == number))


def fold_data(
    file: Path, label_sets: Iterable[str], rule: str, n_folds: int, seed: int = 0
) -> dict[tuple[str, int], FoldData]:
    """Return what the fits of every label set and fold are given. This is the only place that decides it.

    Args:
        file: A prepared cohort.
        label_sets: Names of the label sets, which share one assignment of patients to folds.
        rule: The label rule.
        n_folds: Number of folds.
        seed: Order in which patients are dealt.

    Raises:
        InputError: As `assign` and `store.load`, or a fold that would train without one of its classes or test nothing.
    """
    cohort = store.open_once(file)
    fold_of = assign_cohort(cohort, rule, n_folds, seed)
    made = {}
    for label_set in label_sets:
        classes = labels(cohort, label_set, rule)
        for number in range(n_folds):
            train, test = split(number, fold_of, classes)
            if _lacks(LABEL_SETS[label_set], classes, train, test):
                patients, three = np.asarray(cohort.patient_ids), labels(cohort, "three", rule)
                raise InputError(
                    f"fold {number} of {n_folds} would train without one of {', '.join(LABEL_SETS[label_set])}, or "
                    f"test nothing: {_instead(three, patients, n_folds, seed)}"
                )
            made[label_set, number] = FoldData(
                cohort_file=file,
                cohort_hash=cohort.content_hash,
                open=store.open_once,
                label_set=label_set,
                class_names=LABEL_SETS[label_set],
                train=train,
                test=test,
                train_labels=classes[train],
                test_labels=classes[test],
                test_ids=tuple(cohort.nodule_ids[row] for row in test),
            )
    return made
