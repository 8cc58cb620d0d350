import numpy as np
import pytest

from datasets import crops
from datasets.crops import Crop, Grid


@pytest.fixture
def grid():
    """A scan with uneven slices and pixels that are not square."""
    z = np.cumsum(np.tile([2.5, 1.25, 2.5], 14)) - 50.0
    return Grid(z, 0.7 * np.arange(90), 0.55 * np.arange(100))


def ellipsoid(grid, centre, radii):
    """Return the voxels of an ellipsoid, partly filled at its border."""
    squares = [(offset / radius) ** 2 for offset, radius in zip(grid.offsets(centre), radii, strict=True)]
    return np.clip((1 - np.sqrt(sum(squares))) * min(radii) + 0.5, 0.0, 1.0)


def test_a_linear_field_keeps_its_world_coordinates(grid):
    crop = Crop(np.array([-10.0, 30.0, 25.0]), 20.0)
    z, y, x = grid.offsets(np.zeros(3))
    result = crops.resample(3 * z + 5 * y - 2 * x, grid, crop)
    z, y, x = (axis.reshape(shape) for axis, shape in zip(crop.axes, [(-1, 1, 1), (1, -1, 1), (1, 1, -1)], strict=True))
    # Averaging over a crop voxel where the spacing is uneven keeps a linear field linear.
    np.testing.assert_allclose(result, 3 * z + 5 * y - 2 * x, atol=1e-9)


def test_voxel_centres_are_symmetric_about_the_crops_centre():
    crop = Crop(np.array([1.0, 2.0, 3.0]), 16.0)
    np.testing.assert_allclose(crop.axes.mean(axis=1), [1, 2, 3])
    np.testing.assert_allclose(crop.axes[:, 0], [1 - 7.75, 2 - 7.75, 3 - 7.75])
    assert crop.voxel_mm == 0.5


@pytest.mark.parametrize("side", [9.0, 24.0, 40.0])
def test_an_ellipsoids_place_size_and_axes_come_back(grid, side):
    centre, shift, radii = np.array([-10.0, 30.0, 27.0]), np.array([1.0, -2.0, 3.0]) * side / 40, side / 40 * 10
    radii = radii * np.array([1.0, 0.8, 0.6])
    crop = Crop(centre, side)
    shown = crops.resample(ellipsoid(grid, centre + shift, radii), grid, crop)
    weight = shown.sum()
    found, spread = [], []
    for number, axis in enumerate(crop.axes):
        profile = shown.sum(axis=tuple({0, 1, 2} - {number})) / weight
        found.append(profile @ axis)
        spread.append(np.sqrt(profile @ (axis - found[-1]) ** 2))
    half_voxel = np.maximum(crop.voxel_mm, grid.spacing_mm) / 2
    assert (np.abs(found - centre - shift) < half_voxel).all()
    if side > 10:  # else it is smaller than a slice
        assert spread[0] > spread[1] > spread[2]
        assert weight * crop.voxel_mm**3 == pytest.approx(4 / 3 * np.pi * radii.prod(), rel=0.1)


def test_a_large_crop_averages_instead_of_aliasing():
    grid = Grid(np.arange(128.0), np.arange(128.0), np.arange(128.0))
    checkers = (np.indices((128, 128, 128)).sum(axis=0) % 2) * 2.0 - 1.0
    shown = crops.resample(checkers, grid, Crop(np.full(3, 63.5), 120.0))
    assert np.abs(shown).max() < 0.05


def test_the_box_is_all_that_a_crop_needs(grid):
    volume = np.random.default_rng(0).standard_normal(grid.shape)
    for centre, side in [((-10.0, 30.0, 25.0), 11.0), ((-45.0, 1.0, 50.0), 30.0), ((24.0, 60.0, 3.0), 7.0)]:
        crop = Crop(np.array(centre), side)
        box = crops.box_of(crop, grid)
        part = crops.resample(volume[box], grid.part(box), crop)
        np.testing.assert_allclose(part, crops.resample(volume, grid, crop), atol=1e-9)
        wide = crops.box_of(crop, grid, margin=2)
        for narrow, wider, length in zip(box, wide, grid.shape, strict=True):
            assert wider.start == max(narrow.start - 2, 0) and wider.stop == min(narrow.stop + 2, length)


def test_beyond_the_scan_its_outermost_voxels_repeat(grid):
    volume = np.broadcast_to(np.arange(len(grid.slice_mm))[:, None, None], grid.shape)
    shown = crops.resample(volume, grid, Crop(np.array([grid.slice_mm[-1], 30.0, 25.0]), 10.0))
    np.testing.assert_allclose(shown[16:], len(grid.slice_mm) - 1)
