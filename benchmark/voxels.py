"""Where a cohort's voxels are while a process trains: on its device once, or mapped from their file.

Where images have the central slices of a crop alone, others are neither moved nor turned. Mirrored, a crop of 32 slices
has another central one, so of an even number with an odd one between them one slice more is kept, and left out of the
image after the turn: images have the bits that they would have of whole crops.

A map is read a batch at a time and takes no memory of the process: what was read stands in the system's cache, which
all processes share. Either way an image has the same bits.
"""

import warnings
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
import torch
from jaxtyping import Float, Int, Int16, Shaped
from torch import Tensor

from benchmark.contracts import Cohort, central

TURNS = 16  # the mirror images and quarter turns that keep a stack of square slices a stack of slices
_WHOLE, _MIRRORED = slice(None), slice(None, None, -1)
SHARE = 0.25  # of a card's free memory that voxels may take: the rest is the network's, or another worker's


@dataclass(frozen=True, eq=False)
class Voxels:
    """All crops of a cohort, or their central slices.

    Attributes:
        hu: Hounsfield units, on the device or, where they are read from a map, on the CPU.
        device: Where they are wanted.
    """

    hu: Int16[Tensor, "nodules slices rows columns"]
    device: torch.device

    def taken(
        self, rows: Int[Tensor, " some"], turns: Int[Tensor, " some"] | None = None
    ) -> Int16[Tensor, "some slices rows columns"]:
        """Return some nodules' crops on the device, turned or not; rows and turns stand where `hu` does."""
        found = self.hu.index_select(0, rows) if turns is None else turned(self.hu, rows, turns)
        return moved(found, self.device)


def place(
    volumes: Int16[np.ndarray, "nodules slices rows columns"], device: torch.device, slices: int | None = None
) -> Voxels:
    """Put a cohort's crops on the device if they take a quarter of its free memory at most, else leave them mapped.

    Args:
        volumes: The crops.
        device: Where they are wanted.
        slices: That an image has, of which all are kept that are central in a crop or in its mirror image; None is all.
    """
    if slices is not None:
        volumes = central(volumes, slices + (volumes.shape[1] - slices) % 2)
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "The given NumPy array is not writable", UserWarning)  # nor is it written to
        hu = torch.from_numpy(volumes)
    fits = device.type != "cuda" or volumes.nbytes <= SHARE * torch.cuda.mem_get_info(device)[0]
    return Voxels(hu.to(device) if fits else hu, device)


_LAST: list[tuple[Cohort, tuple[torch.device, int | None], Voxels]] = []


def placed_once(cohort: Cohort, device: torch.device, slices: int | None = None) -> Voxels:
    """Do as `place` with a cohort's crops, once for all fits in a row that want the same of the same cohort object."""
    if not (_LAST and _LAST[0][0] is cohort and _LAST[0][1] == (device, slices)):
        _LAST.clear()  # before the next: a process works on one cohort at a time
        _LAST.append((cohort, (device, slices), place(cohort.volumes, device, slices)))
    return _LAST[0][2]


def turned(
    crops: Shaped[Tensor, "crops slices side side"], rows: Int[Tensor, " batch"], turns: Int[Tensor, " batch"]
) -> Shaped[Tensor, "batch slices side side"]:
    """Return some crops, each turned its own way.

    A turn is a number of four bits: 0 to 2 mirror slices, rows and columns, 3 swaps rows and columns afterwards. In the
    host's memory each is copied through NumPy's view of it, which reads a voxel once and makes nothing between; a card
    gathers all voxels at once, in one operation that waits for nothing.
    """
    return turned_at_once(crops, rows, turns) if crops.is_cuda else turned_one_by_one(crops, rows, turns)


def turned_one_by_one(
    crops: Shaped[Tensor, "crops slices side side"], rows: Int[Tensor, " batch"], turns: Int[Tensor, " batch"]
) -> Shaped[Tensor, "batch slices side side"]:
    """Turn each crop by a view."""
    made = crops.new_empty(len(rows), *crops.shape[1:])
    source, target = crops.numpy(), made.numpy()
    for place, (row, turn) in enumerate(zip(rows.tolist(), turns.tolist(), strict=True)):
        mirrored = source[row][tuple(_MIRRORED if turn >> bit & 1 else _WHOLE for bit in range(3))]
        target[place] = mirrored.swapaxes(1, 2) if turn >> 3 else mirrored
    return made


def turned_at_once(
    crops: Shaped[Tensor, "crops slices side side"], rows: Int[Tensor, " batch"], turns: Int[Tensor, " batch"]
) -> Shaped[Tensor, "batch slices side side"]:
    """Gather every voxel from where its crop's turn takes it."""
    slices, lines, columns = (table[turns] for table in _origins(*crops.shape[1:3], crops.device))
    return crops[rows[:, None, None, None], slices, lines, columns]


@lru_cache(maxsize=4)
def _origins(slices: int, side: int, device: torch.device) -> tuple[Tensor, Tensor, Tensor]:
    """Return the slice, row and column from which each turn takes each voxel, in shapes that spread over a crop."""
    number = torch.arange(slices * side * side).view(1, slices, side, side)
    moves = turned_one_by_one(number, torch.zeros(TURNS, dtype=torch.long), torch.arange(TURNS))
    lines, columns = moves[:, :1] // side % side, moves[:, :1] % side
    return (moves[:, :, :1, :1] // side**2).to(device), lines.to(device), columns.to(device)


def to_images(
    hu: Int16[Tensor, "nodules slices rows columns"], window_hu: tuple[float, float]
) -> Float[Tensor, "nodules slices rows columns"]:
    """Map Hounsfield units linearly to [0, 1] over the window, clipped at both ends."""
    low, high = window_hu
    return hu.to(torch.float32).sub_(low).div_(high - low).clamp_(0, 1)


def images_of(
    hu: Int16[Tensor, "nodules _ rows columns"], window_hu: tuple[float, float], slices: int
) -> Float[Tensor, "nodules slices rows columns"]:
    """Return the images of crops that are turned already: their central slices, as intensities."""
    return to_images(central(hu, slices), window_hu)


def moved(tensor: Tensor, device: torch.device) -> Tensor:
    """Move a tensor without waiting for the device: to a card it goes from memory that the card can read itself."""
    if tensor.device.type == "cpu" and device.type == "cuda":
        tensor = tensor.pin_memory()
    return tensor.to(device, non_blocking=True)
