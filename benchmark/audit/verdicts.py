"""One verdict for each printed row: it fits a found test set, or what would reconcile it with each.

A verdict never says why a row fits nothing: a misprint, another test set, a mean over folds and another way of counting
look alike unless the arithmetic tells them apart.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from math import inf

from benchmark.audit.alterations import Mend, altered, altered_share, chance, digit_power, mend
from benchmark.audit.claims import Claim
from benchmark.audit.consistency import Matrix, Row, Rule, Sizes, example, outside_errors, row_fits
from benchmark.audit.foldmean import FoldMean, mean_of_folds, tied
from benchmark.audit.search import fitting_sizes
from benchmark.audit.testsets import PROOF, FoundSet
from benchmark.published import Published


@dataclass(frozen=True)
class Fit:
    """A row that fits a found test set.

    Attributes:
        test_set: Number of the test set, from 1.
        matrix: One confusion matrix that prints the row; others may do as well.
        outside: Fewest and most errors outside the test classes, over all such matrices.
        rules: Under which strict rounding rules it fits as well.
        chance: Share of arbitrary rows that would fit.
        power: Share of altered last digits that would be caught.
        tie_power: Share of altered last digits with which the row could not even be a mean over folds of these sizes.
    """

    test_set: int
    matrix: Matrix
    outside: tuple[int, int]
    rules: tuple[Rule, ...]
    chance: float
    power: float
    tie_power: float


@dataclass(frozen=True)
class Misfit:
    """What would reconcile a row with one found test set.

    Attributes:
        test_set: Number of the test set, from 1.
        mend: The smallest change of one or two numbers, or None.
        mend_chance: At most this share of arbitrary rows can be mended so cheaply, with any found test set.
        outside: After the mend, the fewest and most errors outside the test classes; None where none can be.
        cut: `"cut"` if the row fits with all numbers cut off instead of rounded, `"cut_or_nearest"` if with each one
            either cut or rounded.
        cut_chance: At most this share of arbitrary rows would fit so, with any found test set.
        folds: Whether the row may be a mean over folds, each of this test set's sizes.
    """

    test_set: int
    mend: Mend | None
    mend_chance: float
    outside: tuple[int, int] | None
    cut: Rule | None
    cut_chance: float
    folds: FoldMean


@dataclass(frozen=True)
class Verdict:
    """On one printed row.

    Attributes:
        protocol: Key.
        method: Key.
        place: In the paper.
        alone: How many choices of class sizes fit the row by itself.
        alone_restricted: The same if no error may be outside the test classes; None where none can be.
        altered_alone: Where nothing fits: share of altered last digits with which something would (restricted, if
            that is what does not fit).
        fit: Where the row fits a found test set.
        misfits: Where it fits none: one for each that holds its classes, the most easily reconciled first.
    """

    protocol: str
    method: str
    place: str
    alone: int
    alone_restricted: int | None
    altered_alone: float | None
    fit: Fit | None
    misfits: tuple[Misfit, ...]


def verdict(
    protocol: str,
    method: str,
    published: Published,
    claim: Claim,
    number: int,
    test_sets: Sequence[FoundSet],
    limit: int,
) -> Verdict:
    """Judge one row against the found test sets."""
    row, restricted = claim.row, replace(claim.row, outside=False)
    alone, alone_restricted = len(fitting_sizes(row, limit)), len(fitting_sizes(restricted, limit))
    home = next((i for i, found in enumerate(test_sets, 1) if number in found.members), None)
    misfits = []
    if home is None:
        for i, found in enumerate(test_sets, 1):
            sizes = found.sizes_of(claim.classes)
            if sizes is not None:
                misfits.append(_misfit(i, row, sizes, published.folds, len(test_sets)))
    return Verdict(
        protocol=protocol,
        method=method,
        place=published.by_key[protocol, method, "accuracy"].place,
        alone=alone,
        alone_restricted=alone_restricted if row.outside else None,
        altered_alone=None if alone_restricted else altered_share(restricted, limit),
        fit=None if home is None else _fit(home, claim, test_sets[home - 1], published.folds),
        misfits=tuple(sorted(misfits, key=_ease)),
    )


def power(row: Row, sizes: Sizes, expected: float) -> float:
    """Return the share of altered last digits of a row that the audit would catch.

    The row must no longer fit, and the other rows alone must still prove the test set.

    Args:
        row: One that fits.
        sizes: Of the test set found.
        expected: By chance, of the test set with this row among its members.
    """
    return digit_power(row, sizes) if expected / chance(row, sizes) < PROOF else 0.0


def _fit(number: int, claim: Claim, found: FoundSet, folds: int) -> Fit:
    row, sizes = claim.row, found.sizes_of(claim.classes)
    matrix, outside = (example(row, sizes), outside_errors(row, sizes)) if sizes else (None, None)
    if sizes is None or matrix is None or outside is None:
        raise ValueError(f"a member of test set {number} does not fit it")
    rules: tuple[Rule, ...] = ("half_up", "half_even")
    by_chance = chance(row, sizes)
    return Fit(
        test_set=number,
        matrix=matrix,
        outside=outside,
        rules=tuple(rule for rule in rules if row_fits(row, sizes, rule)),
        chance=by_chance,
        power=power(row, sizes, found.expected),
        tie_power=float(1 - tied(altered(row), sizes, row.whole, folds).mean()),
    )


def _misfit(number: int, row: Row, sizes: Sizes, folds: int, tries: int) -> Misfit:
    rules: tuple[Rule, ...] = ("cut", "cut_or_nearest")
    rule = next((rule for rule in rules if row_fits(row, sizes, rule)), None)
    change = mend(row, sizes)
    return Misfit(
        test_set=number,
        mend=change,
        mend_chance=min(1.0, tries * _rows_as_near(row, change) * chance(row, sizes)) if change else 0.0,
        outside=outside_errors(change.applied(row), sizes) if change and row.outside else None,
        cut=rule,
        cut_chance=min(1.0, tries * chance(row, sizes, rule)) if rule else 0.0,
        folds=mean_of_folds(row, sizes, folds),
    )


def _rows_as_near(row: Row, change: Mend) -> int:
    """Return how many rows differ from this one in as many numbers or fewer, by as many units or fewer."""
    numbers, (count, units) = len(row.scores), change.size
    pairs = numbers * (numbers - 1) // 2 * 2 * units * (units - 1)
    return 1 + numbers * 2 * units + (pairs if count == 2 else 0)


def _ease(misfit: Misfit) -> tuple[float | int, ...]:
    """Order by one number mended, digits cut, two numbers mended, none of these; then by the size of the change."""
    count, units = misfit.mend.size if misfit.mend else (inf, inf)
    if count == 1:
        return 0, units
    return (1, 0) if misfit.cut else (count, units)
