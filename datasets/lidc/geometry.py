"""Geometry: a scan's grid and a nodule's crop, as the database knows them."""

import numpy as np

from datasets.crops import SIDE_PER_DIAMETER, Crop, Grid
from datasets.lidc.nodules import Nodule
from datasets.lidc.readings import Scan

IMAGE_PIXELS = 512  # rows and columns of every LIDC-IDRI image


def grid_of(scan: Scan) -> Grid:
    """Return the scan's grid as the database knows it."""
    pixels = scan.pixel_spacing_mm * np.arange(IMAGE_PIXELS)
    return Grid(scan.slice_z_mm, pixels, pixels)


def crop_of(nodule: Nodule) -> Crop:
    """Return the nodule's crop, a cube.

    Its centre is the mean over the readers of pylidc's `centroid` (the mean of a reader's outline points). Its side
    is twice the mean over the readers of the equivalent diameter: that of the sphere with pylidc's `volume`. What
    pylidc calls `diameter`, the longest axis in a slice, is not used.
    """
    return Crop(nodule.centre_mm, SIDE_PER_DIAMETER * nodule.diameter_mm)
