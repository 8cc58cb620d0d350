"""Phantom: nodules as a CT scanner might show them, rendered from the radiologists' outlines and ratings.

The scene is made on the real scan's own grid around the real nodule: its consensus outline filled with tissue, in a
made-up chest (`anatomy`), seen through a made-up scanner. From there it takes the path of a real scan (`crops`).
Of the ratings only what a scanner sees is used: texture and calcification make density, margin makes edges. Shape
comes from the outlines alone. Malignancy is never looked at.

Each nodule has its own random numbers (PCG64, seeded by its reading ids) and each scan its own scanner, so a nodule
looks the same whatever else is rendered, in whatever order.
"""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from enum import IntEnum

import numpy as np
from jaxtyping import Bool, Int16
from scipy.ndimage import distance_transform_edt, gaussian_filter

from datasets import crops
from datasets.crops import Grid
from datasets.lidc.geometry import crop_of, grid_of
from datasets.lidc.nodules import Nodule
from datasets.lidc.phantom import masks
from datasets.lidc.phantom.anatomy import Volume, chest, grain, smoothstep
from datasets.lidc.readings import Scan

SOLID_HU, GROUND_GLASS_HU = 45.0, -640.0
LIMITS_HU = (-1000, 1500)
MARGIN = 3  # scan voxels around the crop, so that blurring sees its neighbours

Mask = Bool[np.ndarray, "slices rows columns"]


class Calcium(IntEnum):
    """LIDC's calcification ratings: names, not a scale."""

    POPCORN = 1
    LAMINATED = 2
    SOLID = 3
    NON_CENTRAL = 4
    CENTRAL = 5
    ABSENT = 6


def volumes(nodules: Sequence[Nodule]) -> Int16[np.ndarray, "nodules 32 32 32"]:
    """Render nodules in their order."""
    return np.stack([render(nodule) for nodule in nodules])


def render(nodule: Nodule) -> Int16[np.ndarray, "32 32 32"]:
    """Render a nodule's crop in Hounsfield units."""
    random = np.random.Generator(np.random.PCG64([reading.id for reading in nodule.readings]))
    whole, crop = grid_of(nodule.scan), crop_of(nodule)
    box = crops.box_of(crop, whole, MARGIN)
    grid, mask = whole.part(box), masks.consensus(nodule, box)
    scene = chest(random, crop, grid, nodule.scan, mask)
    excess = tissue(random, nodule, mask, grid) - scene
    scene = scene + coverage(nodule, mask, grid) * np.maximum(excess, 0.0)  # vessels stay visible in ground glass
    image = scanner_of(nodule.scan).image(random, scene, grid)
    return np.asarray(np.rint(np.clip(crops.resample(image, grid, crop), *LIMITS_HU)), dtype=np.int16)


def coverage(nodule: Nodule, mask: Mask, grid: Grid) -> Volume:
    """Return the share of each voxel that the nodule fills: sharper where the readers rate the margin sharper."""
    vague = (5 - nodule.rating("margin")) / 4
    soft = vague * min(1.1, 0.16 * nodule.diameter_mm) / grid.spacing_mm[1] + 0.35
    return np.asarray(gaussian_filter(mask.astype(np.float64), (0.6, soft, soft)))


def tissue(random: np.random.Generator, nodule: Nodule, mask: Mask, grid: Grid) -> Volume:
    """Return the nodule's density: a solid core in ground glass, by the texture rating, and calcifications."""
    deep = distance_transform_edt(mask, sampling=grid.spacing_mm)
    deep = deep / deep.max()
    solid = (nodule.rating("texture") - 1) / 4
    mottle = grain(random, grid, 1.4)
    core = smoothstep((deep + 0.22 * mottle - 1.7 * (1 - solid) + 0.5) / 0.3)
    ground = GROUND_GLASS_HU + 160 * solid + 30 * random.standard_normal() + 45 * mottle
    meat = SOLID_HU + 15 * random.standard_normal() + 15 * mottle
    return np.asarray(ground + core * (meat - ground) + calcification(random, nodule, deep, grid))


def calcification(random: np.random.Generator, nodule: Nodule, deep: Volume, grid: Grid) -> Volume:
    """Return what calcium adds, in the pattern most readers see, by the share of readers that see any.

    Args:
        random: Draws its density and place.
        nodule: Its readers' ratings decide.
        deep: 0 outside the nodule, rising inwards to 1.
        grid: Where.
    """
    seen = sorted(reading.ratings["calcification"] for reading in nodule.readings)
    seen = [rating for rating in seen if rating != Calcium.ABSENT]
    amount = random.uniform(300, 900) * len(seen) / len(nodule.readings)
    match max(seen, key=seen.count, default=Calcium.ABSENT):
        case Calcium.POPCORN:
            bright = smoothstep(1.5 * grain(random, grid, 1.6) + 0.2)
        case Calcium.LAMINATED:
            bright = 0.5 + 0.5 * np.cos(4 * np.pi * (1 - deep))
        case Calcium.SOLID:
            bright = smoothstep(deep / 0.4)
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


@dataclass(frozen=True)
class Scanner:
    """How a scan shows a scene.

    Attributes:
        blur_mm: Standard deviation of the in-plane point spread, which also shapes the noise.
        noise_hu: Standard deviation of the noise.
        thickness_mm: Of a slice; overlapping slices share noise.
    """

    blur_mm: float
    noise_hu: float
    thickness_mm: float

    def image(self, random: np.random.Generator, scene: Volume, grid: Grid) -> Volume:
        """Blur a scene and add noise of the scan's own grain."""
        blur = self.blur_mm / grid.spacing_mm[1]
        height = 0.45 * self.thickness_mm / grid.spacing_mm[0]
        white = gaussian_filter(random.standard_normal(scene.shape), (height, blur, blur))
        noise = white - 0.6 * gaussian_filter(white, (0.0, 1.7 * blur, 1.7 * blur))  # filtered back-projection: no lows
        return np.asarray(gaussian_filter(scene, (0.3, blur, blur)) + self.noise_hu / noise.std() * noise)


def scanner_of(scan: Scan) -> Scanner:
    """Return the scan's scanner: a smooth or sharp kernel, and more noise for sharp kernels and thin slices."""
    random = np.random.Generator(np.random.PCG64(list(hashlib.sha256(scan.series_uid.encode()).digest())))
    blur = random.uniform(0.45, 0.72)
    noise = 12 * (32 / 12) ** random.random() * (0.55 / blur) * (2.5 / scan.slice_thickness_mm) ** 0.5
    return Scanner(blur, noise, scan.slice_thickness_mm)
