"""Masks: what the readers' outlines enclose, on the scan's own grid."""

import numpy as np
from jaxtyping import Bool, Int

from datasets.crops import Box
from datasets.lidc.nodules import Nodule
from datasets.lidc.readings import Outline


def consensus(nodule: Nodule, box: Box) -> Bool[np.ndarray, "slices rows columns"]:
    """Return the voxels of `box` that at least half of the nodule's readers enclose."""
    return 2 * votes(nodule, box) >= len(nodule.readings)


def votes(nodule: Nodule, box: Box) -> Int[np.ndarray, "slices rows columns"]:
    """Return how many readers enclose each voxel of `box`.

    An outline runs through the first pixels outside its region, so its own pixels do not count as enclosed; those
    of a hole's outline belong to the hole.
    """
    levels, rows, columns = box
    outlines = [
        (number, outline)
        for number, reading in enumerate(nodule.readings)
        for outline in reading.outlines
        if levels.start <= outline.slice_index < levels.stop
    ]
    shape = (len(nodule.readings), *(side.stop - side.start for side in box))
    region, hole = np.zeros(shape, dtype=bool), np.zeros(shape, dtype=bool)
    inside, border = _fill([outline for _, outline in outlines], rows, columns)
    for (reader, outline), inner, edge in zip(outlines, inside, border, strict=True):
        place = reader, outline.slice_index - levels.start
        if outline.inclusion:
            region[place] |= inner & ~edge
        else:
            hole[place] |= inner | edge
    return np.asarray((region & ~hole).sum(axis=0))


def _fill(
    outlines: list[Outline], rows: slice, columns: slice
) -> tuple[Bool[np.ndarray, "outlines rows columns"], Bool[np.ndarray, "outlines rows columns"]]:
    """Return the inside (even-odd rule) and the pixels of each closed curve, cut to the given rows and columns."""
    shape = (len(outlines), rows.stop - rows.start, columns.stop - columns.start)
    crossings = np.zeros((shape[0], shape[1], shape[2] + 1), dtype=np.int64)
    border = np.zeros(shape, dtype=bool)
    for number, outline in enumerate(outlines):
        start = outline.points - (rows.start, columns.start)
        end = np.roll(start, -1, axis=0)
        seen = ((start >= 0) & (start < shape[1:])).all(axis=1)
        border[number, start[seen, 0], start[seen, 1]] = True

        # Where each edge crosses the pixel rows it spans, upper end excluded so that a shared vertex counts once.
        span = np.abs(end[:, 0] - start[:, 0])
        edge = np.repeat(np.arange(len(start)), span)
        low = np.where((start[:, 0] < end[:, 0])[:, None], start, end)[edge]
        high = np.where((start[:, 0] < end[:, 0])[:, None], end, start)[edge]
        step = np.arange(len(edge)) - np.repeat(np.cumsum(span) - span, span)
        row = low[:, 0] + step
        column = low[:, 1] + step * (high[:, 1] - low[:, 1]) / span[edge]
        kept = (row >= 0) & (row < shape[1])
        first = np.clip(np.ceil(column[kept]).astype(np.int64), 0, shape[2])
        np.add.at(crossings, (number, row[kept], first), 1)
    inside = np.cumsum(crossings, axis=2)[:, :, :-1] % 2 == 1
    return inside, border
