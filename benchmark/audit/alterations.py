"""What other digits would do: the audit's power, and the smallest change that mends a row."""

from dataclasses import dataclass, replace
from functools import lru_cache, reduce
from itertools import combinations, product
from typing import Any

import numpy as np
from jaxtyping import Bool, Int

from benchmark.audit.consistency import Row, Rule, Sizes, demands, fits, numerators
from benchmark.audit.search import MOST_CANDIDATES, candidate_count, fitting_sizes


@lru_cache(maxsize=4096)
def chance(row: Row, sizes: Sizes, rule: Rule = "nearest", reach: int = 5) -> float:
    """Return the exact share of arbitrary rows that would fit these sizes.

    An arbitrary row has each of this row's numbers replaced, independently, by any printable number at most `reach`
    units of the last digit away: 11 ** 5 rows for two classes, 11 ** 7 for three.
    """
    n, classes = np.array(sizes), len(sizes)
    windows = row.scores[:, None] + np.arange(-reach, reach + 1)
    printable = (windows >= 0) & (windows <= row.whole)
    low, high = numerators(windows[1 : classes + 1], n[:, None], row.whole, rule)
    least, most = numerators(windows[0], n.sum(keepdims=True), row.whole, rule)
    diagonals = product(
        *([(p, c) for p in range(len(low[k])) for c in range(low[k, p], high[k, p] + 1)] for k in range(classes))
    )
    fitting: dict[tuple[int, ...], Any] = {}  # by recalls and accuracy: which F1 scores fit some diagonal
    for diagonal in diagonals:
        places, correct = zip(*diagonal, strict=True)
        for hit in np.flatnonzero((least <= sum(correct)) & (sum(correct) <= most)).tolist():
            f1s = _f1s_that_fit(np.array(correct), n, windows[classes + 1 :], row, rule)
            fitting[(hit, *places)] = f1s | fitting.get((hit, *places), False)
    return float(sum(int(f1s.sum()) for f1s in fitting.values()) / np.prod(printable.sum(axis=1), dtype=float))


def _f1s_that_fit(
    correct: Int[np.ndarray, " classes"],
    sizes: Int[np.ndarray, " classes"],
    windows: Int[np.ndarray, "classes window"],
    row: Row,
    rule: Rule,
) -> Bool[np.ndarray, "..."]:
    """Return which combinations of F1 scores, an axis for each class, fit this diagonal."""
    errors = sizes.sum(keepdims=True) - correct.sum()
    f1s = windows.clip(0, row.whole)
    first, last = demands(correct[:, None], sizes[:, None], f1s, errors, row.whole, rule)
    allowed = np.asarray(reduce(np.logical_and.outer, (first <= last) & (f1s == windows)))
    allowed &= reduce(np.add.outer, first) <= errors
    return allowed if row.outside else allowed & (reduce(np.add.outer, last) >= errors)


def altered(row: Row) -> Int[np.ndarray, "many numbers"]:
    """Return the row's scores with one last digit replaced by another: nine for each number, less those above 100 %."""
    scores, lines = row.scores, []
    for place, score in enumerate(scores):
        for digit in range(10):
            changed = scores.copy()
            changed[place] = score - score % 10 + digit
            if digit != score % 10 and changed[place] <= row.whole:
                lines.append(changed)
    return np.array(lines)


def digit_power(row: Row, sizes: Sizes) -> float:
    """Return the share of all single altered last digits with which the row would no longer fit these sizes."""
    return float(1 - fits(np.array([sizes]), altered(row), row.whole, row.outside).mean())


def altered_share(row: Row, limit: int) -> float:
    """Return the share of single altered last digits with which the row, by itself, fits some sizes up to the limit."""
    rows = [_row(line, row) for line in altered(row)]
    fitting = [candidate_count(other, limit) > MOST_CANDIDATES or len(fitting_sizes(other, limit)) for other in rows]
    return sum(map(bool, fitting)) / len(rows)


def _row(scores: Int[np.ndarray, " numbers"], like: Row) -> Row:
    accuracy, *rest = map(int, scores)
    half = len(rest) // 2
    return replace(like, accuracy=accuracy, recalls=tuple(rest[:half]), f1s=tuple(rest[half:]))


@dataclass(frozen=True)
class Mend:
    """A change of one or two printed numbers after which a row fits.

    Attributes:
        changes: (place, from, to) of each; place 0 is the accuracy, then the recalls, then the F1 scores; values in
            units of the last digit.
        ways: How many changes of the same count and size would do.
    """

    changes: tuple[tuple[int, int, int], ...]
    ways: int

    @property
    def size(self) -> tuple[int, int]:
        """Numbers changed, and by how many units in all."""
        return len(self.changes), sum(abs(new - old) for _, old, new in self.changes)

    def applied(self, row: Row) -> Row:
        """Return the mended row."""
        scores = row.scores
        for place, _, new in self.changes:
            scores[place] = new
        return _row(scores, row)


def mend(row: Row, sizes: Sizes, reach: int = 20) -> Mend | None:
    """Return the smallest change that makes the row fit, or None.

    One number may change by any amount; only where that does not do, two by at most `reach` units each.
    """
    scores = row.scores
    everything = np.arange(row.whole + 1)
    for count in (1, 2):
        tried = []
        for places in combinations(range(len(scores)), count):
            values = [everything if count == 1 else _near(int(scores[p]), reach, row.whole) for p in places]
            lines = np.repeat(scores[None], np.prod([len(v) for v in values]), axis=0)
            lines[:, places] = np.stack(np.meshgrid(*values, indexing="ij"), -1).reshape(-1, count)
            tried.append(lines[(lines[:, places] != scores[list(places)]).all(axis=1)])
        lines = np.concatenate(tried)
        lines = lines[fits(np.array([sizes]), lines, row.whole, row.outside)]
        if len(lines):
            distance = abs(lines - scores).sum(axis=1)
            nearest = lines[distance == distance.min()]
            changes = tuple((int(p), int(scores[p]), int(nearest[0, p])) for p in np.flatnonzero(nearest[0] != scores))
            return Mend(changes, len(nearest))
    return None


def _near(score: int, reach: int, whole: int) -> Int[np.ndarray, " values"]:
    return np.arange(max(0, score - reach), min(whole, score + reach) + 1)
