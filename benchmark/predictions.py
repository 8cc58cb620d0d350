"""The predictions of a row on a label set, of all folds together: every nodule judged by fits that did not see it."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
from jaxtyping import Bool, Float, Int

from benchmark.contracts import Decoder, InputError, Protocol
from benchmark.nodules import NoduleTable
from benchmark.records import FitRecord

_ANEW = "make the run anew in another folder"


@dataclass(frozen=True, eq=False)
class Predictions:
    """What the fits of one row say of the nodules that they were tested on.

    Attributes:
        decoder: How a class is read off the probabilities.
        nodules: Which nodules, as rows of the run's `NoduleTable`, ascending.
        labels: Their classes.
        fold: In which fold each was tested; each fold and seed is a model of its own.
        proba: Their probabilities by each seed.
        seeds: Which seeds.
        missing: What is left out and why, a sentence each; empty where all folds of all seeds are there.
    """

    decoder: Decoder
    nodules: Int[np.ndarray, " nodules"]
    labels: Int[np.ndarray, " nodules"]
    fold: Int[np.ndarray, " nodules"]
    proba: Float[np.ndarray, "seeds nodules classes"]
    seeds: tuple[int, ...]
    missing: tuple[str, ...] = ()

    def __len__(self) -> int:
        return len(self.nodules)

    def where(self, chosen: Bool[np.ndarray, " nodules"]) -> "Predictions":
        """Return those of some of the nodules."""
        by_nodule = {name: getattr(self, name)[chosen] for name in ("nodules", "labels", "fold")}
        return replace(self, **by_nodule, proba=self.proba[:, chosen])

    def tested(self, protocol: Protocol) -> "Predictions":
        """Return those of the nodules whose class a protocol tests."""
        return self.where(np.isin(self.labels, protocol.test_classes))


def pooled(records: Sequence[FitRecord], table: NoduleTable) -> Predictions | None:
    """Put the folds of a row's records together; None where no fit is done.

    Seeds are kept apart. A fold that the most complete seed lacks is left out, and so is every seed that then lacks a
    fold: all seeds judge the same nodules, and `Predictions.missing` says what does not count.

    Args:
        records: Of one row on one label set.
        table: The nodules of their run.

    Raises:
        InputError: A record tests other nodules or classes than the table tells, or the records contradict each other.
    """
    done = {(record.spec.seed, record.spec.fold): record for record in records if record.status == "done"}
    if not done:
        return None
    if len({(record.decoder, record.proba.shape[1]) for record in done.values()}) > 1:
        raise InputError(f"the records of the row {records[0].spec.method} differ in classes or decoder: {_ANEW}")
    rows_of = {fit: _rows(record, table) for fit, record in done.items()}
    reasons = {(record.spec.seed, record.spec.fold): record.reason for record in records if record.status != "done"}
    classes = table.labels[records[0].spec.label_set]
    expected = sorted(set(table.fold[classes >= 0].tolist()))
    seeds = sorted({seed for seed, _ in (*done, *reasons)})
    best = max(seeds, key=lambda seed: sum((seed, fold) in done for fold in expected))
    folds = [fold for fold in expected if (best, fold) in done]
    lacking = {seed: [fold for fold in folds if (seed, fold) not in done] for seed in seeds}
    kept = [seed for seed in seeds if not lacking[seed]]

    missing = [f"Fold {fold} is left out: {_why(fold, best, reasons)}." for fold in expected if fold not in folds]
    for seed, gone in lacking.items():
        if gone:
            missing.append(f"Seed {seed} is left out: of fold {gone[0]} there is {_why(gone[0], seed, reasons)}.")
    first = done[best, folds[0]]
    proba = np.full((len(kept), len(table), first.proba.shape[1]), np.nan)
    for number, seed in enumerate(kept):
        for fold in folds:
            proba[number, rows_of[seed, fold]] = done[seed, fold].proba
    nodules = np.flatnonzero((classes >= 0) & np.isin(table.fold, folds))
    return Predictions(
        decoder=first.decoder,
        nodules=nodules,
        labels=classes[nodules],
        fold=table.fold[nodules],
        proba=proba[:, nodules],
        seeds=tuple(kept),
        missing=tuple(missing),
    )


def _why(fold: int, seed: int, reasons: Mapping[tuple[int, int], str]) -> str:
    """Say why a fold of a seed is not there."""
    reason = reasons.get((seed, fold))
    return "no record" if reason is None else f"no finished fit ({reason.rstrip('.')})"


def _rows(record: FitRecord, table: NoduleTable) -> list[int]:
    """Return the nodules of a record as rows of the table.

    Raises:
        InputError: They are not those that the table tells of its fold, with their classes.
    """
    spec = record.spec
    labels = table.labels.get(spec.label_set, np.full(len(table), -1))
    told = np.flatnonzero((labels >= 0) & (table.fold == spec.fold))
    rows = [table.row_of.get(nodule, -1) for nodule in record.nodule_ids]
    if sorted(rows) != told.tolist() or not np.array_equal(labels[rows], record.labels):
        raise InputError(
            f"the record fits/{spec.path().as_posix()} does not test the nodules and classes that cohort.csv tells of "
            f"its fold, so one of the two is of another run: {_ANEW}"
        )
    return rows
