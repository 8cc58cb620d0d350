"""Nodules: readings of the same lesion, put together as pylidc does, and what their readers agree on.

Source: `Scan.cluster_annotations`, `Annotation.volume` and `Annotation.centroid` of pylidc 0.2.3.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from jaxtyping import Float, Int
from scipy.sparse.csgraph import connected_components
from scipy.spatial import cKDTree

from datasets.lidc import readings
from datasets.lidc.readings import Reading, Scan

MAX_READERS = 4
SHRINK = 0.9
MIN_TOLERANCE = 0.1


@dataclass(frozen=True)
class Nodule:
    """One lesion in one scan, with its readings ascending by id."""

    scan: Scan
    readings: tuple[Reading, ...]

    @property
    def id(self) -> str:
        """Unique and stable: the patient and the database id of the first reading."""
        return f"{self.scan.patient_id}-r{self.readings[0].id}"

    @property
    def malignancy(self) -> float:
        """Mean malignancy over the readers, 1..5."""
        return sum(reading.malignancy for reading in self.readings) / len(self.readings)

    def rating(self, name: str) -> float:
        """Return the mean of one attribute's rating over the readers."""
        return sum(reading.ratings[name] for reading in self.readings) / len(self.readings)

    @cached_property
    def diameter_mm(self) -> float:
        """Mean over the readers of the equivalent diameter."""
        return float(np.mean([equivalent_diameter_mm(reading, self.scan) for reading in self.readings]))

    @cached_property
    def centre_mm(self) -> Float[np.ndarray, "3"]:
        """Mean over the readers of their centroid: z, row x spacing and column x spacing."""
        return np.asarray(np.mean([centroid_mm(reading, self.scan) for reading in self.readings], axis=0))


def load() -> list[Nodule]:
    """Return every nodule of the database, ascending by patient, scan and height: for scripts.

    Raises:
        InputError: The database is missing or damaged.
    """
    return [nodule for scan in readings.load() for nodule in cluster(scan)]


def cluster(scan: Scan) -> list[Nodule]:
    """Group a scan's readings into nodules, exactly as `pylidc.Scan.cluster_annotations` does, in its order.

    Two readings are joined if the smallest distance between points of their outlines, (row, column, slice) in
    index units, is at most the slice thickness in millimetres (pylidc's mix of units, kept). While a group has more
    than four readings the tolerance shrinks by a tenth, for the whole scan, but not below 0.1. Nodules ascend with
    the mean slice index of their readings' centroids.
    """
    if not scan.readings:
        return []
    points = [_points(reading) for reading in scan.readings]
    group = groups(_distances(points, scan.slice_thickness_mm), scan.slice_thickness_mm)
    members = [np.flatnonzero(group == number) for number in range(group.max() + 1)]
    height = [np.mean([points[i].mean(axis=0)[2] for i in rows]) for rows in members]
    order = sorted(range(len(members)), key=lambda number: height[number])
    return [Nodule(scan, tuple(scan.readings[i] for i in members[number])) for number in order]


def groups(distance: Float[np.ndarray, "readings readings"], tolerance: float) -> Int[np.ndarray, " readings"]:
    """Return connected components of readings at most `tolerance` apart, shrunk until none has more than four.

    >>> groups(np.abs(np.subtract.outer([0, 1, 2, 3, 5.0], [0, 1, 2, 3, 5.0])), 2.0)
    array([0, 0, 0, 0, 1], dtype=int32)
    """
    while True:
        _, group = connected_components(distance <= tolerance, directed=False)
        if np.bincount(group).max() <= MAX_READERS or tolerance * SHRINK < MIN_TOLERANCE:
            return np.asarray(group)
        tolerance *= SHRINK


def equivalent_diameter_mm(reading: Reading, scan: Scan) -> float:
    """Return the diameter of the sphere with the volume that the reader outlined (`Annotation.volume`)."""
    return float((6 / np.pi * max(volume_mm3(reading, scan), 0.0)) ** (1 / 3))


def volume_mm3(reading: Reading, scan: Scan) -> float:
    """Return the outlined volume as `pylidc.Annotation.volume` does: area by slice times slice distance, less holes.

    A slice's share reaches half way to the neighbouring outlined slices; an end slice gets the whole distance to
    its only neighbour. A reading of one slice is as thick as the scan's slices.
    """
    z = np.unique([outline.z_mm for outline in reading.outlines])
    share = np.full(1, scan.slice_thickness_mm)
    if len(z) > 1:
        padded = np.concatenate([[2 * z[0] - z[1]], z, [2 * z[-1] - z[-2]]])
        share = 0.5 * (padded[2:] - padded[:-2])
    height = dict(zip(z.tolist(), share.tolist(), strict=True))
    volume = 0.0
    for outline in reading.outlines:
        sign = 1 if outline.inclusion else -1
        volume += sign * _area(outline.points) * scan.pixel_spacing_mm**2 * height[outline.z_mm]
    return volume


def centroid_mm(reading: Reading, scan: Scan) -> Float[np.ndarray, "3"]:
    """Return the mean of all outline points (`Annotation.centroid`), as z, row x spacing, column x spacing."""
    row, column, level = _points(reading).mean(axis=0)
    z = np.interp(level, np.arange(len(scan.slice_z_mm)), scan.slice_z_mm)
    return np.array([z, row * scan.pixel_spacing_mm, column * scan.pixel_spacing_mm])


def _area(points: Int[np.ndarray, "points 2"]) -> float:
    """Return a polygon's area in pixels, by the shoelace formula."""
    row, column = points.T
    before_row, before_column = points[np.arange(-1, len(points) - 1)].T
    return 0.5 * abs(int(row @ before_column) - int(column @ before_row))


def _points(reading: Reading) -> Int[np.ndarray, "points 3"]:
    """Return all outline points of a reading as (row, column, slice) indices."""
    level = np.repeat([one.slice_index for one in reading.outlines], [len(one.points) for one in reading.outlines])
    return np.column_stack([np.concatenate([one.points for one in reading.outlines]), level])


def _distances(points: Sequence[Int[np.ndarray, "_ 3"]], limit: float) -> Float[np.ndarray, "readings readings"]:
    """Return the smallest distance between the points of each two sets; infinity where it surely exceeds `limit`."""
    low = np.array([p.min(axis=0) for p in points])
    high = np.array([p.max(axis=0) for p in points])
    gap = np.maximum(0, np.maximum(low[:, None] - high[None], low[None] - high[:, None]))
    close = np.sqrt((gap**2).sum(axis=2)) <= limit  # boxes apart keep their contents apart
    distance = np.where(np.eye(len(points), dtype=bool), 0.0, np.inf)
    trees = [cKDTree(p) for p in points]
    for i, j in np.argwhere(np.triu(close, 1)):
        distance[i, j] = distance[j, i] = trees[i].query(points[j])[0].min()
    return distance
