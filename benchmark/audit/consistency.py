"""Can printed scores come from one confusion matrix? Exact integer arithmetic, no sampling.

Notation, for a test set whose class k has n_k nodules, N in all: c_k of them are classified correctly, a_k = n_k - c_k
are not, and b_k nodules of other classes are called k. E = sum(a) is the number of errors.

    recall_k = c_k / n_k,    F1_k = 2 c_k / (2 c_k + a_k + b_k) = 2 c_k / (n_k + c_k + b_k),    accuracy = sum(c) / N.

A number printed as p, in units of its last digit, of a whole of W such units (W = 1000 for percentages with one
decimal) stands for an interval of fractions, [(2p - 1) / 2W, (2p + 1) / 2W]. Both ends count: a value exactly half way
prints as either neighbour, by half-up, half-even or the noise of floating point, and no other value depends on the
rule. For given sizes n the printed recalls leave few integers c_k (one, at most, where n_k < W), the accuracy bounds
their sum, and each F1 leaves an interval of integers b_k.

Which (c, b) belong to a matrix? The errors are a transport problem from rows (supplies a_k) to columns (demands b_k)
with a forbidden diagonal. By Hall's theorem it has a solution in non-negative integers if and only if

    sum(b) = E    and    a_k + b_k <= E for every k,

because two or more rows reach every column, and one row k reaches all but its own. (For two classes this says
b_1 = a_2 and b_2 = a_1.) Where an error may also be a class that the test set does not hold (LIDC-B: trained on
three classes, tested on two), a further column takes what is left, and sum(b) <= E. Both conditions bound b_k, so each
b_k has an interval of integers, and a matrix exists if and only if no interval is empty and E (or less) lies
between the sums of their ends. No enumeration of matrices is needed, for any number of classes.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import product
from typing import Literal, NamedTuple

import numpy as np
from jaxtyping import Bool, Int

Rule = Literal["nearest", "half_up", "half_even", "cut", "cut_or_nearest"]
Matrix = tuple[tuple[int, ...], ...]
Sizes = tuple[int, ...]


@dataclass(frozen=True)
class Row:
    """The printed scores of one experiment on one test set, in units of the last printed digit.

    Attributes:
        accuracy: 54.2 % is 542.
        recalls: Of each class.
        f1s: Of each class, in the same order.
        whole: 100 % in these units: 1000 for one decimal.
        outside: Whether an error may be a class that the test set does not hold.
    """

    accuracy: int
    recalls: tuple[int, ...]
    f1s: tuple[int, ...]
    whole: int = 1000
    outside: bool = False

    @property
    def scores(self) -> Int[np.ndarray, " numbers"]:
        """Accuracy, recalls, F1 scores."""
        return np.array([self.accuracy, *self.recalls, *self.f1s], dtype=np.int64)


class _Edges(NamedTuple):
    """What a printed number stands for, in half units; an open end excludes the value on the edge."""

    low: Int[np.ndarray, "..."]
    high: Int[np.ndarray, "..."]
    low_open: Int[np.ndarray, "..."]
    high_open: Int[np.ndarray, "..."]


def _edges(printed: Int[np.ndarray, "..."], rule: Rule) -> _Edges:
    low, high, closed = 2 * printed - 1, 2 * printed + 1, np.zeros_like(printed)
    match rule:
        case "nearest":
            return _Edges(low, high, closed, closed)
        case "half_up":
            return _Edges(low, high, closed, closed + 1)
        case "half_even":
            return _Edges(low, high, printed % 2, printed % 2)
        case "cut":
            return _Edges(low + 1, high + 1, closed, closed)
        case "cut_or_nearest":
            return _Edges(low, high + 1, closed, closed)


def numerators(
    printed: Int[np.ndarray, "..."], denominators: Int[np.ndarray, "..."], whole: int, rule: Rule = "nearest"
) -> tuple[Int[np.ndarray, "..."], Int[np.ndarray, "..."]]:
    """Return the least and the greatest integer whose share of the denominator prints so (least > greatest: none).

    >>> numerators(np.array([634]), np.array([101]), 1000)
    (array([64]), array([64]))
    """
    edges = _edges(printed, rule)
    least = -((-denominators * edges.low - edges.low_open) // (2 * whole))
    most = (denominators * edges.high - edges.high_open) // (2 * whole)
    return np.maximum(least, 0), np.minimum(most, denominators)


def demands(
    correct: Int[np.ndarray, "..."],
    sizes: Int[np.ndarray, "..."],
    f1s: Int[np.ndarray, "..."],
    errors: Int[np.ndarray, "..."],
    whole: int,
    rule: Rule,
) -> tuple[Int[np.ndarray, "..."], Int[np.ndarray, "..."]]:
    """Return the least and greatest b_k that the printed F1 and a_k + b_k <= E leave; arguments broadcast."""
    edges, twice = _edges(f1s, rule), 4 * whole * correct
    least = -((-twice - edges.high_open) // edges.high)
    most = np.where(edges.low > 0, (twice - edges.low_open) // np.maximum(edges.low, 1), np.iinfo(np.int64).max)
    taken = sizes + correct
    return np.maximum(least - taken, 0), np.minimum(most - taken, errors - (sizes - correct))


def fits(
    sizes: Int[np.ndarray, "#many classes"],
    scores: Int[np.ndarray, "#many numbers"],
    whole: int,
    outside: bool,
    rule: Rule = "nearest",
) -> Bool[np.ndarray, " many"]:
    """Return where one confusion matrix prints all the scores.

    Args:
        sizes: Nodules of each class; one line for all scores, or a line each.
        scores: Accuracy, recalls, F1 scores; one line for all sizes, or a line each.
        whole: 100 % in units of the scores.
        outside: Whether an error may be a class that the test set does not hold.
        rule: What a printed number stands for.
    """
    (many,), classes = np.broadcast_shapes(sizes.shape[:1], scores.shape[:1]), sizes.shape[1]
    sizes = np.broadcast_to(sizes, (many, classes))
    scores = np.broadcast_to(scores, (many, 2 * classes + 1))
    low, high = numerators(scores[:, 1 : classes + 1], sizes, whole, rule)
    totals = sizes.sum(axis=1)
    least, most = numerators(scores[:, 0], totals, whole, rule)
    found = np.zeros(many, dtype=bool)
    for extra in product(*(range(width + 1) for width in (high - low).max(axis=0, initial=-1))):
        right = (low + extra).sum(axis=1)
        here = np.flatnonzero(~found & (low + extra <= high).all(axis=1) & (least <= right) & (right <= most))
        errors = (totals - right)[here]
        first, last = demands(low[here] + extra, sizes[here], scores[here, classes + 1 :], errors[:, None], whole, rule)
        found[here] = (first <= last).all(axis=1) & (first.sum(axis=1) <= errors)
        if not outside:
            found[here] &= last.sum(axis=1) >= errors
    return found


def row_fits(row: Row, sizes: Sizes, rule: Rule = "nearest") -> bool:
    """Return whether one confusion matrix of a test set with these class sizes prints the row."""
    return bool(fits(np.array([sizes]), row.scores[None], row.whole, row.outside, rule)[0])


def _solutions(
    row: Row, sizes: Sizes, rule: Rule
) -> Iterator[tuple[Int[np.ndarray, " classes"], int, Int[np.ndarray, " classes"], Int[np.ndarray, " classes"]]]:
    """Yield (c, E, least b, greatest b) for every diagonal that fits."""
    n, recalls, f1s = np.array(sizes), np.array(row.recalls), np.array(row.f1s)
    low, high = numerators(recalls, n, row.whole, rule)
    least, most = numerators(np.array([row.accuracy]), n.sum(keepdims=True), row.whole, rule)
    for diagonal in product(*(range(a, b + 1) for a, b in zip(low, high, strict=True))):
        correct = np.array(diagonal)
        errors = int(n.sum() - correct.sum())
        first, last = demands(correct, n, f1s, np.array([errors]), row.whole, rule)
        enough = row.outside or last.sum() >= errors
        if least <= correct.sum() <= most and (first <= last).all() and first.sum() <= errors and enough:
            yield correct, errors, first, last


def example(row: Row, sizes: Sizes, rule: Rule = "nearest") -> Matrix | None:
    """Return a confusion matrix that prints the row, or None.

    Returns:
        A line for each true class, a column for each decision; with `row.outside` a last column counts decisions for
        a class that the test set does not hold, as few as possible.
    """
    for correct, errors, first, last in _solutions(row, sizes, rule):
        demands, missing = first.copy(), min(errors, int(last.sum())) - int(first.sum())
        for k in range(len(sizes)):
            step = min(missing, int(last[k] - first[k]))
            demands[k], missing = first[k] + step, missing - step
        return _matrix(correct, np.array(sizes) - correct, demands, row.outside)
    return None


def _matrix(
    correct: Int[np.ndarray, " classes"],
    supplies: Int[np.ndarray, " classes"],
    demands: Int[np.ndarray, " classes"],
    outside: bool,
) -> Matrix:
    """Fill a matrix with these margins, an error at a time, always relieving the class nearest to its bound."""
    classes = len(correct)
    supply, demand = list(map(int, supplies)), [*map(int, demands)]
    demand.append(sum(supply) - sum(demand))
    cells = [[int(correct[k]) if j == k else 0 for j in range(classes + 1)] for k in range(classes)]
    supply.append(0)

    def load(k: int) -> int:
        return supply[k] + demand[k]

    while any(supply):
        tight = max(range(classes + 1), key=load)
        if supply[tight]:
            true, called = tight, max((k for k in range(classes + 1) if k != tight and demand[k]), key=load)
        else:
            true, called = max((k for k in range(classes) if k != tight and supply[k]), key=load), tight
        cells[true][called] += 1
        supply[true] -= 1
        demand[called] -= 1
    return tuple(tuple(line if outside else line[:classes]) for line in cells)


def outside_errors(row: Row, sizes: Sizes) -> tuple[int, int] | None:
    """Return the fewest and the most errors outside the test classes over all matrices that print the row."""
    spans = [
        (max(0, e - int(last.sum())), e - int(first.sum())) for _, e, first, last in _solutions(row, sizes, "nearest")
    ]
    return (min(low for low, _ in spans), max(high for _, high in spans)) if spans else None
