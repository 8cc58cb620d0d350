"""Could a printed row be a mean over folds, where no single confusion matrix fits it?

The hypothesis is as narrow as it must be to be decided: every fold's test set has the same class sizes n. Then the mean
recall of class k is S_k / (folds * n_k) with S_k the correct decisions of all folds, and the mean accuracy is
sum(S) / (folds * N): recalls and accuracy are again tied by integers, and a row that breaks this tie is no such mean.
Mean F1 scores are freer, since F1 is not linear, and for them only examples prove anything: folds are made from one
matrix of the pooled sizes, dealt out evenly, and then made as uneven as the printed F1 scores ask for. Where no example
turns up, the question stays open. Folds of different sizes tie nothing: there the audit has no power at all.

What the printed deviations can say is a matter of chance instead: between folds of N different nodules the accuracy
varies by sampling alone.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction
from itertools import product
from typing import Literal

import numpy as np
from scipy.stats import chi2

from benchmark.consistency import Matrix, Row, Sizes, example, numerators

_TRIES = 4_000  # patterns of unevenness


@dataclass(frozen=True)
class FoldMean:
    """Whether a row can be the mean over folds of given class sizes.

    Attributes:
        answer: `"impossible"` and `"possible"` are proved, the latter by the example.
        matrices: One for each fold of the example.
    """

    answer: Literal["possible", "impossible", "undecided"]
    matrices: tuple[Matrix, ...] = ()

    @property
    def accuracies(self) -> tuple[float, ...]:
        """Return each fold's accuracy in the example, in percent."""
        return tuple(
            100 * sum(line[k] for k, line in enumerate(matrix)) / sum(map(sum, matrix)) for matrix in self.matrices
        )


def mean_of_folds(row: Row, sizes: Sizes, folds: int) -> FoldMean:
    """Decide whether the row can be a mean over folds that each have these class sizes."""
    n = folds * np.array(sizes)
    low, high = numerators(np.array(row.recalls), n, row.whole)
    least, most = numerators(np.array(row.accuracy), n.sum(), row.whole)
    if (low > high).any() or least > most or low.sum() > most or high.sum() < least:
        return FoldMean("impossible")
    for pooled in _pooled(row, tuple(map(int, n)), low.tolist(), high.tolist()):
        reach = int(_TRIES ** (1 / len(sizes)) - 1) // 2
        for shifts in sorted(product(range(-reach, reach + 1), repeat=len(sizes)), key=lambda s: sum(map(abs, s))):
            matrices = _uneven(_dealt(pooled, folds), shifts)
            if matrices and _prints(row, matrices):
                return FoldMean("possible", matrices)
    return FoldMean("undecided")


def _pooled(row: Row, sizes: Sizes, low: list[int], high: list[int]) -> list[Matrix]:
    """Return matrices of all folds together: one that prints the row, else those that print its recalls."""
    matrix = example(row, sizes)
    if matrix:
        return [matrix]
    if len(sizes) > 2 or row.outside:
        return []
    corners = product(*(range(a, b + 1) for a, b in zip(low, high, strict=True)))
    return [((a, sizes[0] - a), (sizes[1] - b, b)) for a, b in corners]


def _dealt(pooled: Matrix, folds: int) -> list[list[list[int]]]:
    """Deal each true class's decisions out to the folds like cards, so that every fold gets the same class sizes."""
    hands = []
    for fold in range(folds):
        cells = []
        for line in pooled:
            ends = np.cumsum(line)
            cells.append(np.diff([(end - fold + folds - 1) // folds for end in (0, *ends)]).tolist())
        hands.append(cells)
    return hands


def _uneven(hands: list[list[list[int]]], shifts: Sequence[int]) -> tuple[Matrix, ...] | None:
    """Right `shifts[k]` wrong decisions of class k in each of the first folds, and wrong as many in as many others."""
    half = len(hands) // 2
    for fold, hand in enumerate(hands[: 2 * half]):
        for k, line in enumerate(hand):
            wrong = max((j for j in range(len(line)) if j != k), key=line.__getitem__)
            step = shifts[k] if fold < half else -shifts[k]
            line[k] += step
            line[wrong] -= step
            if min(line) < 0:
                return None
    return tuple(tuple(map(tuple, hand)) for hand in hands)


def _prints(row: Row, matrices: Sequence[Matrix]) -> bool:
    """Return whether the exact means of the folds' scores print as the row."""
    means = [Fraction(0)] * len(row.scores)
    for matrix in matrices:
        classes = range(len(matrix))
        right = [matrix[k][k] for k in classes]
        sizes = [sum(line) for line in matrix]
        called = [sum(line[k] for line in matrix) for k in classes]
        scores = [Fraction(sum(right), sum(sizes))]
        scores += [Fraction(right[k], sizes[k]) for k in classes]
        scores += [Fraction(2 * right[k], sizes[k] + called[k]) for k in classes]
        means = [mean + score / len(matrices) for mean, score in zip(means, scores, strict=True)]
    return all(abs(2 * row.whole * m - 2 * int(p)) <= 1 for m, p in zip(means, row.scores, strict=True))


def sampling_deviation(row: Row, sizes: Sizes) -> float:
    """Return the standard deviation, in points, of the accuracy over test sets of these sizes, by sampling alone.

    A nodule of class k is classified correctly with probability recall_k, independently of the others.
    """
    recalls = np.array(row.recalls) / row.whole
    return float(100 * np.sqrt((np.array(sizes) * recalls * (1 - recalls)).sum()) / sum(sizes))


def as_even(deviation: float, expected: float, folds: int) -> float:
    """Return the chance that a sample standard deviation over folds comes out at most this small.

    >>> round(as_even(0.5, 2.0, 5), 4)
    0.0073
    """
    return float(chi2.cdf((folds - 1) * (deviation / expected) ** 2, folds - 1))
