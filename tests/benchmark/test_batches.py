from collections import Counter

import numpy as np
import pytest
import torch

from benchmark.batches import batch_of, epoch_batches, to_images, turn
from benchmark.contracts import Batch
from benchmark.recipe import Recipe
from fakes import make_batch, make_cohort

CPU = torch.device("cpu")
RECIPE = Recipe(batch_size=8)


def data(n: int = 20) -> Batch:
    """Every image has its own voxels; each column of a row is a function of its number."""
    images = torch.arange(n * 64, dtype=torch.float32).reshape(n, 4, 4, 4) / 64
    number = torch.arange(n)
    column = number[:, None].float()
    return Batch(images, number, 2 * column, column > 9, 3 * column, 4 * number.float())


def epoch(seed: int, n: int = 20, **recipe: object) -> list[Batch]:
    settings = vars(RECIPE) | recipe
    return list(epoch_batches(data(n), Recipe(**settings), torch.Generator().manual_seed(seed)))


def numbers(batches: list[Batch]) -> list[int]:
    return torch.cat([batch.labels for batch in batches]).tolist()


def test_hounsfield_units_become_clipped_intensities():
    volumes = np.array([-2000, -1000, -300, 400, 900, 0, 0, 0], dtype=np.int16).reshape(1, 2, 2, 2)
    images = to_images(volumes, (-1000.0, 400.0), CPU).flatten()
    assert images[:5].tolist() == pytest.approx([0, 0, 0.5, 1, 1])
    assert images.dtype == torch.float32
    assert volumes.flatten()[0] == -2000  # the cohort itself stays as it is


def test_a_batch_holds_each_rows_own_columns():
    cohort = make_cohort()
    rows = np.array([3, 0, 7])
    batch = batch_of(cohort, rows, np.array([2, 0, 1]), (-1000.0, 400.0), CPU)
    assert batch.labels.tolist() == [2, 0, 1]
    for at, row in enumerate(rows):
        np.testing.assert_allclose(batch.images[at], (cohort.volumes[row] + 1000.0) / 1400, atol=1e-6)
        np.testing.assert_allclose(batch.attributes[at], cohort.ratings[row], rtol=1e-6)
        np.testing.assert_allclose(batch.malignancy[at], cohort.reader_malignancy[row], rtol=1e-6)
        assert batch.diameter_mm[at].item() == pytest.approx(cohort.diameter_mm[row], rel=1e-6)
        assert batch.trusted[at].tolist() == cohort.trusted[row].tolist()
    assert {t.dtype for t in (batch.images, batch.attributes, batch.malignancy, batch.diameter_mm)} == {torch.float32}


def test_the_sixteen_turns_are_sixteen_different_arrangements():
    cube = torch.arange(27.0).reshape(1, 3, 3, 3)
    turned = [turn(cube, code) for code in range(16)]
    assert len({tuple(t.flatten().tolist()) for t in turned}) == 16
    assert all(t.flatten().sort().values.equal(cube.flatten()) for t in turned)
    centre_column = cube[0, :, 1, 1]
    assert all(t[0, :, 1, 1].sort().values.equal(centre_column) for t in turned)  # slices stay slices


@pytest.mark.parametrize(("code", "axis"), [(1, 0), (2, 1), (4, 2)])
def test_each_mirror_bit_mirrors_its_own_axis(code, axis):
    cube = torch.arange(27.0).reshape(1, 3, 3, 3)
    assert turn(cube, code)[0].equal(cube[0].flip(axis))


def test_bit_3_swaps_rows_and_columns_and_zero_does_nothing():
    cube = torch.arange(27.0).reshape(1, 3, 3, 3)
    assert turn(cube, 8)[0].equal(cube[0].mT) and turn(cube, 0).equal(cube)


def test_an_epoch_shows_whole_batches_and_no_nodule_twice():
    batches = epoch(3)
    assert [len(batch) for batch in batches] == [8, 8]
    assert len(set(numbers(batches))) == 16


def test_a_batch_as_large_as_the_data_shows_all_of_it():
    assert sorted(numbers(epoch(3, batch_size=20))) == list(range(20))
    assert [len(batch) for batch in epoch(3, batch_size=10)] == [10, 10]


@pytest.mark.parametrize(("n", "size", "batches"), [(6, 3, 2), (5, 3, 1), (7, 3, 2), (9, 3, 3), (8, 8, 1)])
@pytest.mark.parametrize("augment", [True, False])
def test_only_whole_batches_are_shown_and_all_of_them(n, size, batches, augment):
    assert [len(batch) for batch in epoch(0, n=n, batch_size=size, augment=augment)] == [size] * batches


def test_fewer_nodules_than_a_batch_make_one_batch():
    assert [len(batch) for batch in epoch(0, n=5)] == [5]


@pytest.mark.parametrize("augment", [True, False])
def test_every_column_of_a_batch_follows_its_own_nodule(augment):
    for batch in epoch(3, augment=augment):
        number = batch.labels.float()
        assert batch.attributes[:, 0].equal(2 * number) and batch.malignancy[:, 0].equal(3 * number)
        assert batch.diameter_mm.equal(4 * number) and batch.trusted[:, 0].equal(number > 9)
        assert batch.images.amin(dim=(1, 2, 3)).equal(number)  # the image's own voxels, however turned


def test_nodules_come_in_another_order_each_epoch_and_the_same_for_one_seed():
    generator = torch.Generator().manual_seed(3)
    first, second = (numbers(list(epoch_batches(data(), RECIPE, generator))) for _ in range(2))
    assert first != second and first != sorted(first)
    assert numbers(epoch(3)) == first


@pytest.mark.parametrize("augment", [True, False])
def test_other_nodules_meet_in_a_batch_each_epoch(augment):
    generator = torch.Generator().manual_seed(3)
    recipe = Recipe(batch_size=10, augment=augment)
    met = [frozenset(next(iter(epoch_batches(data(), recipe, generator))).labels.tolist()) for _ in range(5)]
    assert len(set(met)) == 5 and frozenset(range(10)) not in met


def test_augmentation_turns_images_all_sixteen_ways_and_its_absence_leaves_them_alone():
    seen = set()
    whole = data(320)
    for batch in epoch_batches(whole, Recipe(batch_size=320), torch.Generator().manual_seed(0)):
        for image, number in zip(batch.images, batch.labels, strict=True):
            codes = [code for code in range(16) if turn(whole.images[number][None], code)[0].equal(image)]
            assert len(codes) == 1
            seen.add(codes[0])
    assert seen == set(range(16))
    for batch in epoch(3, augment=False):
        assert batch.images.equal(data().images[batch.labels])


def test_every_turn_is_as_likely_as_every_other():
    images = torch.arange(27.0).reshape(1, 3, 3, 3).expand(3200, 3, 3, 3)
    whole = make_batch(images, torch.zeros(3200, dtype=torch.long))
    (batch,) = epoch_batches(whole, Recipe(batch_size=3200), torch.Generator().manual_seed(0))
    counts = Counter(tuple(image.flatten().tolist()) for image in batch.images)
    assert len(counts) == 16 and max(counts.values()) < 270  # 200 expected, and 14 the standard deviation


def test_a_nodule_is_turned_another_way_in_another_epoch():
    generator = torch.Generator().manual_seed(0)
    recipe = Recipe(batch_size=20)
    epochs = [next(iter(epoch_batches(data(), recipe, generator))) for _ in range(2)]
    images = [batch.images[batch.labels.argsort()] for batch in epochs]
    assert not images[0].equal(images[1])
