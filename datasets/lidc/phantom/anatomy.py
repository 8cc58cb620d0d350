"""Anatomy: the chest around a phantom nodule, in Hounsfield units: lung, vessels, chest wall.

The numbers are ours, chosen to look like chest CT of adults and compared with a real scan; nothing is fitted to
labels. Where the lung ends is a guess from the nodule's real place in the image.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Float
from scipy.ndimage import gaussian_filter

from datasets.crops import Crop, Grid
from datasets.lidc.geometry import IMAGE_PIXELS
from datasets.lidc.readings import Scan

LUNG_HU, BLOOD_HU = -890.0, 45.0  # lungs are denser than this by as much as they are less full of air
FAT_HU, MUSCLE_HU, CORTEX_HU, MARROW_HU = -95.0, 50.0, 700.0, 250.0

# A lung seen from above is an ellipse, this far aside of and behind the middle of the image.
LUNG_ASIDE_MM, LUNG_BEHIND_MM = 78.0, 20.0
LUNG_HALF_WIDTH_MM, LUNG_HALF_DEPTH_MM = 64.0, 88.0
WALL_RADIUS_MM = 90.0  # of the pleura's curve
SLAB_STEP_MM = 0.8  # vessels are averaged over a slice's thickness in steps of about this

Volume = Float[np.ndarray, "slices rows columns"]
Vector = Float[np.ndarray, "3"]


@dataclass(frozen=True)
class Tube:
    """A vessel or a rib: a polyline through nodes, with a radius at each."""

    nodes_mm: Float[np.ndarray, "nodes 3"]
    radius_mm: Float[np.ndarray, " nodes"]


def chest(
    random: np.random.Generator,
    crop: Crop,
    grid: Grid,
    scan: Scan,
    mask: Bool[np.ndarray, "slices rows columns"],
    strands: Sequence[Tube] = (),
) -> Volume:
    """Return the chest without the nodule at the points of `grid`; its wall leans on `mask` at most.

    Args:
        random: Draws it.
        crop: Around the nodule.
        grid: Where.
        scan: Its field of view and slices.
        mask: The nodule.
        strands: What leaves the nodule for the lung.
    """
    out, share = outward(crop, scan)
    scene = lung(random, crop, grid, scan.slice_thickness_mm, out, strands)
    for _ in range(1 + (random.random() < 0.15)):  # in a corner there are two
        # Where the lung ends is a guess, and other soft tissue may be nearer: heart, diaphragm, a large vessel.
        aside = unit(2.5 * share * out + np.array([0.6, 1.0, 1.0]) * random.standard_normal(3))
        nodule = project(grid, crop.centre_mm, aside)[mask]
        attached = np.quantile(nodule, random.uniform(0.75, 1.0))  # as far as it may lean on the wall
        far = random.exponential(max(36 - 12 * share, 12)) if random.random() > 0.1 else 0.0
        hu, behind = wall(random, crop, grid, aside, max(float(attached), far))
        scene = scene + behind * (hu - scene)
    return np.asarray(scene)


def outward(crop: Crop, scan: Scan) -> tuple[Vector, float]:
    """Return the axial direction from the lung's middle to the nodule, and the share of the way to the wall."""
    middle = scan.pixel_spacing_mm * (IMAGE_PIXELS - 1) / 2
    _, y, x = crop.centre_mm - middle
    aside = np.copysign(LUNG_ASIDE_MM, x)
    out = np.array([0.0, (y - LUNG_BEHIND_MM) / LUNG_HALF_DEPTH_MM, (x - aside) / LUNG_HALF_WIDTH_MM])
    share = float(np.sqrt((out**2).sum()))
    return out / share, share


def lung(
    random: np.random.Generator, crop: Crop, grid: Grid, thickness_mm: float, out: Vector, strands: Sequence[Tube]
) -> Volume:
    """Return mottled parenchyma with vessels and strands, each slice the mean over its thickness."""
    steps = max(1, round(thickness_mm / SLAB_STEP_MM))
    within = thickness_mm * ((np.arange(steps) + 0.5) / steps - 0.5)
    slabs = Grid((grid.slice_mm[:, None] + within).ravel(), grid.row_mm, grid.column_mm)
    blood = np.zeros(slabs.shape)
    for vessel in [*vessels(random, crop, out), *strands]:
        paint(vessel, blood, slabs, grid.spacing_mm[1])
    blood = blood.reshape(-1, steps, *slabs.shape[1:]).mean(axis=1)
    air = LUNG_HU + 28 * random.standard_normal() + random.gamma(1.0, 37)
    air = air + 26 * grain(random, grid, 2.4) + 20 * grain(random, grid, 0.8)
    return np.asarray(air + blood * (BLOOD_HU + 30 * random.standard_normal() - air))


def vessels(random: np.random.Generator, crop: Crop, out: Vector) -> list[Tube]:
    """Return vessels through the crop, running outwards more often than not, thin ones far more often than thick.

    Some lead to the nodule itself.
    """
    reach = 0.9 * crop.side_mm
    tubes = []
    for _ in range(random.poisson(0.7 + 0.02 * reach**2)):
        direction = unit(out + random.standard_normal(3))
        start = crop.centre_mm + crop.side_mm * (random.random(3) - 0.5) - reach * direction
        radius = min(0.3 * (1 - random.random()) ** -0.45, 0.3 + 0.09 * crop.side_mm, 2.6)
        tubes += branches(random, start, direction, 2 * reach, radius)
    for _ in range(random.poisson(0.7)):
        radius = random.uniform(0.25, 0.4 + 0.04 * crop.side_mm)
        away = unit(random.standard_normal(3))
        tubes += branches(random, crop.centre_mm + 0.2 * crop.side_mm * away, away, reach, min(radius, 1.6))
    return tubes


def branches(
    random: np.random.Generator, start: Vector, direction: Vector, length_mm: float, radius_mm: float, nodes: int = 6
) -> list[Tube]:
    """Return a wandering, tapering vessel and the smaller ones that leave it."""
    steps = direction + np.cumsum(0.16 * random.standard_normal((nodes - 1, 3)), axis=0)
    path = start + length_mm / (nodes - 1) * np.concatenate([np.zeros((1, 3)), np.cumsum(steps, axis=0)])
    radius = radius_mm * np.linspace(1.25, 0.75, nodes)
    tubes = [Tube(path, radius)]
    if radius_mm > 0.4:
        for node in np.flatnonzero(random.random(nodes - 1) < 0.35):
            aside = unit(steps[node] + 0.9 * random.standard_normal(3))
            tubes += branches(random, path[node], aside, 0.6 * length_mm, 0.6 * radius[node], nodes)
    return tubes


def wall(random: np.random.Generator, crop: Crop, grid: Grid, out: Vector, pleura_mm: float) -> tuple[Volume, Volume]:
    """Return the chest wall's density, and the share of each voxel that lies behind the pleura.

    Args:
        random: Draws its tilt, fat and rib.
        crop: Its centre is the origin.
        grid: Where.
        out: Axial direction of the wall.
        pleura_mm: Distance from the origin to the pleura, which curves around the lung.
    """
    normal = unit(out + np.array([0.25 * random.standard_normal(), 0.0, 0.0]))
    depth = project(grid, crop.centre_mm, normal)
    aside = sum(offset**2 for offset in grid.offsets(crop.centre_mm)) - depth**2
    depth = depth + aside / (2 * WALL_RADIUS_MM) - pleura_mm
    behind = smoothstep(depth / grid.spacing_mm[1] + 0.5)
    if not behind.any():
        return behind, behind

    layers = grain(random, grid, 2.0)
    fat = smoothstep((depth - 2.5 + 1.5 * layers) / 1.5) * smoothstep((7 - depth + 2 * layers) / 2)
    hu = MUSCLE_HU + fat * (FAT_HU - MUSCLE_HU)

    rise, tilt, radius = 12 * random.standard_normal(), 0.35 * random.standard_normal(), random.uniform(4, 6)
    spot = crop.centre_mm + (pleura_mm + 6) * normal + np.array([rise, 0.0, 0.0])
    along = 80 * np.array([tilt, -normal[2], normal[1]])
    bone, marrow = np.zeros(grid.shape), np.zeros(grid.shape)
    for part, inner in ((bone, radius), (marrow, radius - 1.5)):
        paint(Tube(np.stack([spot - along, spot + along]), np.full(2, inner)), part, grid, 1.5)
    hu = hu + bone * (CORTEX_HU + marrow * (MARROW_HU - CORTEX_HU) - hu)
    return hu, behind


def paint(tube: Tube, coverage: Volume, grid: Grid, soft_mm: float) -> None:
    """Raise `coverage` to the share of each voxel that the tube fills; its border is `soft_mm` wide."""
    for node in range(len(tube.nodes_mm) - 1):
        start, end = tube.nodes_mm[node : node + 2]
        first, last = tube.radius_mm[node : node + 2]
        reach = max(first, last) + soft_mm / 2
        bounds = zip(grid.axes, np.minimum(start, end) - reach, np.maximum(start, end) + reach, strict=True)
        near = [np.flatnonzero((axis >= low) & (axis <= high)) for axis, low, high in bounds]
        if not all(map(len, near)):
            continue
        z, y, x = Grid(*(axis[index] for axis, index in zip(grid.axes, near, strict=True))).offsets(start)
        u, v, w = end - start
        along = np.clip((z * u + y * v + x * w) / (u * u + v * v + w * w), 0.0, 1.0)
        distance = np.sqrt((z - along * u) ** 2 + (y - along * v) ** 2 + (x - along * w) ** 2)
        share = np.clip((first + along * (last - first) - distance) / soft_mm + 0.5, 0.0, 1.0)
        share *= min(1.0, 2 * first / soft_mm) ** 1.5  # a tube thinner than a voxel never fills one
        where = np.ix_(*near)
        coverage[where] = np.maximum(coverage[where], share)


def grain(random: np.random.Generator, grid: Grid, sigma_mm: float) -> Volume:
    """Return Gaussian noise of unit variance at the grid's points, smoothed by a Gaussian of `sigma_mm`."""
    return correlated(random, grid.shape, (sigma_mm / grid.spacing_mm).tolist())


def correlated(random: np.random.Generator, shape: tuple[int, ...], widths: Sequence[float]) -> Volume:
    """Return Gaussian noise of unit variance, smoothed by a Gaussian of these widths in voxels (0: not at all)."""
    shrink = 1.0
    for width in filter(None, widths):
        taps = np.arange(-int(4 * width + 0.5), int(4 * width + 0.5) + 1)  # scipy's kernel
        kernel = np.exp(-0.5 * (taps / width) ** 2)
        shrink *= float(np.sqrt((kernel**2).sum()) / kernel.sum())
    return np.asarray(gaussian_filter(random.standard_normal(shape), widths) / shrink)


def smoothstep(x: Volume) -> Volume:
    """Rise smoothly from 0 at x <= 0 to 1 at x >= 1."""
    x = np.clip(x, 0.0, 1.0)
    return np.asarray(x * x * (3 - 2 * x))


def project(grid: Grid, origin_mm: Vector, direction: Vector) -> Volume:
    """Return how far each grid point lies from the origin along a direction."""
    return np.asarray(sum(d * offset for d, offset in zip(direction, grid.offsets(origin_mm), strict=True)))


def unit(vector: Vector) -> Vector:
    """Return the vector at length 1."""
    return np.asarray(vector / np.sqrt((vector**2).sum()))
