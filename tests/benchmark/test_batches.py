from collections import Counter

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from benchmark import voxels
from benchmark.batches import Nodules, Part, epoch_batches, part_of
from benchmark.contracts import Batch
from benchmark.recipe import Recipe
from benchmark.voxels import Voxels, place
from fakes import make_batch, make_cohort
from turns import turn

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


WINDOW = (-1000.0, 400.0)


def part(n: int = 20) -> Part:
    """Nodules of a cohort of twice as many, each with its own voxels, whose number is the label."""
    cohort = make_cohort(2 * n)
    return part_of(cohort, place(cohort.volumes, CPU, WINDOW), np.arange(1, 2 * n, 2), np.arange(n))


def test_a_part_of_a_cohort_gives_each_rows_own_columns():
    cohort = make_cohort()
    rows = np.array([9, 3, 0, 7])
    whole = part_of(cohort, place(cohort.volumes, CPU, WINDOW), rows, np.array([1, 2, 0, 1]))
    batch = whole[torch.tensor([1, 2, 3])]
    assert len(whole) == 4 and batch.labels.tolist() == [2, 0, 1]
    for at, row in enumerate(rows[1:]):
        np.testing.assert_allclose(batch.images[at], (cohort.volumes[row] + 1000.0) / 1400, atol=1e-6)
        np.testing.assert_allclose(batch.attributes[at], cohort.ratings[row], rtol=1e-6)
        np.testing.assert_allclose(batch.malignancy[at], cohort.reader_malignancy[row], rtol=1e-6)
        assert batch.diameter_mm[at].item() == pytest.approx(cohort.diameter_mm[row], rel=1e-6)
        assert batch.trusted[at].tolist() == cohort.trusted[row].tolist()
    assert {t.dtype for t in (batch.images, batch.attributes, batch.malignancy, batch.diameter_mm)} == {torch.float32}


def test_a_part_of_a_cohort_is_read_in_order_and_holds_no_voxels_of_its_own():
    whole = part()
    assert [batch.labels.tolist() for batch in whole.split(8)] == [[*range(8)], [*range(8, 16)], [*range(16, 20)]]
    images = torch.cat([batch.images for batch in whole.split(8)])
    for rows in (torch.arange(20), slice(None)):
        assert whole[rows].images.equal(images)
    whole.voxels.kept[:] = 1
    assert (whole[0:3].images == 1).all()


def test_the_sixteen_turns_are_sixteen_different_arrangements():
    cube = torch.arange(27.0).reshape(1, 3, 3, 3)
    turns = [turn(cube, code) for code in range(16)]
    assert len({tuple(t.flatten().tolist()) for t in turns}) == 16
    centre_column = cube[0, :, 1, 1]
    assert all(t[0, :, 1, 1].sort().values.equal(centre_column) for t in turns)  # slices stay slices


def test_a_part_of_a_cohort_and_a_batch_give_the_same_epoch():
    whole = part(40)
    batch = whole[:]
    assert isinstance(whole, Nodules) and isinstance(batch, Nodules)
    for augment in (True, False):
        recipe = Recipe(batch_size=16, augment=augment)
        epochs = [epoch_batches(data, recipe, torch.Generator().manual_seed(4)) for data in (whole, batch)]
        for one, other in zip(*epochs, strict=True):
            assert all(a.equal(b) for a, b in zip(vars(one).values(), vars(other).values(), strict=True))


@given(st.integers(0, 2**32 - 1))
def test_labels_and_ratings_stay_with_their_image(seed):
    whole = part()
    images, columns = whole[:].images, whole[:]
    for batch in epoch_batches(whole, RECIPE, torch.Generator().manual_seed(seed)):
        for at, number in enumerate(batch.labels):
            assert any(turn(images[number][None], code)[0].equal(batch.images[at]) for code in range(16))
            for name in ("attributes", "trusted", "malignancy", "diameter_mm"):
                assert getattr(batch, name)[at].equal(getattr(columns, name)[number])


def test_the_order_and_turns_of_a_seed_are_those_that_accepted_numbers_were_made_with():
    generator = torch.Generator().manual_seed(5)
    order, codes = torch.randperm(20, generator=generator), torch.randint(16, (20,), generator=generator)
    for first, batch in zip((0, 8), epoch(5), strict=True):
        code, by = codes[first : first + 8].sort(stable=True)
        rows = order[first : first + 8][by]
        assert batch.labels.equal(rows)
        images = [turn(data().images[row][None], k) for row, k in zip(rows, code.tolist(), strict=True)]
        assert batch.images.equal(torch.cat(images))


def test_making_batches_asks_a_device_for_nothing(monkeypatch):
    """What makes a host wait: reading a tensor of the device. Here all tensors are the CPU's, so calls are counted."""
    read = []
    list(epoch_batches(part(8), RECIPE, torch.Generator()))  # what is made once
    voxels.turned_at_once(part().voxels.kept, *[torch.zeros(1, dtype=torch.long)] * 2)
    for name in ("item", "tolist", "nonzero", "cpu", "__bool__", "__int__"):
        original = getattr(torch.Tensor, name)
        monkeypatch.setattr(
            torch.Tensor, name, lambda self, *given, _o=original, _n=name: (read.append(_n), _o(self, *given))[1]
        )
    monkeypatch.setattr(voxels, "turned", voxels.turned_at_once)  # as on a card
    assert len(list(epoch_batches(part(64), Recipe(batch_size=8), torch.Generator().manual_seed(0)))) == 8
    assert read == []


@pytest.mark.gpu
def test_a_card_gives_the_batches_of_the_cpu_and_never_makes_the_host_wait():
    cohort, card = make_cohort(64), torch.device("cuda")
    mapped = Voxels(torch.from_numpy(cohort.volumes), cohort.volumes.shape[1], WINDOW, card)
    held = [place(cohort.volumes, card, WINDOW), mapped, place(cohort.volumes, CPU, WINDOW)]
    parts = [part_of(cohort, voxels, np.arange(64), np.arange(64)) for voxels in held]
    mode, made = torch.cuda.get_sync_debug_mode(), []
    list(epoch_batches(parts[0], RECIPE, torch.Generator()))  # what is made once
    try:
        torch.cuda.set_sync_debug_mode("error")
        made = [list(epoch_batches(some, RECIPE, torch.Generator().manual_seed(1))) for some in parts]
    finally:
        torch.cuda.set_sync_debug_mode(mode)
    for resident, streamed, ours in zip(*made, strict=True):
        assert resident.images.device.type == streamed.labels.device.type == "cuda"
        for a, b, c in zip(*(vars(batch).values() for batch in (resident, streamed, ours)), strict=True):
            assert a.cpu().equal(c) and b.cpu().equal(c)


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
