from dataclasses import replace

import numpy as np
import pytest
from scipy.ndimage import distance_transform_edt

from datasets import crops
from datasets.lidc.geometry import crop_of, grid_of
from datasets.lidc.nodules import Nodule
from datasets.lidc.phantom import masks, structures
from datasets.lidc.phantom.anatomy import lung
from datasets.lidc.phantom.render import render, tissue


@pytest.fixture(scope="module")
def rated(square):
    """Build a ball of about 13 mm with some ratings; a list gives each reader's."""
    squares = [
        (30 + k, 200 - edge // 2, 130 - edge // 2, edge) for k, edge in enumerate([9, 15, 19, 19, 21, 19, 19, 15, 9])
    ]

    def build(**ratings) -> Nodule:
        given = {"spiculation": 1, "lobulation": 1, "internal structure": 1}
        given |= {name.replace("_", " "): value for name, value in ratings.items()}
        lists = [value for value in given.values() if isinstance(value, list)]
        nodule = square(*[squares] * (len(lists[0]) if lists else 1), thickness=1.25, spacing=0.6)
        readings = tuple(
            replace(
                reading,
                ratings={**reading.ratings, **{k: v[n] if isinstance(v, list) else v for k, v in given.items()}},
            )
            for n, reading in enumerate(nodule.readings)
        )
        return Nodule(nodule.scan, readings)

    return build


@pytest.fixture(scope="module")
def place(rated):
    """The grid around the ball and its mask."""
    nodule = rated()
    box = crops.box_of(crop_of(nodule), grid_of(nodule.scan), 3)
    return grid_of(nodule.scan).part(box), masks.consensus(nodule, box)


@pytest.fixture(scope="module")
def deep(place):
    grid, mask = place
    depth = distance_transform_edt(mask, sampling=grid.spacing_mm)
    return depth / depth.max()


def draws(count=40):
    return (np.random.default_rng(seed) for seed in range(count))


def test_more_spiculation_gives_more_spicules(rated, place):
    grid, mask = place
    counts = [
        np.mean([len(structures.spicules(random, rated(spiculation=rating), mask, grid)) for random in draws()])
        for rating in (1, 2, 3, 5)
    ]
    assert counts[0] < 1 < counts[1] < counts[2] < counts[3]
    assert counts[3] == pytest.approx(0.5 + 4 * structures.SPICULES, rel=0.1)


def test_spicules_leave_the_surface_outwards_and_taper(rated, place):
    grid, mask = place
    middle = crop_of(rated()).centre_mm
    tubes = structures.spicules(np.random.default_rng(0), rated(spiculation=5), mask, grid)
    start, tip = (np.array([np.linalg.norm(tube.nodes_mm[end] - middle) for tube in tubes]) for end in (0, -1))
    assert (tip > start).mean() > 0.95 and np.median(start) < 7 < np.median(tip) < 15
    assert all((np.diff(tube.radius_mm) < 0).all() for tube in tubes)


def test_spicules_show_in_the_lung(rated, place):
    grid, mask = place
    nodule, out = rated(spiculation=5), np.array([0.0, 0.0, 1.0])
    tubes = structures.spicules(np.random.default_rng(0), nodule, mask, grid)
    bare, strewn = (
        lung(np.random.default_rng(1), crop_of(nodule), grid, 1.25, out, strands) for strands in ([], tubes)
    )
    added = strewn - bare
    near = distance_transform_edt(~mask, sampling=grid.spacing_mm)
    assert added.min() == 0 and 0.02 < (added[(near > 0) & (near < 4)] > 200).mean() < 0.5
    assert added[near > 12].max() < 50


def moved(nodule: Nodule, number: int) -> Nodule:
    """Return the nodule with other random numbers."""
    return Nodule(nodule.scan, tuple(replace(reading, id=reading.id + 10 * number) for reading in nodule.readings))


def test_more_lobulation_gives_more_bulges_and_none_takes_away(rated, place):
    grid, mask = place
    sizes = []
    for rating in (1, 3, 5):
        grown = [structures.lobed(random, rated(lobulation=rating), mask, grid) for random in draws(20)]
        assert all((one | mask == one).all() for one in grown)
        sizes.append(np.mean([one.sum() for one in grown]))
    assert sizes[0] == mask.sum() < sizes[1] < sizes[2] < 1.6 * mask.sum()


def test_air_shows_in_a_nodule_in_which_all_readers_see_it(rated, place, deep):
    grid, mask = place
    nodule = rated(internal_structure=4)
    darkest = [tissue(random, nodule, mask, grid)[deep > 0.3].min() for random in draws(20)]
    assert max(darkest) < -600
    solid = [tissue(random, rated(), mask, grid)[deep > 0.3].min() for random in draws(20)]
    assert min(solid) > -300
    shares = [structures.air(random, nodule, deep, grid)[deep > 0].mean() for random in draws(40)]
    assert 0 < min(shares) < 0.12 < max(shares) < 0.7  # bronchi and cavities
    airy, full = ([render(moved(one, n))[13:19, 13:19, 13:19].min() for n in range(12)] for one in (nodule, rated()))
    assert np.median(airy) < -500 and np.median(full) > -250


@pytest.mark.parametrize("inside", [1, 2, 3])
def test_no_other_internal_structure_is_air(rated, place, deep, inside):
    grid, _ = place
    assert not any(structures.air(random, rated(internal_structure=inside), deep, grid).any() for random in draws(10))


def test_some_readers_make_air_and_calcium_as_likely_as_they_are_many(rated, place, deep):
    grid, _ = place
    one_of_four = rated(internal_structure=[4, 1, 1, 1], calcification=[3, 6, 6, 6])
    for made in (structures.air, structures.calcification):
        there = [made(random, one_of_four, deep, grid).any() for random in draws(200)]
        assert np.mean(there) == pytest.approx(0.25, abs=0.1)


def test_calcium_has_the_pattern_that_most_readers_see(rated, place, deep):
    grid, mask = place

    def made(**ratings):
        return [structures.calcification(random, rated(**ratings), deep, grid) for random in draws(10)]

    assert not any(calcium.any() for calcium in made(calcification=6))
    for solid, central in zip(made(calcification=[3, 3, 5]), made(calcification=[5, 5, 3]), strict=True):
        rim = (deep > 0.1) & (deep < 0.3)
        assert solid[rim].max() > 0 == central[rim].max()
        assert 200 <= solid.max() <= 2400 and solid[~mask].max() == 0


def test_a_part_solid_nodule_has_a_dense_core_in_ground_glass(rated, place, deep):
    grid, mask = place
    made = [tissue(random, rated(texture=3), mask, grid) for random in draws(10)]
    core, rim = (np.mean([one[where].mean() for one in made]) for where in (deep > 0.7, mask & (deep < 0.25)))
    assert rim < -400 and core > rim + 300
