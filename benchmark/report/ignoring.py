"""Every row on folds that ignore patients beside itself on folds that do not, nodule by nodule."""

import math
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from jaxtyping import Float

from benchmark.bootstrap import PairedBootstrap, paired_bootstrap
from benchmark.contracts import InputError, Protocol
from benchmark.estimates import decisions
from benchmark.habits import shares_patient
from benchmark.predictions import Predictions, pooled
from benchmark.report.gather import Gathered
from benchmark.report.judged import judged
from benchmark.scores import Section
from benchmark.tables import Line


@dataclass(frozen=True, eq=False)
class Added:
    """What folds that ignore patients add to a row.

    Attributes:
        line: The row.
        disjoint: Its pooled accuracy on patient-disjoint folds.
        ignoring: The same on folds that ignore patients.
        paired: The second less the first, nodule by nodule.
    """

    line: Line
    disjoint: float
    ignoring: float
    paired: PairedBootstrap


@dataclass(frozen=True, eq=False)
class Ignoring:
    """What folds that ignore patients add on a protocol.

    Attributes:
        rows: Row by row.
        together: All methods as one, whose trainings' luck then evens out; None where there is none.
        patients_shared: Share of patients with more than one nodule of the label set.
        trained_on: Share of nodules whose patient was trained on where folds ignore patients.
        left_out: Rows that cannot be compared, a sentence each.
    """

    rows: tuple[Added, ...] = ()
    together: PairedBootstrap | None = None
    patients_shared: float = math.nan
    trained_on: float = math.nan
    left_out: tuple[str, ...] = ()


@lru_cache(maxsize=4)
def ignoring(run: Gathered, protocol: Protocol) -> Ignoring:
    """Compare every row that has all folds in both runs; nothing where there is no second run."""
    other = run.ignoring
    if other is None or run.nodules is None or other.nodules is None:
        return Ignoring()
    section, lines = Section(protocol, protocol.decisions[0]), {line.row.key: line for line in other.lines}
    rows, sides, left_out = [], [], []
    for row in judged(run, protocol.label_set)[0]:
        again = _predictions(other, lines.get(row.line.row.key), protocol)
        own = row.predictions.tested(protocol)
        if again is None or not _same(run, own, other, again):
            left_out.append(f"{row.line.title}: not compared, since one of the two runs lacks some of its folds.")
            continue
        patients = [run.nodules.patient_ids[number] for number in own.nodules]
        right = _right(again, section), _right(own, section)
        found = paired_bootstrap(*right, patients)
        rows.append(Added(row.line, float(right[1].mean()), float(right[0].mean()), found))
        if row.line.is_trained:
            sides.append((right, patients))
    together = None
    if sides:
        a, b = (np.stack([right[side] for right, _ in sides]) for side in (0, 1))
        together = paired_bootstrap(a, b, sides[0][1])
    if not rows:
        return Ignoring(left_out=tuple(left_out))
    used = np.flatnonzero(other.nodules.labels[protocol.label_set] >= 0)
    ids = np.array(run.nodules.patient_ids)[used]
    counts = np.unique(ids, return_counts=True)[1]
    shared = float(shares_patient(ids, other.nodules.fold[used]).mean())
    return Ignoring(tuple(rows), together, float((counts > 1).mean()), shared, tuple(left_out))


def _predictions(other: Gathered, line: Line | None, protocol: Protocol) -> Predictions | None:
    if line is None or other.nodules is None:
        return None
    try:
        found = pooled(line.records.get(protocol.label_set, ()), other.nodules)
    except InputError:  # records and cohort.csv of two runs
        return None
    return None if found is None else found.tested(protocol)


def _same(run: Gathered, own: Predictions, other: Gathered, again: Predictions) -> bool:
    """Return whether both speak of the same nodules with the same classes."""
    assert run.nodules is not None
    assert other.nodules is not None
    names = [
        [table.nodule_ids[row] for row in of.nodules] for table, of in ((run.nodules, own), (other.nodules, again))
    ]
    return names[0] == names[1] and np.array_equal(own.labels, again.labels)


def _right(predictions: Predictions, section: Section) -> Float[np.ndarray, " nodules"]:
    """Return which part of the seeds decides each nodule rightly."""
    right: Float[np.ndarray, " nodules"] = (decisions(predictions, section) == predictions.labels).mean(axis=0)
    return right
