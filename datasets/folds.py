"""Folds: patient-disjoint and class-stratified, one assignment for all label sets."""

from collections.abc import Sequence

import numpy as np
from jaxtyping import Int

from benchmark.contracts import Fold, InputError


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
                f"{n_folds} folds need {n_folds} patients with a nodule of class {label}, and the cohort has {count}: "
                "use fewer folds or more nodules"
            )
    from sklearn.model_selection import StratifiedGroupKFold  # here: it takes a second that bad input need not wait for

    splitter = StratifiedGroupKFold(n_folds, shuffle=True, random_state=seed)
    fold_of = np.full(len(labels_three), -1)
    for number, (_, test) in enumerate(splitter.split(labels_three[:, None], labels_three, patients)):
        fold_of[test] = number
    return fold_of


def fold(number: int, fold_of: Int[np.ndarray, " nodules"], labels: Int[np.ndarray, " nodules"]) -> Fold:
    """Return the train and test rows of one fold; rows with label -1 are in neither."""
    used = labels >= 0
    return Fold(number, np.flatnonzero(used & (fold_of != number)), np.flatnonzero(used & (fold_of == number)))
