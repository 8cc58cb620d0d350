import numpy as np

from datasets.lidc.geometry import crop_of, grid_of


def test_a_nodules_crop_is_twice_its_diameter_around_its_centre(square):
    nodule = square([(10, 20, 30, 5), (11, 20, 30, 5)])
    crop = crop_of(nodule)
    assert crop.side_mm == 2 * nodule.diameter_mm
    np.testing.assert_array_equal(crop.centre_mm, nodule.centre_mm)
    grid = grid_of(nodule.scan)
    assert grid.shape == (60, 512, 512)
    np.testing.assert_allclose(grid.spacing_mm, [2.0, 0.5, 0.5])
