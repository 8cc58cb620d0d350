"""Crops: the cube of twice the diameter around a nodule, as 32 x 32 x 32 voxels. One geometry for every source.

World coordinates are millimetres along (slice, row, column): z as in the scan's ImagePositionPatient, then row index
times row spacing and column index times column spacing, from the centre of the image's first pixel.
"""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float, Num

SIZE = 32
SIDE_PER_DIAMETER = 2.0  # Lei et al., MICCAI 2023: "a square shape of a doubled equivalent diameter"

Box = tuple[slice, slice, slice]


@dataclass(frozen=True)
class Grid:
    """A scan's voxel centres along each axis, in world millimetres, ascending; the spacing may vary."""

    slice_mm: Float[np.ndarray, " slices"]
    row_mm: Float[np.ndarray, " rows"]
    column_mm: Float[np.ndarray, " columns"]

    @property
    def axes(self) -> tuple[Float[np.ndarray, " _"], ...]:
        """The three axes in the order of a volume's axes."""
        return self.slice_mm, self.row_mm, self.column_mm

    @property
    def shape(self) -> tuple[int, int, int]:
        """Number of voxels along each axis."""
        return len(self.slice_mm), len(self.row_mm), len(self.column_mm)

    @property
    def spacing_mm(self) -> Float[np.ndarray, "3"]:
        """Mean distance between neighbours along each axis."""
        return np.array([np.diff(axis).mean() for axis in self.axes])

    def offsets(self, point_mm: Float[np.ndarray, "3"]) -> tuple[Float[np.ndarray, "_ _ _"], ...]:
        """Return how far the grid lies from a point along each axis, shaped to broadcast to a volume."""
        z, y, x = (axis - at for axis, at in zip(self.axes, point_mm, strict=True))
        return z[:, None, None], y[None, :, None], x[None, None, :]

    def part(self, box: Box) -> "Grid":
        """Return the grid of a part of the scan."""
        return Grid(*(axis[side] for axis, side in zip(self.axes, box, strict=True)))


@dataclass(frozen=True)
class Crop:
    """A cube in the world, cut into `SIZE` voxels a side."""

    centre_mm: Float[np.ndarray, "3"]
    side_mm: float

    @property
    def voxel_mm(self) -> float:
        """Edge of a voxel."""
        return self.side_mm / SIZE

    @property
    def axes(self) -> Float[np.ndarray, "3 voxels"]:
        """World coordinates of the voxel centres along each axis."""
        return np.asarray(self.centre_mm[:, None] + self.voxel_mm * (np.arange(SIZE) - (SIZE - 1) / 2))


def box_of(crop: Crop, grid: Grid, margin: int = 0) -> Box:
    """Return the part of the scan that `resample` needs for the crop, and `margin` more voxels on every side."""
    sides = []
    for centre, axis in zip(crop.centre_mm, grid.axes, strict=True):
        first = int(np.searchsorted(axis, centre - crop.side_mm / 2, side="right")) - 1
        last = int(np.searchsorted(axis, centre + crop.side_mm / 2, side="left"))
        sides.append(slice(max(first - margin, 0), min(last + margin, len(axis) - 1) + 1))
    return sides[0], sides[1], sides[2]


def resample(volume: Num[np.ndarray, "slices rows columns"], grid: Grid, crop: Crop) -> Float[np.ndarray, "32 32 32"]:
    """Bring scan voxels to the crop: the mean of their trilinear interpolant over each crop voxel.

    The mean is taken over as many points per axis as scan voxels fit into a crop voxel, so a large nodule is not
    aliased, and a small one (crop voxels smaller than the scan's) is interpolated linearly. Beyond the volume its
    outermost voxels repeat.

    Args:
        volume: Voxels at the grid points of `grid`.
        grid: The (part of the) scan.
        crop: Where to.
    """
    result = volume.astype(np.float64)
    for number, (centres, axis) in enumerate(zip(crop.axes, grid.axes, strict=True)):
        points = max(1, int(np.ceil(crop.voxel_mm / np.diff(axis).min())))
        within = crop.voxel_mm * ((np.arange(points) + 0.5) / points - 0.5)
        where = np.interp((centres[:, None] + within).ravel(), axis, np.arange(len(axis)))
        below = np.minimum(where.astype(np.int64), len(axis) - 2)
        part = (where - below)[:, None, None]
        moved = np.moveaxis(result, number, 0)
        fine = moved[below] * (1 - part) + moved[below + 1] * part
        mean = fine.reshape(SIZE, points, *moved.shape[1:]).mean(axis=1)
        result = np.moveaxis(mean, 0, number)
    return result
