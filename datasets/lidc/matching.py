"""Matching: which slices of a series are those of a scan of the database, and the grid that they make."""

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import replace

import numpy as np

from datasets.crops import Grid
from datasets.dicom.headers import Slice
from datasets.lidc.geometry import grid_of
from datasets.lidc.readings import Scan

Z_TOLERANCE_MM = 0.05  # slices of LIDC-IDRI are at least 0.45 mm apart
SPACING_TOLERANCE = 1e-3  # of a pixel: half a millimetre across the image


def levels(slices: Iterable[Slice], scan: Scan) -> tuple[dict[int, list[Slice]], list[Slice]]:
    """Match slices to a scan's slices by z alone.

    Returns:
        The slices at each index into `scan.slice_z_mm`, and those that lie at none of them.
    """
    at: dict[int, list[Slice]] = {}
    astray = []
    for one in slices:
        level = int(np.abs(scan.slice_z_mm - one.position_mm[2]).argmin())
        if one.localizer:
            continue
        if abs(scan.slice_z_mm[level] - one.position_mm[2]) <= Z_TOLERANCE_MM:
            at.setdefault(level, []).append(one)
        else:
            astray.append(one)
    return at, astray


def alike(slices: Iterable[Slice], scan: Scan) -> list[Slice]:
    """Give a problem to slices whose spacing is not the database's, or whose frame is not that of the others."""
    checked = list(slices)
    for number, one in enumerate(checked):
        if not (one.problem or one.localizer) and not _close(one.spacing_mm[0], scan.pixel_spacing_mm):
            problem = f"its rows are {one.spacing_mm[0]:g} mm apart, the database says {scan.pixel_spacing_mm:g}"
            checked[number] = replace(one, problem=problem)
    sound = [one for one in checked if not (one.problem or one.localizer)]
    if not sound:
        return checked
    shape = Counter(one.shape for one in sound).most_common(1)[0][0]
    x, y = np.median([one.position_mm[:2] for one in sound], axis=0)
    column_mm = float(np.median([one.spacing_mm[1] for one in sound]))
    for number, one in enumerate(checked):
        shift = max(abs(one.position_mm[0] - x), abs(one.position_mm[1] - y))
        alike = one.shape == shape and _close(one.spacing_mm[1], column_mm) and shift < scan.pixel_spacing_mm / 2
        if not (alike or one.problem or one.localizer):
            problem = "its size, spacing or x and y position is not that of the series' other slices"
            checked[number] = replace(one, problem=problem)
    return checked


def _close(found_mm: float, wanted_mm: float) -> bool:
    return abs(found_mm / wanted_mm - 1) <= SPACING_TOLERANCE


def grid(slices: Sequence[Slice], scan: Scan) -> Grid:
    """Return the scan's grid: z from the database, rows and columns from a sound slice if there is any."""
    for one in slices:
        if not (one.problem or one.localizer):
            return Grid(
                scan.slice_z_mm, *(step * np.arange(n) for step, n in zip(one.spacing_mm, one.shape, strict=True))
            )
    return grid_of(scan)
