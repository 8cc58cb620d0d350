import subprocess
import sys
from pathlib import Path
from unittest.mock import patch

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from benchmark import voxels
from benchmark.voxels import (
    Voxels,
    images_of,
    moved,
    place,
    placed_once,
    to_images,
    turned_at_once,
    turned_one_by_one,
)
from fakes import make_cohort
from turns import turn

CPU = torch.device("cpu")
WINDOW = (-1000.0, 400.0)


def test_hounsfield_units_become_clipped_intensities():
    hu = torch.tensor([-2000, -1000, -300, 400, 900, 0, 0, 0], dtype=torch.int16).reshape(1, 2, 2, 2)
    images = to_images(hu, (-1000.0, 400.0)).flatten()
    assert images[:5].tolist() == pytest.approx([0, 0, 0.5, 1, 1])
    assert images.dtype == torch.float32
    assert hu.flatten()[0] == -2000  # the cohort itself stays as it is


@pytest.mark.parametrize("window", [(-1000.0, 400.0), (-160.0, 240.5), (-1350.25, 150.0)])
def test_intensities_have_the_bits_of_float32_arithmetic_one_operation_at_a_time(window):
    hu = np.arange(-2048, 3072, dtype=np.int16).reshape(5, 4, 16, 16)
    low, width = np.float32(window[0]), np.float32(window[1] - window[0])
    expected = np.clip((hu.astype(np.float32) - low) / width, 0, 1)
    np.testing.assert_array_equal(to_images(torch.from_numpy(hu), window).numpy(), expected)


def bytes_of(volumes: np.ndarray) -> int:
    """Return what their intensities take."""
    return 2 * volumes.nbytes


def test_rows_are_each_nodules_own_and_of_what_is_mapped_nothing_is_copied_to_hold_it(monkeypatch):
    volumes = make_cohort().volumes
    expected = to_images(torch.from_numpy(volumes[[3, 0]]), WINDOW)
    for room, mapped in ((bytes_of(volumes), False), (bytes_of(volumes) - 1, True)):
        monkeypatch.setattr(voxels, "HELD_BYTES", room)
        placed = place(volumes, CPU, WINDOW)
        assert placed.images(torch.tensor([3, 0])).equal(expected)
        assert (placed.kept.data_ptr() == volumes.ctypes.data) == mapped
        assert placed.kept.dtype == (torch.int16 if mapped else torch.float32)
        assert moved(placed.kept, CPU) is placed.kept


@given(
    st.lists(st.tuples(st.integers(0, 8), st.integers(0, 15)), min_size=1, max_size=20),
    st.integers(1, 4),
    st.integers(1, 4),
    st.sampled_from([torch.int16, torch.float32]),
)
def test_every_crop_is_turned_as_numpy_turns_it_on_the_host_and_as_a_card_does(chosen, slices, side, dtype):
    crops = torch.arange(9 * slices * side * side).to(dtype).reshape(9, slices, side, side)
    rows, turns = (torch.tensor(column) for column in zip(*chosen, strict=True))
    expected = torch.cat([turn(crops[[row]], code) for row, code in chosen])
    assert turned_one_by_one(crops, rows, turns).equal(expected)
    assert turned_at_once(crops, rows, turns).equal(expected)


@given(st.integers(1, 6), st.integers(1, 7), st.lists(st.integers(0, 15), min_size=1, max_size=16))
def test_images_of_the_slices_that_are_seen_have_the_bits_of_whole_crops_however_they_are_turned(depth, slices, codes):
    volumes = np.random.default_rng(depth).integers(-1100, 500, (3, depth, 4, 4)).astype(np.int16)
    rows, turns = torch.arange(len(codes)) % 3, torch.tensor(codes)
    hu = torch.from_numpy(volumes)
    for held in (True, False):
        with patch.object(voxels, "HELD_BYTES", voxels.HELD_BYTES * held):
            seen = place(volumes, CPU, WINDOW, slices)
        assert seen.kept.is_floating_point() == held
        for way in (None, turns):
            whole = hu[rows] if way is None else turned_one_by_one(hu, rows, way)
            images = seen.images(rows, way)
            assert images.equal(images_of(whole, WINDOW, slices)) and images.is_contiguous()
            assert images.shape == (len(codes), min(slices, depth), 4, 4)


@pytest.mark.parametrize(("slices", "first", "kept"), [(1, 15, 2), (2, 15, 2), (3, 14, 4), (32, 0, 32), (33, 0, 32)])
def test_slices_that_are_central_in_no_turn_are_left_where_they_are(monkeypatch, slices, first, kept):
    monkeypatch.setattr(voxels, "HELD_BYTES", 0)
    volumes = np.zeros((2, 32, 4, 4), dtype=np.int16)
    placed = place(volumes, CPU, WINDOW, slices).kept
    assert placed.shape == (2, kept, 4, 4) and placed.data_ptr() == volumes[:, first:].ctypes.data


WARNED = """
import sys, warnings
sys.path.insert(0, sys.argv[1])
import numpy as np, torch
from benchmark import voxels
voxels.HELD_BYTES = 0
warnings.simplefilter("error")
crops = np.zeros((2, 3, 4, 4), dtype=np.int16)
crops.flags.writeable = False
placed = voxels.place(crops, torch.device("cpu"), (-1000.0, 400.0))
assert len(placed.images(torch.tensor([1, 0]), torch.tensor([3, 15]))) == 2
"""


def test_a_file_that_is_mapped_to_be_read_alone_gives_no_warning():
    command = [sys.executable, "-c", WARNED, str(Path(__file__).parents[2])]  # torch warns once in a process
    assert subprocess.run(command, capture_output=True, text=True).stderr == ""


def test_voxels_are_placed_once_for_all_fits_that_are_given_one_cohort():
    cohort, other = make_cohort(), make_cohort(9)
    first = placed_once(cohort, CPU, WINDOW)
    assert placed_once(cohort, CPU, WINDOW) is first
    meta = torch.device("meta")
    assert len(placed_once(other, CPU, WINDOW).kept) == 9 and placed_once(other, meta, WINDOW).device.type == "meta"
    assert placed_once(cohort, CPU, WINDOW).kept.equal(first.kept)
    assert not placed_once(cohort, CPU, (-160.0, 240.0)).kept.equal(first.kept)
    seen = placed_once(cohort, CPU, WINDOW, 2)
    assert seen.kept.equal(first.kept[:, 1:3]) and placed_once(cohort, CPU, WINDOW, 2) is seen
    assert placed_once(cohort, CPU, WINDOW, 1) is not seen


class Card:
    """Stands for a card in questions of memory alone: a device whose tensors are the CPU's."""

    type = "cuda"


@pytest.mark.parametrize(("free", "resident"), [(4, True), (3, False)])
def test_a_card_holds_intensities_that_take_a_quarter_of_its_free_memory_at_most(monkeypatch, free, resident):
    volumes, copied, size = make_cohort().volumes, [], bytes_of(make_cohort().volumes)
    monkeypatch.setattr(torch.cuda, "mem_get_info", lambda device: (free * size, 99 * size))
    monkeypatch.setattr(torch.Tensor, "to", lambda self, device: (copied.append(device), self)[1])
    monkeypatch.setattr(voxels, "to_images", lambda hu, window: hu)
    monkeypatch.setattr(voxels, "Voxels", lambda *given: given)
    card = Card()
    getattr(place, "__wrapped__", place)(volumes, card, WINDOW)
    assert copied == [card] * resident


@pytest.mark.gpu
def test_rows_read_from_a_map_reach_a_card_as_those_that_it_holds():
    volumes, card = make_cohort().volumes, torch.device("cuda")
    rows = torch.tensor([5, 1, 5])
    streamed = Voxels(torch.from_numpy(volumes), volumes.shape[1], WINDOW, card).images(rows)
    assert streamed.device.type == "cuda" and streamed.equal(place(volumes, card, WINDOW).images(rows.to(card)))
