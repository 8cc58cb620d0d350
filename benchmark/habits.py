"""What two habits of the field would add to scores that were made without them.

Choosing the epoch that does best on the test fold is one: the fold then is part of the training, and its score no
longer says what the method does with nodules that nobody has seen. Here nothing was chosen so; the curves of
`--test-curve`, noted in the records, tell by how much such a choice would have raised each row's accuracy. The best of
many epochs is never below the last, however useless the choice: the highest of k equally good values with noise stands
above their mean. So the same curves also say what an honest choice would have added: the epoch that does best on the
*other* folds. What the first has above the second is what the test fold gives away.

Folds that ignore patients are the other: nodules of one patient are alike, and stand in training and test. The run of
`--habits` trains the same rows once more on such folds, in a folder of their own, and compares.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Float, Int, Shaped

from benchmark.records import FitRecord
from benchmark.scores import Score

FOLDER = "ignoring-patients"
"""Below a run's folder: the same rows on folds that ignore patients."""

BANNER = (
    "Folds ignore patients: nodules of one patient stand in training and test; these numbers show what that habit adds "
    "and are no result."
)


@dataclass(frozen=True)
class EpochChoice:
    """The accuracy of a row's last epoch, and what choosing another would have added to it, as fractions.

    It is that of the most probable class among all of the label set, whatever a row's decoder is.

    Attributes:
        last: Of the last epoch, which is the one that counts.
        on_test: What the best epoch on the test fold itself has above it: never below zero.
        elsewhere: What the epoch that does best on the other folds has above it; no fold where there is but one.
    """

    last: Score
    on_test: Score
    elsewhere: Score | None


def epoch_choices(records: Iterable[FitRecord | None]) -> dict[tuple[str, str], EpochChoice]:
    """Return what choosing an epoch would have added, by label set and row; each fold's seeds are averaged.

    Args:
        records: Of any rows; those without a curve are left out.
    """
    curves: dict[tuple[str, str], dict[int, list[list[float]]]] = {}
    for record in records:
        if record is not None and record.status == "done" and record.metadata.test_curve:
            of_row = curves.setdefault((record.spec.label_set, record.spec.method), {})
            of_row.setdefault(record.spec.fold, []).append(record.metadata.test_curve)
    return {key: _choice({fold: np.array(of) for fold, of in by_fold.items()}) for key, by_fold in curves.items()}


def _choice(curves: Mapping[int, Float[np.ndarray, "_ epochs"]]) -> EpochChoice:
    """Return it for the curves of a row: of each fold, a curve a seed."""
    last = {fold: of_fold[:, -1] for fold, of_fold in curves.items()}
    best = {fold: of_fold.max(axis=1) - last[fold] for fold, of_fold in curves.items()}
    means = {fold: of_fold.mean(axis=0) for fold, of_fold in curves.items()}
    elsewhere = {}
    for fold, of_fold in curves.items():
        if others := [means[other] for other in means if other != fold]:
            elsewhere[fold] = of_fold[:, np.mean(others, axis=0).argmax()] - last[fold]
    return EpochChoice(_score(last), _score(best), _score(elsewhere) if elsewhere else None)


def _score(by_fold: Mapping[int, Float[np.ndarray, " seeds"]]) -> Score:
    return Score.of({fold: values.tolist() for fold, values in by_fold.items()})


def shares_patient(
    patient_ids: Sequence[str] | Shaped[np.ndarray, " nodules"], fold: Int[np.ndarray, " nodules"]
) -> Bool[np.ndarray, " nodules"]:
    """Return which nodules are tested by fits that were trained on another nodule of the same patient.

    >>> shares_patient(["p1", "p1", "p1", "p2", "p2"], np.array([0, 0, 1, 2, 2])).tolist()
    [True, True, True, False, False]
    """
    patients, patient_of = np.unique(np.asarray(patient_ids), return_inverse=True)
    folds = np.zeros((len(patients), int(fold.max(initial=0)) + 1), dtype=bool)
    folds[patient_of, fold] = True
    shared: Bool[np.ndarray, " nodules"] = (folds.sum(axis=1) > 1)[patient_of]
    return shared
