"""Phantom: first, simple."""

from collections.abc import Sequence

import numpy as np
from jaxtyping import Int16
from scipy.ndimage import gaussian_filter

from datasets import crops, masks
from datasets.nodules import Nodule


def volumes(nodules: Sequence[Nodule]) -> Int16[np.ndarray, "nodules 32 32 32"]:
    """Render nodules of one scan."""
    return np.stack([render(nodule) for nodule in nodules])


def render(nodule: Nodule) -> Int16[np.ndarray, "32 32 32"]:
    """Render a nodule."""
    grid, crop = crops.grid_of(nodule.scan), crops.crop_of(nodule)
    box = crops.box_of(crop, grid, 2)
    random = np.random.default_rng([reading.id for reading in nodule.readings])
    solid = masks.consensus(nodule, box).astype(np.float64)
    scene = gaussian_filter(-850 + 880 * solid, (0.3, 0.7, 0.7))
    scene += 30 * random.standard_normal(scene.shape)
    voxels = crops.resample(scene, grid.part(box), crop)
    return np.asarray(np.rint(np.clip(voxels, -1000, 1500)), dtype=np.int16)
