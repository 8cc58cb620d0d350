"""How much of a method's attention lies inside the readers' outline, and what that is worth.

Maps have rows and columns only, so an outline of 32 slices is projected: a place is inside if any of the slices that
the encoder sees has nodule there (of one slice: that slice's own outline). Three others stand beside each nodule's
share. *Area*, the outline's part of the slice, is what attention spread evenly would have. *Swapped*, the mean share
that the other nodules' maps have in this outline, is what a map has that knows where nodules stand and nothing of this
one. *Best* is the most that any map of this coarseness could have, since 4 x 4 places cannot follow an outline.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from benchmark.fidelity.statistics import figure
from benchmark.figures.gradcam import upsampled
from benchmark.intervals import Interval

Outlines = Bool[np.ndarray, "nodules rows columns"]
Shares = Float[np.ndarray, " nodules"]


@dataclass(frozen=True)
class Attention:
    """Where one method looked, nodule by nodule; shares are from 0 to 1.

    Attributes:
        inside: Share of the attention inside the outline; NaN where the map is zero everywhere, or where the slices
            that the encoder sees have no outline.
        area: The outline's share of the slice.
        swapped: Mean share of the other nodules' attention inside this outline.
        best: The most that any map of this resolution could have inside.
    """

    inside: Shares
    area: Shares
    swapped: Shares
    best: Shares


@dataclass(frozen=True)
class Means:
    """The same over all nodules whose share is known, each with its interval under resampling of patients.

    Attributes:
        inside: Mean share of attention inside the outline.
        area: Its chance level.
        swapped: That of maps which do not know the nodule.
        best: The most that maps of this resolution could have.
        gain: Mean of `inside` less `area`.
        own: Mean of `inside` less `swapped`.
        nodules: How many are counted.
        left_out: How many are not, having no attention or no outline.
    """

    inside: Interval
    area: Interval
    swapped: Interval
    best: Interval
    gain: Interval
    own: Interval
    nodules: int
    left_out: int


def projected(outline: Bool[np.ndarray, "depth rows columns"], slices: int) -> Bool[np.ndarray, "rows columns"]:
    """Return where any of the central slices has nodule, of as many slices as the encoder sees.

    >>> outline = np.zeros((4, 1, 3), dtype=bool)
    >>> outline[0, 0, 0] = outline[1, 0, 1] = outline[2, 0, 2] = True
    >>> [projected(outline, slices).tolist() for slices in (1, 2, 4)]
    [[[False, True, False]], [[False, True, True]], [[True, True, True]]]
    """
    first = (len(outline) - slices) // 2  # as the encoder cuts
    return np.asarray(outline[first : first + slices].any(axis=0))


def attention(maps: Float[Tensor, "nodules height width"], outlines: Outlines) -> Attention:
    """Measure how a method's maps lie to the outlines.

    Args:
        maps: Of Grad-CAM, none below zero, at any resolution; those of several folds may stand together.
        outlines: Of the same nodules, at the resolution of a slice.
    """
    rows, columns = outlines.shape[1:]
    large = upsampled(maps.double(), rows, columns).numpy()
    total = large.sum(axis=(1, 2))
    seen = outlines.any(axis=(1, 2))
    even = large / np.where(total > 0, total, np.nan)[:, None, None]  # every map's attention adds up to one
    inside = np.where(seen, (even * outlines).sum(axis=(1, 2)), np.nan)

    everyone, others = np.nan_to_num(even).sum(axis=0), np.maximum((total > 0).sum() - (total > 0), 0)
    elsewhere = ((everyone - np.nan_to_num(even)) * outlines).sum(axis=(1, 2))
    swapped = np.where(seen & (others > 0), elsewhere / np.maximum(others, 1), np.nan)

    places = maps.shape[1] * maps.shape[2]
    single = upsampled(torch.eye(places).double().reshape(-1, *maps.shape[1:]), rows, columns).numpy()
    single /= single.sum(axis=(1, 2), keepdims=True)
    # A share is a ratio of sums of non-negative places, so its greatest value is that of one place alone.
    best = np.einsum("nrc,prc->np", outlines.astype(float), single).max(axis=1)
    return Attention(inside, outlines.mean(axis=(1, 2)), swapped, best)


def means(found: Attention, patient_ids: Sequence[str]) -> Means | None:
    """Return the means over nodules; None where fewer than two have a share.

    Intervals are 95 % percentile intervals of 1,000 draws of as many patients as there are. They speak of these trained
    networks on other patients, not of other trainings.
    """
    known = np.isfinite(found.inside) & np.isfinite(found.swapped)
    if not known.any():
        return None
    patients = np.asarray(patient_ids)[known].tolist()

    def over(values: Shares) -> Interval:
        return figure(patients, lambda rows: float(values[known][rows].mean()))

    return Means(
        inside=over(found.inside),
        area=over(found.area),
        swapped=over(found.swapped),
        best=over(found.best),
        gain=over(found.inside - found.area),
        own=over(found.inside - found.swapped),
        nodules=int(known.sum()),
        left_out=int((~known).sum()),
    )


def examples(
    labels: Int[np.ndarray, " nodules"], diameter_mm: Float[np.ndarray, " nodules"], per_class: int
) -> Int[np.ndarray, " chosen"]:
    """Choose nodules to show: of each class so many, at equal steps of their rank by diameter.

    By rule, so that nobody picks those that look best; nodules of unknown diameter rank last.

    >>> examples(np.array([1, 0, 0, 0, 0]), np.array([9.0, 4.0, 2.0, 8.0, 6.0]), 2)
    array([1, 3, 0])
    """
    chosen: list[int] = []
    for label in np.unique(labels):
        members = np.flatnonzero(labels == label)
        ranked = members[np.argsort(diameter_mm[members], kind="stable")]
        count = min(per_class, len(ranked))
        chosen += ranked[((np.arange(count) + 0.5) / count * len(ranked)).astype(int)].tolist()
    return np.array(chosen, dtype=np.int64)
