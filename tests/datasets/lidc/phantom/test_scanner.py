from dataclasses import replace

import numpy as np
import pytest

from datasets.crops import Grid
from datasets.lidc.phantom.scanner import LIMITS_HU, Scanner, scanner_of

SMOOTH = Scanner(blur_mm=0.6, lift=0.0, noise_hu=20.0, streaks=1.0, thickness_mm=1.0)


@pytest.fixture
def grid():
    return Grid(1.0 * np.arange(20), 0.5 * np.arange(80), 0.5 * np.arange(80))


def noise(scanner, grid):
    return scanner.image(np.random.default_rng(0), np.zeros(grid.shape), grid)


def differences(image):
    """Return the power of the differences between neighbouring rows and between neighbouring columns."""
    return (np.diff(image, axis=1) ** 2).mean(), (np.diff(image, axis=2) ** 2).mean()


@pytest.mark.parametrize("columns", [79, 80])
@pytest.mark.parametrize("hu", [5.0, 40.0])
def test_noise_has_its_level_on_any_grid(grid, columns, hu):
    image = noise(replace(SMOOTH, noise_hu=hu), Grid(grid.slice_mm, grid.row_mm, grid.column_mm[:columns]))
    assert image.std() == pytest.approx(hu, rel=0.03)
    assert abs(image.mean()) < 1e-9  # filtered back-projection has no noise at frequency zero


def test_noise_is_the_scans_own_grain(grid):
    fine, coarse = (noise(replace(SMOOTH, blur_mm=blur), grid) for blur in (0.3, 0.8))
    neighbours = [(image[:, :, 1:] * image[:, :, :-1]).mean() / image.var() for image in (fine, coarse)]
    assert neighbours[0] < 0.4 < 0.7 < neighbours[1]
    assert (fine[1:] * fine[:-1]).mean() / fine.var() < 0.25


def test_overlapping_slices_share_noise(grid):
    image = noise(replace(SMOOTH, thickness_mm=3.0), grid)
    assert (image[1:] * image[:-1]).mean() / image.var() > 0.6
    assert image.std() == pytest.approx(20, rel=0.1)


def test_rays_from_side_to_side_make_streaks_along_rows(grid):
    even, streaky = (differences(noise(replace(SMOOTH, streaks=streaks), grid)) for streaks in (1.0, 6.0))
    assert even[0] == pytest.approx(even[1], rel=0.1)
    assert streaky[0] > 2 * streaky[1]


def test_a_sharp_kernel_lifts_an_edge_above_both_sides(grid):
    edge = np.zeros(grid.shape)
    edge[:, :, 40:] = 100.0
    random = np.random.default_rng(0)
    smooth, sharp = (
        replace(SMOOTH, noise_hu=0.0, blur_mm=0.35, lift=lift).image(random, edge, grid)[10, 40, 30:50]
        for lift in (0.0, 1.0)
    )
    assert smooth.max() < 100.5 and sharp.max() > 104 and sharp.min() < -4
    assert np.diff(sharp).max() > 1.2 * np.diff(smooth).max()


def test_what_is_uniform_stays_and_what_twelve_bits_cannot_hold_is_cut(grid):
    still = replace(SMOOTH, noise_hu=0.0)
    for hu, shown in [(-850.0, -850.0), (-1500.0, LIMITS_HU[0]), (9000.0, LIMITS_HU[1])]:
        image = still.image(np.random.default_rng(0), np.full(grid.shape, hu), grid)
        np.testing.assert_allclose(image, shown)


def test_a_scan_has_one_scanner(nodules):
    assert scanner_of(nodules[0].scan) == scanner_of(replace(nodules[0].scan, readings=()))
    assert len({scanner_of(nodule.scan) for nodule in nodules[:30]}) == len({n.scan.series_uid for n in nodules[:30]})


def test_thin_slices_and_sharp_kernels_are_noisier_and_levels_range_widely(nodules):
    scan = nodules[0].scan
    thin, thick = (
        [scanner_of(replace(scan, series_uid=str(number), slice_thickness_mm=mm)) for number in range(300)]
        for mm in (1.25, 3.0)
    )
    median = [np.median([one.noise_hu for one in scanners]) for scanners in (thin, thick)]
    assert median[0] > 1.8 * median[1]
    levels = np.quantile([one.noise_hu for one in thin], [0.1, 0.9])
    assert levels[1] > 3 * levels[0]
    sharp = [one.lift > 0 for one in thin]
    assert 0.4 < np.mean(sharp) < 0.8
    assert np.median([one.noise_hu for one in thin if one.lift]) > 1.2 * np.median(
        [one.noise_hu for one in thin if not one.lift]
    )
