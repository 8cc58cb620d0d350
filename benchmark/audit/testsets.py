"""Which rows of a paper were scored on the same test set, and how large is it?

Rows that claim the same test set share its class sizes, and the rows of two protocols share the sizes of the classes
that both test. So one searches for sizes that fit as many rows as possible. Large test sets fit almost anything, and
every multiple of sizes that fit, fits too; therefore candidates are compared by what chance would do,

    expected = (number of size vectors with at most N nodules in all) * product over the rows of chance(row, sizes),

the number of test sets, this large or smaller, that would fit so many arbitrary rows. For each number of rows the
smallest test set that fits so many is a candidate; the candidate with the least expectation is a found test set if
that is below `PROOF`. Its rows are set aside and the search goes on with the others.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from math import comb, exp, inf, log

import numpy as np
from jaxtyping import Bool, Int

from benchmark.audit.alterations import chance
from benchmark.audit.claims import Claim
from benchmark.audit.consistency import Row, Sizes
from benchmark.audit.search import fitting_sizes

PROOF = 1e-6


@dataclass(frozen=True)
class FoundSet:
    """A test set that several rows share.

    Attributes:
        classes: Names.
        sizes: Nodules of each class.
        members: Which claims fit it.
        expected: Number of test sets, no larger, that would fit as many arbitrary rows.
        same_rows: Every other choice of sizes, up to the limit, that fits the same rows, smallest first.
    """

    classes: tuple[str, ...]
    sizes: Sizes
    members: tuple[int, ...]
    expected: float
    same_rows: tuple[Sizes, ...]

    def sizes_of(self, classes: tuple[str, ...]) -> Sizes | None:
        """Return the sizes of these classes, or None where the test set is silent about one."""
        known = dict(zip(self.classes, self.sizes, strict=True))
        return tuple(known[name] for name in classes) if set(classes) <= set(known) else None


def find(claims: Sequence[Claim], limit: int) -> list[FoundSet]:
    """Return the test sets that the rows reveal, the best supported first; rows may remain without one."""
    left, found = list(range(len(claims))), []
    while candidates := [_best(claims, left, scope, limit) for scope in {claims[i].classes: None for i in left}]:
        best = min(candidates, key=lambda candidate: candidate.expected)
        if best.expected >= PROOF:
            break
        found.append(best)
        left = [i for i in left if i not in best.members]
    return found


def most_at_once(claims: Sequence[Claim], limit: int) -> int:
    """Return how many rows, of claims with the same classes, the best of all sizes up to the limit fits at once."""
    _, fitting = _table(claims, range(len(claims)), claims[0].classes, limit)
    return int(fitting.sum(axis=0).max(initial=0))


def expectation(rows: Sequence[Row], sizes_of_rows: Sequence[Sizes], sizes: Sizes) -> float:
    """Return how many test sets, no larger than these sizes in all, would fit as many arbitrary rows."""
    chances = [chance(row, own) for row, own in zip(rows, sizes_of_rows, strict=True)]
    if min(chances) == 0:
        return inf
    return exp(log(comb(sum(sizes) + len(sizes), len(sizes))) + sum(map(log, chances)))


def _best(claims: Sequence[Claim], left: Sequence[int], scope: tuple[str, ...], limit: int) -> FoundSet:
    sizes, fitting = _table(claims, left, scope, limit)
    counts, totals = fitting.sum(axis=0), sizes.sum(axis=1)
    best = FoundSet(scope, (), (), inf, ())
    for count in range(2, int(counts.max(initial=0)) + 1):
        these = np.flatnonzero(counts == count)
        for j in these[totals[these] == totals[these].min(initial=limit)]:
            members = [i for i, fit in zip(left, fitting[:, j], strict=True) if fit]
            found = FoundSet(scope, tuple(map(int, sizes[j])), tuple(members), inf, ())
            own = [found.sizes_of(claims[i].classes) or () for i in members]
            expected = expectation([claims[i].row for i in members], own, found.sizes)
            if expected < best.expected:
                also = sizes[fitting[fitting[:, j]].all(axis=0) & (sizes != sizes[j]).any(axis=1)]
                also = also[np.argsort(also.sum(axis=1), kind="stable")]
                best = FoundSet(scope, found.sizes, found.members, expected, tuple(tuple(map(int, s)) for s in also))
    return best


def _table(
    claims: Sequence[Claim], left: Sequence[int], scope: tuple[str, ...], limit: int
) -> tuple[Int[np.ndarray, "sizes classes"], Bool[np.ndarray, "claims sizes"]]:
    """Return all sizes over the scope that fit a row with just these classes, and which rows they fit."""
    base = limit + 1
    powers = base ** np.arange(len(scope), dtype=np.int64)
    whole = [fitting_sizes(claims[i].row, limit) @ powers for i in left if claims[i].classes == scope]
    keys = np.unique(np.concatenate(whole))
    sizes = keys[:, None] // powers % base
    fitting = np.zeros((len(left), len(keys)), dtype=bool)
    for line, i in zip(fitting, left, strict=True):
        if set(claims[i].classes) <= set(scope):
            own = [scope.index(name) for name in claims[i].classes]
            line[:] = np.isin(
                sizes[:, own] @ powers[: len(own)], fitting_sizes(claims[i].row, limit) @ powers[: len(own)]
            )
    return sizes, fitting
