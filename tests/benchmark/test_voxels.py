import numpy as np
import pytest
import torch

from benchmark import voxels
from benchmark.voxels import Voxels, moved, place, placed_once, to_images
from fakes import Opened, make_cohort

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
    assert placed[torch.tensor([3, 0])].equal(torch.from_numpy(volumes[[3, 0]]))
    assert placed.hu.data_ptr() == volumes.ctypes.data
    assert moved(placed.hu, CPU) is placed.hu


def test_voxels_are_placed_once_in_a_process(tmp_path):
    opened = Opened(make_cohort())
    first = placed_once(opened, tmp_path / "cohort.npz", CPU)
    assert placed_once(opened, tmp_path / "cohort.npz", CPU) is first and opened.times == 1


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
    streamed = Voxels(torch.from_numpy(volumes), card)[rows]
    assert streamed.device.type == "cuda" and streamed.equal(place(volumes, card)[rows.to(card)])
