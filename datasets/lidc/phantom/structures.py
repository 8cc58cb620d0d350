"""Structures that readers name by a rating: spicules, lobes, air, calcium.

How many there are and how dense they are is ours, compared with real slices; nothing is fitted to labels.
"""

from collections.abc import Iterator
from enum import IntEnum

import numpy as np
from jaxtyping import Bool
from scipy.ndimage import binary_erosion

from datasets.crops import Grid
from datasets.lidc.nodules import Nodule
from datasets.lidc.phantom.anatomy import Tube, Vector, Volume, grain, paint, smoothstep, unit

SPICULES = 9.0  # a step of the spiculation rating, all around the nodule
LOBES = 1.5  # a step of the lobulation rating

Mask = Bool[np.ndarray, "slices rows columns"]


class Calcium(IntEnum):
    """LIDC's calcification ratings: names, not a scale."""

    POPCORN = 1
    LAMINATED = 2
    SOLID = 3
    NON_CENTRAL = 4
    CENTRAL = 5
    ABSENT = 6


class Inside(IntEnum):
    """LIDC's ratings of the internal structure: names, not a scale."""

    SOFT_TISSUE = 1
    FLUID = 2
    FAT = 3
    AIR = 4


def spicules(random: np.random.Generator, nodule: Nodule, mask: Mask, grid: Grid) -> list[Tube]:
    """Return strands that leave the nodule for the lung and taper, more of them the more spiculated it is rated."""
    made, size = [], nodule.diameter_mm
    count = random.poisson(0.5 + SPICULES * (nodule.rating("spiculation") - 1))
    for root, direction in roots(random, mask, grid, count):
        length = size * random.uniform(0.08, 0.4)
        bend = root + length * direction
        tip = bend + length * unit(direction + 0.35 * random.standard_normal(3))
        radius = (0.18 + 0.022 * min(size, 25)) * random.uniform(0.6, 1.4)
        made.append(Tube(np.stack([root - 0.05 * size * direction, bend, tip]), radius * np.array([1.6, 0.9, 0.4])))
    return made


def lobed(random: np.random.Generator, nodule: Nodule, mask: Mask, grid: Grid) -> Mask:
    """Return the mask with rounded bulges, more and larger ones the more lobulated the nodule is rated."""
    step = nodule.rating("lobulation") - 1
    bulges = np.zeros(grid.shape)
    for root, direction in roots(random, mask, grid, random.poisson(LOBES * step)):
        radius = nodule.diameter_mm * random.uniform(0.1, 0.18)
        top = root + (0.02 * step * nodule.diameter_mm - radius) * direction
        ends = np.stack([top - radius * direction, top + radius * direction])
        paint(Tube(ends, np.full(2, radius)), bulges, grid, grid.spacing_mm[1])
    return np.asarray(mask | (bulges > 0.5))


def roots(random: np.random.Generator, mask: Mask, grid: Grid, count: int) -> Iterator[tuple[Vector, Vector]]:
    """Yield places on the mask's surface, in world millimetres, and roughly the direction outwards there."""
    if not count:
        return
    inside = _places(mask, grid)
    surface = _places(mask & ~binary_erosion(mask), grid)
    for root in random.choice(surface, count):
        yield root, unit(unit(root - inside.mean(axis=0) + 1e-6) + 0.4 * random.standard_normal(3))


def _places(mask: Mask, grid: Grid) -> np.ndarray:
    """Return the world coordinates of a mask's voxels, a row each."""
    return np.stack([axis[index] for axis, index in zip(grid.axes, np.nonzero(mask), strict=True)], axis=1)


def air(random: np.random.Generator, nodule: Nodule, deep: Volume, grid: Grid) -> Volume:
    """Return the share of each voxel that is air within the nodule: a cavity, or bronchi that stay open.

    There is some with the chance by which a reader sees some.

    Args:
        random: Draws which and where.
        nodule: Its readers' ratings decide.
        deep: 0 outside the nodule, rising inwards to 1.
        grid: Where.
    """
    seen = [reading.ratings["internal structure"] == Inside.AIR for reading in nodule.readings]
    share = np.zeros(grid.shape)
    if random.random() >= np.mean(seen):
        return share
    if random.random() < 0.5:
        wall = random.uniform(0.25, 0.6)
        return smoothstep((deep - wall) / 0.15)
    for root, direction in roots(random, deep > 0.5, grid, 3):
        reach = 0.5 * nodule.diameter_mm * direction
        radius = min(0.5 + 0.04 * nodule.diameter_mm, 1.6)
        paint(Tube(np.stack([root - reach, root + reach]), np.full(2, radius)), share, grid, grid.spacing_mm[1])
    return share


def calcification(random: np.random.Generator, nodule: Nodule, deep: Volume, grid: Grid) -> Volume:
    """Return what calcium adds, in the pattern most readers see, with the chance by which a reader sees any.

    Args:
        random: Draws its density and place.
        nodule: Its readers' ratings decide.
        deep: 0 outside the nodule, rising inwards to 1.
        grid: Where.
    """
    seen = sorted(reading.ratings["calcification"] for reading in nodule.readings)
    seen = [rating for rating in seen if rating != Calcium.ABSENT]
    amount = random.uniform(200, 2400) * (random.random() < len(seen) / len(nodule.readings))
    match max(seen, key=seen.count, default=Calcium.ABSENT):
        case Calcium.POPCORN:
            bright = smoothstep(1.5 * grain(random, grid, 1.6) + 0.2)
        case Calcium.LAMINATED:
            bright = 0.5 + 0.5 * np.cos(4 * np.pi * (1 - deep))
        case Calcium.SOLID:
            bright = smoothstep(deep / 0.7)
        case Calcium.NON_CENTRAL:
            k, i, j = random.choice(np.argwhere(deep > 0))
            spot = np.array([grid.slice_mm[k], grid.row_mm[i], grid.column_mm[j]])
            far = sum(offset**2 for offset in grid.offsets(spot))
            bright = np.exp(-far / (2 * (0.4 + 0.12 * nodule.diameter_mm) ** 2))
        case Calcium.CENTRAL:
            bright = smoothstep((deep - 0.35) / 0.3)
        case _:  # absent
            bright = np.zeros(grid.shape)
    return amount * bright
