import numpy as np
import pytest

from datasets.crops import Crop, Grid
from datasets.lidc.phantom import anatomy
from datasets.lidc.phantom.anatomy import Tube


@pytest.fixture
def grid():
    return Grid(1.0 * np.arange(30), 0.5 * np.arange(60), 0.5 * np.arange(60))


def test_a_tube_fills_its_volume(grid):
    coverage = np.zeros(grid.shape)
    anatomy.paint(Tube(np.array([[-5.0, 15, 15], [40.0, 15, 15]]), np.full(2, 3.0)), coverage, grid, 0.5)
    assert coverage.max() == 1
    assert coverage[10].sum() * 0.5**2 == pytest.approx(np.pi * 3.0**2, rel=0.02)


def test_a_tube_runs_from_node_to_node_along_slice_row_column(grid):
    coverage = np.zeros(grid.shape)
    anatomy.paint(Tube(np.array([[5.0, 5, 10], [20.0, 5, 10], [20.0, 25, 10]]), np.full(3, 1.0)), coverage, grid, 0.5)
    assert coverage[12, 10, 20] == 1 and coverage[20, 40, 20] == 1
    assert coverage[12, 40, 20] == 0 and coverage[12, 20, 10] == 0


def test_a_thin_tube_never_fills_a_voxel(grid):
    coverage = np.zeros(grid.shape)
    anatomy.paint(Tube(np.array([[15.0, 15, 0], [15.0, 15, 30]]), np.full(2, 0.1)), coverage, grid, 0.5)
    assert 0 < coverage.max() < 0.3


def test_grain_has_unit_variance_and_its_correlation_in_millimetres(grid):
    grain = anatomy.grain(np.random.default_rng(1), grid, 0.8)
    assert grain.std() == pytest.approx(1, abs=0.1)
    # White noise behind a Gaussian of width s is correlated by exp(-d^2 / 4 s^2).
    assert (grain[:, :, 2:] * grain[:, :, :-2]).mean() == pytest.approx(np.exp(-1 / (4 * 0.64)), abs=0.1)
    assert (grain[1:] * grain[:-1]).mean() == pytest.approx(np.exp(-1 / (4 * 0.64)), abs=0.1)


def test_the_wall_lies_behind_the_pleura(grid):
    crop, out = Crop(np.array([15.0, 15, 15]), 20.0), np.array([0.0, 0.0, 1.0])
    hu, behind = anatomy.wall(np.random.default_rng(0), crop, grid, out, 6.0)
    assert behind[15, 30, 30] == 0 and behind[15, 30, 55] == 1
    assert -150 < hu[behind == 1].min() and hu.max() <= 750


def test_smoothstep_rises_from_zero_to_one():
    steps = anatomy.smoothstep(np.array([[[-1.0, 0.0, 0.5, 1.0, 2.0]]]))
    np.testing.assert_array_equal(steps[0, 0], [0, 0, 0.5, 1, 1])
