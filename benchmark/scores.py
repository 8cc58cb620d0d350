"""Scores of rows over folds and seeds: the one place, for the tables and for the check.

A section is a protocol under one decision rule. A score of a row on a section is one number a fold, its seeds
averaged first: seeds of a fold share its test set, so they are repeats and not further evidence.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from jaxtyping import Float

from benchmark.contracts import Decision, Protocol
from benchmark.metrics import scores
from benchmark.records import FitRecord
from benchmark.statistics import sample_std


class ScoreKey(NamedTuple):
    """Names one score: of a row, on a section, by a metric."""

    row: str
    section: str
    metric: str


@dataclass(frozen=True)
class Section:
    """One block of columns: a protocol under one decision rule."""

    protocol: Protocol
    decision: Decision

    @property
    def key(self) -> str:
        """Name it, e.g. `"B-restricted"`."""
        return f"{self.protocol.key}-{self.decision}"

    @property
    def title(self) -> str:
        """Name it in print; the decision only where there is a choice."""
        if len(self.protocol.decisions) == 1:
            return self.protocol.title
        among = " or ".join(self.protocol.class_names[k] for k in self.protocol.test_classes)
        how = f"decision among {among}" if self.decision == "restricted" else "decision among all classes"
        return f"{self.protocol.title} ({how})"

    @property
    def metrics(self) -> list[str]:
        """Keys of the printed scores, in the paper's order."""
        names = [self.protocol.class_names[k] for k in self.protocol.printed_classes]
        return ["accuracy", *(f"{score}_{name}" for name in names for score in ("recall", "f1"))]


def sections_of(protocols: Sequence[Protocol]) -> list[Section]:
    """Return every section of the protocols: their first decisions, as in the paper, then the others."""
    first = [Section(protocol, protocol.decisions[0]) for protocol in protocols]
    return first + [Section(protocol, decision) for protocol in protocols for decision in protocol.decisions[1:]]


@dataclass(frozen=True, eq=False)
class Score:
    """One score over folds, as fractions.

    Attributes:
        folds: The score of each finished fold, its seeds averaged.
        numbers: Which folds these are, ascending.
        seeds: How many trainings a fold has; the fewest where they differ.
        seed_std: Standard deviation between the seeds of a fold (ddof=1), pooled over folds by their degrees of
            freedom; NaN for one seed.
    """

    folds: Float[np.ndarray, " folds"]
    numbers: tuple[int, ...]
    seeds: int = 1
    seed_std: float = float("nan")

    @classmethod
    def of(cls, by_fold: Mapping[int, Sequence[float]]) -> "Score":
        """Return the score of fits: for each fold, what each of its seeds reached.

        >>> Score.of({0: [0.5, 0.7], 1: [0.8, 0.8]}).folds
        array([0.6, 0.8])
        """
        numbers = tuple(sorted(by_fold))
        values = [np.array(by_fold[number]) for number in numbers]
        freedom = sum(len(of_fold) - 1 for of_fold in values)
        squares = sum(float(((of_fold - of_fold.mean()) ** 2).sum()) for of_fold in values)
        return cls(
            folds=np.array([of_fold.mean() for of_fold in values]),
            numbers=numbers,
            seeds=min(map(len, values)),
            seed_std=float(np.sqrt(squares / freedom)) if freedom else float("nan"),
        )

    @property
    def mean(self) -> float:
        """Mean over folds."""
        return float(self.folds.mean()) if len(self.folds) else float("nan")

    @property
    def std(self) -> float:
        """Sample standard deviation over folds (ddof=1)."""
        return sample_std(self.folds)


def by_fold(records: Sequence[FitRecord], section: Section) -> dict[str, dict[int, list[float]]]:
    """Return what each finished fit reaches: by metric and fold, a number a seed, seeds ascending."""
    found: dict[str, dict[int, list[float]]] = {}
    for record in sorted(records, key=lambda record: (record.spec.fold, record.spec.seed)):
        if record.status == "done":
            reached = scores(record.labels, record.proba, record.decoder, section.protocol, section.decision)
            for metric, value in reached.items():
                found.setdefault(metric, {}).setdefault(record.spec.fold, []).append(value)
    return found


def scores_of(records: Sequence[FitRecord], section: Section) -> dict[str, Score]:
    """Return every score of a row's records on a section, by metric; empty where no fit is finished."""
    return {metric: Score.of(reached) for metric, reached in by_fold(records, section).items()}


def share_tested(records: Iterable[FitRecord], section: Section) -> float:
    """Return which part of a label set's nodules a section tests: those of its protocol's test classes.

    All nodules of a label set are dealt to k folds, so a fold tests share / (k - 1) of what it trains on, on average:
    the n_test / n_train of Nadeau and Bengio's correction.

    Args:
        records: Of the label set, of any rows.
        section: What is tested.
    """
    of_fold = {record.spec.fold: record.labels for record in records if record.status == "done"}
    labels = np.concatenate(list(of_fold.values())) if of_fold else np.empty(0)
    return float(np.isin(labels, section.protocol.test_classes).mean()) if len(labels) else 1.0


def metric_title(metric: str) -> str:
    """Return a score's heading, e.g. `"Benign F1"` for `"f1_benign"`."""
    score, _, name = metric.partition("_")
    return f"{name.capitalize()} {'F1' if score == 'f1' else score}" if name else score.capitalize()
