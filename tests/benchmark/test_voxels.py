import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from benchmark import voxels
from benchmark.contracts import central
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


def test_rows_are_each_nodules_own_and_on_the_cpu_nothing_is_copied_to_hold_them():
    volumes = make_cohort().volumes
    placed = place(volumes, CPU)
    assert placed.taken(torch.tensor([3, 0])).equal(torch.from_numpy(volumes[[3, 0]]))
    assert placed.hu.data_ptr() == volumes.ctypes.data
    assert moved(placed.hu, CPU) is placed.hu


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
    rows, turns, window = torch.arange(len(codes)) % 3, torch.tensor(codes), (-1000.0, 400.0)
    whole, seen = place(volumes, CPU), place(volumes, CPU, slices)
    for way in (None, turns):
        images = images_of(seen.taken(rows, way), window, slices)
        assert images.equal(central(to_images(whole.taken(rows, way), window), slices))
        assert images.shape == (len(codes), min(slices, depth), 4, 4)


@pytest.mark.parametrize(("slices", "first", "kept"), [(1, 15, 2), (2, 15, 2), (3, 14, 4), (32, 0, 32), (33, 0, 32)])
def test_slices_that_are_central_in_no_turn_are_left_where_they_are_and_nothing_is_copied(slices, first, kept):
    volumes = np.zeros((2, 32, 4, 4), dtype=np.int16)
    placed = place(volumes, CPU, slices).hu
    assert placed.shape == (2, kept, 4, 4) and placed.data_ptr() == volumes[:, first:].ctypes.data


WARNED = """
import sys, warnings
sys.path.insert(0, sys.argv[1])
import numpy as np, torch
from benchmark.voxels import place
warnings.simplefilter("error")
crops = np.zeros((2, 3, 4, 4), dtype=np.int16)
crops.flags.writeable = False
assert len(place(crops, torch.device("cpu")).taken(torch.tensor([1, 0]), torch.tensor([3, 15]))) == 2
"""


def test_a_file_that_is_mapped_to_be_read_alone_gives_no_warning():
    command = [sys.executable, "-c", WARNED, str(Path(__file__).parents[2])]  # torch warns once in a process
    assert subprocess.run(command, capture_output=True, text=True).stderr == ""


def test_voxels_are_placed_once_for_all_fits_that_are_given_one_cohort():
    cohort, other = make_cohort(), make_cohort(9)
    first = placed_once(cohort, CPU)
    assert placed_once(cohort, CPU) is first
    assert len(placed_once(other, CPU).hu) == 9 and placed_once(other, torch.device("meta")).device.type == "meta"
    assert placed_once(cohort, CPU).hu.equal(first.hu)
    seen = placed_once(cohort, CPU, 2)
    assert seen.hu.equal(first.hu[:, 1:3]) and placed_once(cohort, CPU, 2) is seen is not placed_once(cohort, CPU, 1)


class Card:
    """Stands for a card in questions of memory alone: a device whose tensors are the CPU's."""

    type = "cuda"


@pytest.mark.parametrize(("free", "resident"), [(4, True), (3, False)])
def test_a_card_holds_voxels_that_take_a_quarter_of_its_free_memory_at_most(monkeypatch, free, resident):
    volumes, copied = make_cohort().volumes, []
    monkeypatch.setattr(torch.cuda, "mem_get_info", lambda device: (free * volumes.nbytes, 99 * volumes.nbytes))
    monkeypatch.setattr(torch.Tensor, "to", lambda self, device: (copied.append(device), self)[1])
    monkeypatch.setattr(voxels, "Voxels", lambda hu, device: (hu, device))
    card = Card()
    place.__wrapped__(volumes, card) if hasattr(place, "__wrapped__") else place(volumes, card)
    assert copied == [card] * resident


@pytest.mark.gpu
def test_rows_read_from_a_map_reach_a_card_as_those_that_it_holds():
    volumes, card = make_cohort().volumes, torch.device("cuda")
    rows = torch.tensor([5, 1, 5])
    streamed = Voxels(torch.from_numpy(volumes), card).taken(rows)
    assert streamed.device.type == "cuda" and streamed.equal(place(volumes, card).taken(rows.to(card)))
