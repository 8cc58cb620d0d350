from dataclasses import replace

import numpy as np
import pytest
from scipy.ndimage import label

from datasets.lidc.geometry import crop_of
from datasets.lidc.nodules import Nodule
from datasets.lidc.phantom.anatomy import outward
from datasets.lidc.phantom.render import render, volumes

UNSEEN = ("subtlety", "sphericity")


def rated(nodule: Nodule, **ratings: int) -> Nodule:
    """Return the nodule with other ratings by all its readers."""
    given = {name.replace("_", " "): value for name, value in ratings.items()}
    readings = tuple(replace(reading, ratings={**reading.ratings, **given}) for reading in nodule.readings)
    return Nodule(nodule.scan, readings)


@pytest.fixture(scope="module")
def ball(square):
    """A round smooth solid nodule of about 13 mm, in slices of 1.25 mm."""
    squares = [
        (30 + k, 200 - edge // 2, 130 - edge // 2, edge) for k, edge in enumerate([9, 15, 19, 19, 21, 19, 19, 15, 9])
    ]
    return square(squares, thickness=1.25, spacing=0.6, spiculation=1, lobulation=1)


@pytest.fixture(scope="module")
def sample(nodules):
    return nodules[3::60]


@pytest.fixture(scope="module")
def rendered(sample):
    return volumes(sample)


def core(volume):
    return volume[12:20, 12:20, 12:20].astype(float)


def test_malignancy_subtlety_and_sphericity_are_never_looked_at(sample):
    for nodule in sample[:4]:
        for score in range(1, 6):
            other = tuple(replace(reading, malignancy=score) for reading in nodule.readings)
            np.testing.assert_array_equal(render(Nodule(nodule.scan, other)), render(nodule))
        np.testing.assert_array_equal(render(rated(nodule, **dict.fromkeys(UNSEEN, 2))), render(nodule))


def test_a_nodule_looks_the_same_in_any_company(sample, rendered):
    again = volumes(sample[5:2:-1])
    np.testing.assert_array_equal(again, rendered[5:2:-1])
    assert len({volume.tobytes() for volume in rendered}) == len(sample)


def test_values_are_hounsfield_units_of_a_chest(rendered):
    assert rendered.dtype == np.int16 and rendered.shape[1:] == (32, 32, 32)
    assert rendered.min() >= -1024 and rendered.max() <= 3071
    lung = np.array([np.median(volume[volume < -600]) for volume in rendered])
    assert abs(np.median(lung) + 850) < 25 and (-960 < lung).all() and (lung < -640).all()
    assert np.ptp(np.quantile(lung, [0.1, 0.9])) > 60  # lungs differ in how full of air they are


def test_texture_and_calcification_make_density(ball):
    glass, mixed, solid = (core(render(rated(ball, texture=texture))).mean() for texture in (1, 3, 5))
    assert -720 < glass < -540 < mixed < solid and -40 < solid < 120
    for pattern in range(1, 6):
        calcified = core(render(rated(ball, calcification=pattern)))
        assert calcified.max() > core(render(ball)).max() + 100, pattern
    assert core(render(rated(ball, calcification=3))).mean() > solid + 200


def test_a_vague_margin_is_a_softer_edge(ball):
    def steepest(volume):
        return np.abs(np.diff(volume[14:18].astype(float), axis=2)).max(axis=2).mean()

    sharp, vague = (steepest(render(rated(ball, margin=margin))) for margin in (5, 1))
    assert sharp > 1.3 * vague


def test_the_nodule_lies_where_it_was_outlined(square):
    # A large square below a small one that is displaced to later rows and still later columns.
    nodule = square(
        [(30, 100, 100, 17), (31, 100, 100, 17), (32, 100, 100, 17), (34, 118, 124, 9), (35, 118, 124, 9)],
        thickness=2.0,
        spacing=0.7,
    )
    crop, volume = crop_of(nodule), render(nodule)
    for z, row, column in [(31, 108, 108), (34.5, 122, 128)]:
        place = np.array([-100 + 2.0 * z, 0.7 * row, 0.7 * column])
        k, i, j = np.rint((place - crop.centre_mm) / crop.voxel_mm + 15.5).astype(int)
        assert volume[k, i, j] > -250
        assert volume[k, j, i] < -500 or abs(i - j) < 3
    empty = np.array([-100 + 2.0 * 34.5, 0.7 * 108, 0.7 * 108])
    assert volume[tuple(np.rint((empty - crop.centre_mm) / crop.voxel_mm + 15.5).astype(int))] < -500


def test_the_nodule_is_one_bright_thing_in_the_middle(sample, rendered):
    for nodule, volume in zip(sample, rendered, strict=True):
        if nodule.rating("texture") == 5 and nodule.diameter_mm > 6:
            parts, _ = label(volume > -500)
            middle = parts[11:21, 11:21, 11:21]
            assert (middle > 0).mean() > 0.3, nodule.id


def test_the_wall_is_on_the_nodules_own_side(square):
    right = crop_of(square([(30, 256, 40, 9)], spacing=0.7))
    left = crop_of(square([(30, 256, 470, 9)], spacing=0.7))
    scan = square([(30, 256, 40, 9)], spacing=0.7).scan
    assert outward(right, scan)[0][2] < -0.9 and outward(left, scan)[0][2] > 0.9
