"""What the printed numbers show beside their arithmetic: deviations too even for folds, and rows printed twice."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations

import numpy as np
from scipy.special import chdtr

from benchmark.audit.claims import Claim
from benchmark.audit.consistency import Row, Sizes
from benchmark.audit.testsets import FoundSet
from benchmark.published import Cell, Published


@dataclass(frozen=True)
class Evenness:
    """How the printed deviation of an accuracy compares with sampling, were it over folds of the row's test set.

    Attributes:
        protocol: Key.
        method: Key.
        printed: In points.
        sampling: Standard deviation between folds of these class sizes, in points, by sampling alone.
        as_deviation: Chance of at most the printed value if it is the standard deviation over the folds.
        as_standard_error: The same if it is that divided by the root of the number of folds.
    """

    protocol: str
    method: str
    printed: float
    sampling: float
    as_deviation: float
    as_standard_error: float


@dataclass(frozen=True)
class Coincidence:
    """Two methods with equal values wherever both have one, two or more.

    Attributes:
        methods: Keys.
        shared: The pairs of cells.
    """

    methods: tuple[str, str]
    shared: tuple[tuple[Cell, Cell], ...]

    @property
    def differing(self) -> tuple[tuple[Cell, Cell], ...]:
        """The pairs whose deviations differ."""
        return tuple((one, other) for one, other in self.shared if one.std != other.std)


def evenness(
    published: Published, claims: Mapping[tuple[str, str], Claim], test_sets: Sequence[FoundSet]
) -> Iterator[Evenness]:
    """Yield a comparison for each row that fits a found test set and prints a deviation of its accuracy."""
    for number, ((protocol, method), claim) in enumerate(claims.items()):
        std = published.by_key[protocol, method, "accuracy"].std
        for found in test_sets:
            sizes = found.sizes_of(claim.classes)
            if number in found.members and std is not None and sizes is not None:
                printed, sampling = float(std), sampling_deviation(claim.row, sizes)
                yield Evenness(
                    protocol,
                    method,
                    printed,
                    sampling,
                    as_even(printed, sampling, published.folds),
                    as_even(printed * published.folds**0.5, sampling, published.folds),
                )


def sampling_deviation(row: Row, sizes: Sizes) -> float:
    """Return the standard deviation, in points, of the accuracy over test sets of these sizes, by sampling alone.

    A nodule of class k is classified correctly with probability recall_k, independently of the others.
    """
    recalls = np.array(row.recalls) / row.whole
    return float(100 * np.sqrt((np.array(sizes) * recalls * (1 - recalls)).sum()) / sum(sizes))


def as_even(deviation: float, expected: float, folds: int) -> float:
    """Return the chance that a sample standard deviation over folds comes out at most this small.

    >>> round(as_even(0.5, 2.0, 5), 4)
    0.0072
    """
    return float(chdtr(folds - 1, (folds - 1) * (deviation / expected) ** 2))


def coincidences(published: Published) -> Iterator[Coincidence]:
    """Yield the pairs of methods whose shared values, at least two, are all equal."""
    rows: dict[str, dict[tuple[str, str], Cell]] = {}
    for cell in published.cells:
        rows.setdefault(cell.method, {})[cell.protocol, cell.metric] = cell
    for one, other in combinations(rows, 2):
        shared = tuple((rows[one][key], rows[other][key]) for key in rows[one] if key in rows[other])
        if len(shared) >= 2 and all(a.value == b.value for a, b in shared):
            yield Coincidence((one, other), shared)
