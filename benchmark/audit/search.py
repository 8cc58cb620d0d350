"""Which class sizes, of all up to a limit, fit a printed row by itself?

All classes but one run over the sizes at which their printed recall is attainable. For the one left, N * accuracy =
sum(n_k recall_k) and sum(b) = E, each widened by the rounding, leave an interval. These bounds are in floating point
and a hair too wide; every candidate is then checked exactly.
"""

from functools import lru_cache
from typing import NamedTuple

import numpy as np
from jaxtyping import Bool, Float, Int

from benchmark.audit.consistency import Row, fits, numerators

MOST_CANDIDATES = 20_000_000  # some seconds; a row that leaves more says next to nothing about its class sizes
_AT_ONCE = 500_000  # bounds memory


class _Candidates(NamedTuple):
    """Sizes of all classes but the last, and for each an interval of sizes of the last."""

    order: Int[np.ndarray, " classes"]
    others: Int[np.ndarray, "many others"]
    low: Int[np.ndarray, " many"]
    width: Int[np.ndarray, " many"]
    attainable: Bool[np.ndarray, " sizes"]


@lru_cache(maxsize=4096)
def fitting_sizes(row: Row, limit: int) -> Int[np.ndarray, "found classes"]:
    """Return the class sizes of every test set of at most `limit` nodules that fits the row by itself.

    Raises:
        ValueError: There are more than MOST_CANDIDATES to be checked.
    """
    order, others, low, width, attainable = _candidates(row, limit)
    ends = np.cumsum(width)
    total = int(width.sum())
    if total > MOST_CANDIDATES:
        raise ValueError(f"{row} leaves {total} class sizes to be checked, more than {MOST_CANDIDATES}")
    found = [np.zeros((0, len(order)), dtype=np.int64)]
    for some in np.split(np.arange(len(others)), np.searchsorted(ends, np.arange(_AT_ONCE, total, _AT_ONCE))):
        which = np.repeat(some, width[some])
        last = low[which] + np.arange(len(which)) - np.repeat(np.cumsum(width[some]) - width[some], width[some])
        which, last = which[attainable[last]], last[attainable[last]]
        sizes = np.empty((len(which), len(order)), dtype=np.int64)
        sizes[:, order[:-1]], sizes[:, order[-1]] = others[which], last
        found.append(sizes[fits(sizes, row.scores[None], row.whole, row.outside)])
    result = np.concatenate(found)
    result.flags.writeable = False
    return result


def candidate_count(row: Row, limit: int) -> int:
    """Return how many class sizes a search would have to check."""
    return int(_candidates(row, limit).width.sum())


def _candidates(row: Row, limit: int) -> _Candidates:
    sizes = np.arange(limit + 1)
    attainable = []
    for recall in row.recalls:
        least, most = numerators(np.array([recall]), sizes, row.whole)
        attainable.append((least <= most) & (sizes > 0))
    # The class whose recall is farthest from the accuracy is bounded best, so it comes last.
    order = np.argsort(abs(np.array(row.recalls) - row.accuracy), kind="stable")
    grid = np.meshgrid(*(np.flatnonzero(attainable[k]) for k in order[:-1]), indexing="ij")
    others = np.stack(grid, axis=-1).reshape(-1, len(order) - 1)
    others = others[others.sum(axis=1) < limit]
    planes = _half_spaces(row)
    low, high = _last_class(others @ planes[:, order[:-1]].T, planes[:, order[-1]], limit - others.sum(axis=1))
    return _Candidates(order, others, low, np.maximum(high - low + 1, 0), attainable[order[-1]])


def _half_spaces(row: Row) -> Float[np.ndarray, "planes classes"]:
    """Return slopes with sum(slope_k n_k) <= 0 for all sizes that fit: from the accuracy, and from sum(b) = E."""
    recalls, f1s = 2 * np.array(row.recalls), 2 * np.array(row.f1s)
    planes = [recalls - 1 - (2 * row.accuracy + 1), 2 * row.accuracy - 1 - (recalls + 1), (recalls - 1) / (f1s + 1) - 1]
    if not row.outside and f1s.min() > 0:
        planes.append(1 - (recalls + 1) / (f1s - 1))
    return np.array(planes, dtype=np.float64)


def _last_class(
    rests: Float[np.ndarray, "many planes"], slopes: Float[np.ndarray, " planes"], most: Int[np.ndarray, " many"]
) -> tuple[Int[np.ndarray, " many"], Int[np.ndarray, " many"]]:
    """Return bounds on an integer n in 1..most with slope * n + rest <= 0 in every plane, a hair too wide."""
    low, high = np.ones(len(rests)), most.astype(np.float64)
    for rest, slope in zip(rests.T, slopes, strict=True):
        if slope < 0:
            low = np.maximum(low, np.ceil(-rest / slope - 1e-6))
        elif slope > 0:
            high = np.minimum(high, np.floor(-rest / slope + 1e-6))
        else:
            high = np.where(rest > 1e-6, 0.0, high)
    return low.astype(np.int64), high.astype(np.int64)
