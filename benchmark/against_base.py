"""Rows against the first of their table, with intervals; what the sentences and the comparisons are made of.

The interval is that of the corrected resampled t-test (Nadeau and Bengio 2003): mean +- t * corrected standard error,
at 95 % for each row by itself. Whether a row differs is Holm's to say, over all rows.
"""

import math
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float

from benchmark.scores import Section
from benchmark.statistics import corrected_interval, corrected_t_test, holm, smallest_detectable_difference
from benchmark.tables import Line, Table, cells, fold_ratio

ALPHA = 0.05
COMPARISON = ("Method", "Difference", "Smallest significant", "p (Holm)")


@dataclass(frozen=True)
class Compared:
    """A row's accuracy less that of the table's first row, in points.

    Attributes:
        line: The row.
        mean: Over the folds that both have.
        interval: 95 %, of this row alone; like the two below NaN where all folds have the same difference, which says
            nothing of other folds.
        needed: The smallest observed difference that would be significant, in Holm's first step over all rows.
        p: Adjusted by Holm over all rows.
        folds: How many folds both have.
        complete: Whether these are all.
    """

    line: Line
    mean: float
    interval: tuple[float, float]
    needed: float
    p: float
    folds: int
    complete: bool

    @property
    def differs(self) -> bool:
        """Whether the difference is one, by Holm, over every fold."""
        return self.complete and self.p < ALPHA


def compare(table: Table, section: Section) -> tuple[list[Compared], list[Line]]:
    """Compare every trained row of a table with its first, fold by fold; rows that lack folds are left out.

    Holm's family is that of the table's own comparisons: every row with two folds or more in common with the first.

    Returns:
        Those that can be compared, and the others.
    """
    trained = [line for line in table.lines if line.is_trained]
    deltas: list[tuple[Line, np.ndarray]] = []
    left: list[Line] = []
    for line in trained[1:]:
        delta = in_common(line, trained[0], section)
        if len(delta) > 1:
            deltas.append((line, delta))
        else:
            left.append(line)
    ratio = fold_ratio(table, section)
    tested = [_tested(delta, ratio, ALPHA / len(deltas)) for _, delta in deltas]
    adjusted = holm([p for _, _, p in tested])
    made = [
        Compared(
            line=line,
            mean=float(delta.mean()),
            interval=interval,
            needed=needed,
            p=p,
            folds=len(delta),
            complete=len(delta) == table.folds,
        )
        for (line, delta), (interval, needed, _), p in zip(deltas, tested, adjusted, strict=True)
    ]
    return made, left


def _tested(delta: Float[np.ndarray, " folds"], ratio: float, first: float) -> tuple[tuple[float, float], float, float]:
    """Return the interval of a mean difference, the least that is significant at `first`, and the p-value."""
    needed = smallest_detectable_difference(delta, ratio, first)
    return corrected_interval(delta, ratio, ALPHA), needed, corrected_t_test(delta, ratio)


def in_common(line: Line, base: Line, section: Section) -> Float[np.ndarray, " folds"]:
    """Return by how many points a row's accuracy is above another's, for each fold that both have, ascending."""
    ours, theirs = _by_fold(line, section), _by_fold(base, section)
    return 100 * np.array([ours[fold] - theirs[fold] for fold in sorted(ours.keys() & theirs.keys())])


def differences(table: Table, section: Section) -> list[list[str]]:
    """Return `compare` in print, a line a row under `COMPARISON`.

    Smallest significant difference and p-value speak of one test: the first is what these folds need in Holm's first
    step, which tests at 0.05 / rows, so that the row of the smallest p-value is below 0.05 just where its difference
    passes its smallest significant one.
    """
    return [[one.line.title, points(one.mean), size(one.needed), p_value(one.p)] for one in compare(table, section)[0]]


def points(value: float) -> str:
    """Return a difference as printed, with its sign.

    >>> points(-0.04), points(1.25), points(math.nan)
    ('+0.0', '+1.2', '-')
    """
    return "-" if math.isnan(value) else f"{round(value, 1) + 0.0:+.1f}"


def size(value: float) -> str:
    """Return a difference's size as printed.

    >>> size(1.25), size(math.nan)
    ('1.2', '-')
    """
    return points(value).lstrip("+")


def p_value(p: float) -> str:
    """Return a p-value as printed: none is zero.

    >>> p_value(0.0361), p_value(0.0004), p_value(math.nan)
    ('0.036', '<0.001', '-')
    """
    return "-" if math.isnan(p) else "<0.001" if p < 0.0005 else f"{p:.3f}"


def _by_fold(line: Line, section: Section) -> dict[int, float]:
    score = cells(line, section).get("accuracy")
    return dict(zip(score.numbers, score.folds.tolist(), strict=True)) if score else {}
