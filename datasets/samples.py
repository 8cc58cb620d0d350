"""Samples: which ones are refused before anything is made of them. `cohort.choose` says whose nodules are in one."""

from bisect import bisect_left
from collections.abc import Callable, Sequence

import numpy as np
from jaxtyping import Float, Int

from benchmark.contracts import Collection, InputError, NoduleInfo
from datasets import folds
from datasets.cohort import choose
from datasets.protocols import DATASETS, LABEL_SETS, classify, possible


def refusal(count: int | None, rule: str, keys: Sequence[str] | None, n_folds: int) -> Callable[[Collection], None]:
    """Return what refuses a collection that cannot be cut into the folds, or of which a sample makes no sense.

    It raises InputError where the sample would be the whole collection, or where it lacks the patients for folds that
    each hold every class though the whole has them; it then names the smallest sample that has them. Where the whole
    lacks them too, it says what `folds.assign` says, before any voxel is made.

    Args:
        count: Nodules asked for.
        rule: The label rule.
        keys: Datasets asked for, such as `["A", "C"]`; None means all.
        n_folds: Number of folds.
    """
    label_sets = {DATASETS[key].label_set for key in keys or DATASETS}
    words = {word for name in label_sets for word in LABEL_SETS[name]}

    def refuse(collection: Collection) -> None:
        nodules = collection.nodules()
        if not nodules:
            return  # which is said where they are made
        if count is not None:
            refuse_sample(collection, nodules, count)
        for some in [nodules] if count is None else [nodules, choose(collection, count)]:
            used = _used(some, rule, words)
            if used and not _allows(some, rule, used, n_folds):  # of no class that is asked for, folds tell nothing
                patients = [one.patient_id for one in some]
                folds.assign(_classes(some, rule), patients, n_folds, label_sets=label_sets)  # which says why not

    def refuse_sample(collection: Collection, nodules: Sequence[NoduleInfo], count: int) -> None:
        used = _used(nodules, rule, words)
        whole = f"{len(nodules):,} nodules of {collection.title} ({collection.source})"

        def allows(number: int) -> bool:
            return _allows(choose(collection, number), rule, used, n_folds)

        def is_whole(number: int) -> bool:
            return len(choose(collection, number)) == len(nodules)

        if is_whole(count):
            raise InputError(f"--nodules {count} would take all {whole}: give a smaller number, or leave --nodules out")
        low = high = count
        while not allows(high):
            if high == len(nodules):
                return  # the whole has too few, which is said where its folds are made
            low, high = high, min(2 * high, len(nodules))
        if high == count:
            return
        larger = range(low + 1, high + 1)
        least = larger[bisect_left(larger, True, key=allows)]
        instead = "leave --nodules out" if is_whole(least) else f"give {least} or more"
        raise InputError(
            f"--nodules {count} of the {whole} are too few for {n_folds} folds that each hold every class: {instead}"
        )

    return refuse


def refuse_absent(collection: Collection, rule: str, keys: Sequence[str] | None) -> None:
    """Refuse a collection that lacks a class of what was asked for, as `protocols_of` refuses its cohort.

    Raises:
        InputError: As there.
    """
    if nodules := collection.nodules():
        possible(collection.title, *_known(nodules), keys, rule)


def _used(nodules: Sequence[NoduleInfo], rule: str, words: set[str]) -> set[int]:
    """Return the classes of the datasets asked for that there are."""
    return set(_classes(nodules, rule).tolist()) & {LABEL_SETS["three"].index(word) for word in words}


def _allows(nodules: Sequence[NoduleInfo], rule: str, used: set[int], n_folds: int) -> bool:
    patients = [nodule.patient_id for nodule in nodules]
    return folds.can_be_cut(_classes(nodules, rule), patients, n_folds, used)


def _classes(nodules: Sequence[NoduleInfo], rule: str) -> Int[np.ndarray, " nodules"]:
    """Return indices into benign, unsure, malignant."""
    given, means = _known(nodules)
    return np.where(given >= 0, given, classify(means, "three", rule))


def _known(nodules: Sequence[NoduleInfo]) -> tuple[Int[np.ndarray, " nodules"], Float[np.ndarray, " nodules"]]:
    """Return the classes that were given, or -1, and the mean malignancies, or NaN."""
    given = np.array([LABEL_SETS["three"].index(one.label) if one.label else -1 for one in nodules], dtype=np.int64)
    means = np.array([float(np.mean(nodule.malignancy)) if nodule.malignancy else np.nan for nodule in nodules])
    return given, means
