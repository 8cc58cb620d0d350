"""Could a printed row be a mean over folds, where no single confusion matrix fits it?

The hypothesis is as narrow as it must be to be decided: every fold's test set has the same class sizes n. Then the mean
recall of class k is S_k / (folds * n_k) with S_k the correct decisions of all folds, and the mean accuracy is
sum(S) / (folds * N): recalls and accuracy are again tied by integers, and a row that breaks this tie is no such mean.
Mean F1 scores are freer, since F1 is not linear, and for them only examples prove anything: folds are made from one
matrix of the pooled sizes, dealt out evenly, and then made as uneven as the printed F1 scores ask for. Where no example
turns up, the question stays open. Folds of different sizes tie nothing: there the audit has no power at all.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction
from itertools import product
from typing import Literal

import numpy as np
from jaxtyping import Bool, Int

from benchmark.audit.consistency import Matrix, Row, Sizes, example, numerators

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
    if not tied(row.scores[None], sizes, row.whole, folds)[0]:
        return FoldMean("impossible")
    for pooled in _pooled(row, tuple(folds * n for n in sizes)):
        reach = int(_TRIES ** (1 / len(sizes)) - 1) // 2
        for shifts in sorted(product(range(-reach, reach + 1), repeat=len(sizes)), key=lambda s: sum(map(abs, s))):
            matrices = _uneven(_dealt(pooled, folds), shifts)
            if matrices and _prints(row, matrices):
                return FoldMean("possible", matrices)
    return FoldMean("undecided")


def tied(scores: Int[np.ndarray, "many numbers"], sizes: Sizes, whole: int, folds: int) -> Bool[np.ndarray, " many"]:
    """Return where integers S_k exist that print the recalls and the accuracy as means over the folds."""
    n = folds * np.array(sizes)
    low, high = numerators(scores[:, 1 : len(n) + 1], n, whole)
    least, most = numerators(scores[:, 0], n.sum(keepdims=True), whole)
    possible: Bool[np.ndarray, " many"] = (
        (low <= high).all(axis=1) & (least <= most) & (low.sum(axis=1) <= most) & (high.sum(axis=1) >= least)
    )
    return possible


def _pooled(row: Row, sizes: Sizes) -> list[Matrix]:
    """Return matrices of all folds together: one that prints the row, else those that print its recalls."""
    matrix = example(row, sizes)
    if matrix:
        return [matrix]
    if len(sizes) > 2 or row.outside:
        return []
    low, high = numerators(np.array(row.recalls), np.array(sizes), row.whole)
    corners = product(*(range(int(a), int(b) + 1) for a, b in zip(low, high, strict=True)))
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
