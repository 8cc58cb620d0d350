"""A picture of real slices above the same nodules' rendered ones."""

from pathlib import Path

import numpy as np
from jaxtyping import Bool, Float, Int, UInt8

from benchmark.contracts import InputError
from benchmark.fidelity.slices import Slices

WINDOW_HU = (-1000.0, 400.0)
_COLUMNS, _BANDS, _TIMES, _GAP = 12, 2, 3, 4


def spread(
    covered: Bool[np.ndarray, "nodules 2 32"], diameter_mm: Float[np.ndarray, " nodules"], count: int
) -> Int[np.ndarray, " chosen"]:
    """Return nodules that are covered whole, from the smallest to the largest, at equal steps of their rank.

    By rule, so that nobody picks the pairs that look best.

    >>> spread(np.ones((5, 2, 32), dtype=bool), np.array([5.0, 3.0, 9.0, 4.0, 7.0]), 3)
    array([1, 0, 2])
    """
    whole = np.flatnonzero(covered.all(axis=(1, 2)))
    ranked = whole[np.argsort(diameter_mm[whole], kind="stable")]
    return np.asarray(ranked[np.linspace(0, len(ranked) - 1, min(count, len(ranked))).round().astype(int)])


def mosaic(real: Slices, rendered: Slices, columns: int = _COLUMNS) -> UInt8[np.ndarray, "rows columns"]:
    """Return grey values: bands of real slices, each with the rendered ones below; empty places are white."""
    low, high = WINDOW_HU
    size, step = real.shape[1] * _TIMES, real.shape[1] * _TIMES + _GAP
    bands = -(-len(real) // columns)
    page = np.full((bands * (2 * step + _GAP) - 2 * _GAP, columns * step - _GAP), 255, dtype=np.uint8)
    for number, pair in enumerate(zip(real, rendered, strict=True)):
        band, column = divmod(number, columns)
        for below, hu in enumerate(pair):
            grey = ((hu.astype(float) - low) / (high - low)).clip(0, 1) * 255
            top, left = band * (2 * step + _GAP) + below * step, column * step
            large = grey.round().astype(np.uint8).repeat(_TIMES, axis=0).repeat(_TIMES, axis=1)
            page[top : top + size, left : left + size] = large
    return page


def draw(
    path: Path,
    real: Slices,
    rendered: Slices,
    covered: Bool[np.ndarray, "nodules 2 32"],
    diameter_mm: Float[np.ndarray, " nodules"],
) -> None:
    """Write the picture of 24 pairs.

    Raises:
        InputError: No nodule is covered whole, or the file cannot be written.
    """
    from matplotlib.image import imsave  # here: it takes a second

    chosen = spread(covered, diameter_mm, _COLUMNS * _BANDS)
    if not len(chosen):
        raise InputError("no slice is covered whole, so there is no pair to draw: leave --pairs out")
    try:
        imsave(path, mosaic(real[chosen], rendered[chosen]), cmap="gray", vmin=0, vmax=255)
    except (OSError, ValueError) as error:
        raise InputError(
            f"cannot write the picture {path} ({error}): give a .png file in a folder that is there"
        ) from error
