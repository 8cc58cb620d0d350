"""What a habit of the field would add to a score that was made without it.

Choosing the epoch that does best on the test fold is one: the fold then is part of the training, and its score no
longer says what the method does with nodules that nobody has seen. Here nothing was chosen so; the curves of
`--test-curve`, noted in the records, tell by how much such a choice would have raised each row's accuracy.
"""

from collections.abc import Iterable

from benchmark.records import FitRecord
from benchmark.scores import Score


def best_epoch_gains(records: Iterable[FitRecord | None]) -> dict[tuple[str, str], Score]:
    """Return what the best epoch on the test fold has above the last one, in accuracy, as a fraction.

    The accuracy is that of the most probable class among all classes of the label set, whatever a row's decoder is.

    Args:
        records: Of any rows; those without a curve are left out.

    Returns:
        By label set and row, the gain of each fold, its seeds averaged: never below zero. `mean` and `std` are over
        the folds.
    """
    gains: dict[tuple[str, str], dict[int, list[float]]] = {}
    for record in records:
        if record is not None and record.status == "done" and record.metadata.test_curve:
            curve, spec = record.metadata.test_curve, record.spec
            of_row = gains.setdefault((spec.label_set, spec.method), {})
            of_row.setdefault(spec.fold, []).append(max(curve) - curve[-1])
    return {key: Score.of(by_fold) for key, by_fold in gains.items()}
