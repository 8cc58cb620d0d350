"""Phantom: nodules as a CT scanner might show them, rendered from the radiologists' outlines and ratings.

The scene is made on the real scan's own grid around the real nodule: its consensus outline filled with tissue, in a
made-up chest (`anatomy`), seen through a made-up scanner (`scanner`). From there it takes the path of a real scan
(`crops`). Shape comes from the outlines. Of the ratings that is used which a scanner sees: texture, calcification and
internal structure make density, margin makes edges, spiculation and lobulation make what outlines round off
(`structures`). Malignancy is never looked at.

Each nodule has its own random numbers (PCG64, seeded by its reading ids) and each scan its own scanner, so a nodule
looks the same whatever else is rendered, in whatever order.
"""

from collections.abc import Sequence

import numpy as np
from jaxtyping import Int16
from scipy.ndimage import distance_transform_edt, gaussian_filter

from datasets import crops
from datasets.crops import Crop, Grid
from datasets.lidc.geometry import crop_of, grid_of
from datasets.lidc.nodules import Nodule
from datasets.lidc.phantom import masks, structures
from datasets.lidc.phantom.anatomy import Volume, chest, grain, smoothstep
from datasets.lidc.phantom.scanner import scanner_of
from datasets.lidc.phantom.structures import Mask

SOLID_HU, GROUND_GLASS_HU, AIR_HU = 45.0, -605.0, -950.0
MARGIN = 3  # scan voxels around the crop, so that blurring sees its neighbours


def volumes(nodules: Sequence[Nodule]) -> Int16[np.ndarray, "nodules 32 32 32"]:
    """Render nodules in their order."""
    return np.stack([render(nodule) for nodule in nodules])


def render(nodule: Nodule) -> Int16[np.ndarray, "32 32 32"]:
    """Render a nodule's crop in Hounsfield units."""
    image, grid, crop = scanned(nodule)
    return np.asarray(np.rint(crops.resample(image, grid, crop)), dtype=np.int16)


def scanned(nodule: Nodule) -> tuple[Volume, Grid, Crop]:
    """Return what the scanner shows of a nodule and its surroundings, where, and the crop within it."""
    random = np.random.Generator(np.random.PCG64([reading.id for reading in nodule.readings]))
    whole, crop = grid_of(nodule.scan), crop_of(nodule)
    box = crops.box_of(crop, whole, MARGIN)
    grid = whole.part(box)
    mask = structures.lobed(random, nodule, masks.consensus(nodule, box), grid)
    strands = structures.spicules(random, nodule, mask, grid)
    scene = chest(random, crop, grid, nodule.scan, mask, strands)
    excess = tissue(random, nodule, mask, grid) - scene
    share = coverage(nodule, mask, grid) * filling(random, nodule)
    scene = scene + share * np.maximum(excess, 0.0)  # vessels stay visible in ground glass
    return scanner_of(nodule.scan).image(random, scene, grid), grid, crop


def coverage(nodule: Nodule, mask: Mask, grid: Grid) -> Volume:
    """Return the share of each voxel that the nodule fills: sharper where the readers rate the margin sharper."""
    vague = (5 - nodule.rating("margin")) / 4
    soft = vague * min(1.1, 0.16 * nodule.diameter_mm) / grid.spacing_mm[1] + 0.35
    return np.asarray(gaussian_filter(mask.astype(np.float64), (0.6, soft, soft)))


def filling(random: np.random.Generator, nodule: Nodule) -> float:
    """Return the share of what is outlined that is nodule: small ones fill neither slices nor outlines."""
    return float(1 - 0.5 * min(1.0, 5 / nodule.diameter_mm) ** 2 * random.random() ** 3)


def tissue(random: np.random.Generator, nodule: Nodule, mask: Mask, grid: Grid) -> Volume:
    """Return the nodule's density: a solid core in ground glass, by the texture rating, with calcium and air."""
    deep = distance_transform_edt(mask, sampling=grid.spacing_mm)
    deep = deep / deep.max()
    solid = (nodule.rating("texture") - 1) / 4
    mottle = grain(random, grid, 1.4)
    core = smoothstep((deep + 0.22 * mottle - 1.9 * (1 - solid) + 0.5) / 0.3)
    ground = GROUND_GLASS_HU + 90 * solid + random.gamma(1.5, 60) - 60 + 60 * mottle
    meat = SOLID_HU + 34 * random.standard_normal() + 15 * mottle
    dense = ground + core * (meat - ground) + structures.calcification(random, nodule, deep, grid)
    return np.asarray(dense + structures.air(random, nodule, deep, grid) * (AIR_HU - dense))
