"""Voxels: the crop of one row, checked to be what it should be."""

import numpy as np
from jaxtyping import Int16, Num

from datasets import crops
from datasets.crops import SIDE_PER_DIAMETER, SIZE, Crop, Grid
from datasets.dicom.files import Refused
from datasets.dicom.images import PADDING_HU
from datasets.folder.formats import Opened, evenly, open_volume
from datasets.folder.table import SPACING_MM, Row

LOWEST_HU, HIGHEST_HU = -5000, 32767  # what scanners pad with lies above, and what no scanner writes beyond
SAME_SPACING = 0.01  # of it: what the table and the file may differ by
_WHOLE = slice(0, SIZE)


def crop(row: Row) -> Int16[np.ndarray, "32 32 32"]:
    """Return a row's crop: its file as it is where that has 32 x 32 x 32 voxels, else twice the diameter resampled.

    Raises:
        InputError: The file cannot be used, with its line in the table.
    """
    try:
        opened = open_volume(row.file)
        _check_spacing(row, opened)
        if opened.shape == (SIZE, SIZE, SIZE):
            hu = _checked(opened.read((_WHOLE, _WHOLE, _WHOLE)))
        else:
            where, grid = _where(row, opened)
            box = crops.box_of(where, grid)
            padded = np.maximum(_checked(opened.read(box)), PADDING_HU)
            hu = crops.resample(padded, grid.part(box), where)
    except Refused as refused:
        raise row.refuse(str(refused)) from refused
    except Exception as error:  # damage can surface in any layer below
        told = " ".join(str(error).split())
        raise row.refuse(f"cannot be read ({type(error).__name__}: {told}): replace the file") from error
    return np.asarray(np.rint(hu), dtype=np.int16)


def _check_spacing(row: Row, opened: Opened) -> None:
    """Refuse a spacing in the table that is not the file's own."""
    if opened.grid is None or row.spacing_mm is None or min(opened.shape) < 2:
        return
    own = opened.grid.spacing_mm
    if (np.abs(own - row.spacing_mm) > SAME_SPACING * own).any():
        there, given = ("|".join(f"{step:.5g}" for step in steps) for steps in (own, row.spacing_mm))
        raise Refused(
            f"has voxels of {there} mm (slice|row|column), and spacing_mm is {given}: correct what is wrong, or leave "
            "spacing_mm empty"
        )


def _where(row: Row, opened: Opened) -> tuple[Crop, Grid]:
    """Return the nodule's cube and the grid that it is cut from."""
    shape = " x ".join(map(str, opened.shape))
    grid = opened.grid or (evenly(opened.shape, row.spacing_mm) if row.spacing_mm else None)
    if grid is None:
        raise Refused(
            f"is {shape} voxels of unknown spacing: give spacing_mm and diameter_mm, or a crop of {SIZE} voxels a side"
        )
    if np.isnan(row.nodule.diameter_mm):
        raise Refused(f"is {shape} voxels, and how much of it to take is unknown: give diameter_mm")
    if min(opened.shape) < 2:
        raise Refused(f"is {shape} voxels: a volume needs at least two along each axis")
    if not all(SPACING_MM[0] <= step <= SPACING_MM[1] for axis in grid.axes for step in np.diff(axis)):
        raise Refused(f"has voxels of {grid.spacing_mm.round(4).tolist()} mm: correct its spacing")
    middle = tuple((count - 1) / 2 for count in opened.shape)
    index = opened.place(row.centre) if row.centre else middle
    if not all(0 <= at <= count - 1 for at, count in zip(index, opened.shape, strict=True)):
        raise Refused(f"has no voxel at the centre {'|'.join(f'{at:g}' for at in row.centre or index)}: correct it")
    centre = [np.interp(at, np.arange(len(axis)), axis) for at, axis in zip(index, grid.axes, strict=True)]
    return Crop(np.array(centre), SIDE_PER_DIAMETER * row.nodule.diameter_mm), grid


def _checked(hu: Num[np.ndarray, "_ _ _"]) -> Num[np.ndarray, "_ _ _"]:
    """Refuse numbers that cannot be Hounsfield units."""
    if not np.isfinite(hu).all():
        raise Refused("holds NaN or infinity: give every voxel a number")
    low, high = float(hu.min()), float(hu.max())
    if low < LOWEST_HU or high > HIGHEST_HU or (low >= 0 and high <= 1):
        raise Refused(f"holds values from {low:g} to {high:g}, which cannot be Hounsfield units: convert them")
    return hu
