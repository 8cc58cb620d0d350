"""A nodule's outline stands in its crop where the phantom's nodule stands."""

import numpy as np
import pytest
from scipy.ndimage import binary_dilation, binary_erosion

from benchmark.contracts import InputError
from datasets import crops
from datasets.lidc import outlines as module
from datasets.lidc.geometry import crop_of, grid_of
from datasets.lidc.outlines import outline, outlines
from datasets.lidc.phantom import masks, render, structures


def test_a_block_stands_at_its_place_in_the_crop(square):
    """Axes keep their order and direction: two slices of 4 mm, 15 rows and 7 columns of 0.5 mm."""
    nodule = square([(10, 20, 30, 17), (11, 20, 30, 17)], thickness=4.0)
    for drawn in nodule.readings[0].outlines:
        drawn.points[:, 1] = 30 + (drawn.points[:, 1] - 30) // 2  # half as wide
    crop, grid, inside = crop_of(nodule), grid_of(nodule.scan), outline(nodule)
    block = grid.slice_mm[[10, 11]], grid.row_mm[[21, 35]], grid.column_mm[[31, 37]]  # the drawn pixels are outside
    for number, (ends, step) in enumerate(zip(block, grid.spacing_mm, strict=True)):
        of_axis = inside.any(axis=tuple(other for other in range(3) if other != number))
        found = crop.axes[number][of_axis][[0, -1]]
        np.testing.assert_allclose(found, ends + np.array([-0.5, 0.5]) * step, atol=crop.voxel_mm)


def test_it_is_the_mask_that_the_phantom_is_rendered_from(nodules, monkeypatch):
    made = []
    monkeypatch.setattr(structures, "lobed", lambda random, nodule, mask, grid: made.append((mask, grid)) or mask)
    for nodule in nodules[100::500]:
        render.scanned(nodule)
        mask, grid = made.pop()
        np.testing.assert_array_equal(outline(nodule), crops.resample(mask.astype(float), grid, crop_of(nodule)) >= 0.5)


def test_it_leaves_the_scans_own_mask_by_less_than_a_voxel(nodules):
    for nodule in [nodule for nodule in nodules[7::100] if nodule.diameter_mm < 10]:
        whole, crop = grid_of(nodule.scan), crop_of(nodule)
        box = crops.box_of(crop, whole, 2)
        mask, grid, inside = masks.consensus(nodule, box), whole.part(box), outline(nodule)
        nearest = [np.abs(axis[:, None] - at).argmin(axis=0) for axis, at in zip(grid.axes, crop.axes, strict=True)]
        least, most = (
            change(mask, np.ones((3, 3, 3)))[np.ix_(*nearest)] for change in (binary_erosion, binary_dilation)
        )
        assert inside.any() and (least <= inside).all() and (inside <= most).all()


def test_the_phantom_is_brighter_inside_than_beyond_the_outline(nodules):
    solid = [n for n in nodules if n.rating("texture") == 5 and 8 < n.diameter_mm < 20 and len(n.readings) == 4]
    for nodule in solid[::60]:
        image, inside = render.render(nodule), outline(nodule)
        assert np.median(image[inside]) > np.median(image[~inside]) + 300


def test_ids_are_answered_in_their_order(nodules, monkeypatch):
    chosen = [nodules[40], nodules[3], nodules[4]]
    monkeypatch.setattr(module.readings, "load", lambda: [nodule.scan for nodule in chosen[:2]])
    found = list(outlines([nodule.id for nodule in chosen]))
    assert [mask.shape for mask in found] == [(32, 32, 32)] * 3
    for mask, nodule in zip(found, chosen, strict=True):
        np.testing.assert_array_equal(mask, outline(nodule))


def test_a_nodule_of_another_collection_has_none(nodules, monkeypatch):
    monkeypatch.setattr(module.readings, "load", lambda: [nodules[0].scan])
    with pytest.raises(InputError, match="there is no nodule 'n1' in LIDC-IDRI"):
        list(outlines([nodules[0].id, "n1"]))
