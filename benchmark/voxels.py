"""Where a cohort's voxels are while a process trains: on its device once, as intensities, or mapped from their file.

Where images have the central slices of a crop alone, others are neither moved nor turned. Mirrored, a crop of 32 slices
has another central one, so of an even number with an odd one between them one slice more is kept, and left out of the
image after the turn: images have the bits that they would have of whole crops.

A map is read a batch at a time and takes no memory of the process: what was read stands in the system's cache, which
all processes share. Either way an image has the same bits: an intensity is one voxel's own, however that is turned.
"""

import warnings
from dataclasses import dataclass
from functools import lru_cache
from typing import TypeAlias

import numpy as np
import torch
from jaxtyping import Float, Int, Int16, Shaped
from torch import Tensor

from benchmark.contracts import Cohort, central

TURNS = 16  # the mirror images and quarter turns that keep a stack of square slices a stack of slices
_MIRRORS = [tuple(slice(None, None, -1 if turn >> axis & 1 else 1) for axis in range(3)) for turn in range(8)]
SHARE = 0.25  # of a card's free memory that voxels may take: the rest is the network's, or another worker's
HELD_BYTES = 2**29  # that they may take of the host's, in each process: LIDC's whole crops have 347 MB


@dataclass(frozen=True, eq=False)
class Voxels:
    """All crops of a cohort, or their central slices.

    Attributes:
        kept: Intensities on the device or, where they are read from a map, Hounsfield units on the CPU.
        slices: Of an image: all that are kept, or one less (see the file's head).
        window_hu: Hounsfield units that become intensity 0 and 1.
        device: Where images are wanted.
    """

    kept: Float[Tensor, "nodules kept rows columns"] | Int16[Tensor, "nodules kept rows columns"]
    slices: int
    window_hu: tuple[float, float]
    device: torch.device

    def images(
        self, rows: Int[Tensor, " some"], turns: Int[Tensor, " some"] | None = None
    ) -> Float[Tensor, "some slices rows columns"]:
        """Return some nodules' images on the device, turned or not; rows and turns stand where `kept` does."""
        found = self.kept.index_select(0, rows) if turns is None else turned(self.kept, rows, turns)
        found = central(moved(found, self.device), self.slices)
        return found.contiguous() if found.is_floating_point() else to_images(found, self.window_hu)


def place(
    volumes: Int16[np.ndarray, "nodules slices rows columns"],
    device: torch.device,
    window_hu: tuple[float, float],
    slices: int | None = None,
) -> Voxels:
    """Put the intensities of a cohort's crops on the device if they take little of its memory, else leave it mapped.

    Args:
        volumes: The crops.
        device: Where they are wanted.
        window_hu: Hounsfield units that become intensity 0 and 1.
        slices: That an image has, of which all are kept that are central in a crop or in its mirror image; None is all.
    """
    slices = min(slices or volumes.shape[1], volumes.shape[1])
    volumes = central(volumes, slices + (volumes.shape[1] - slices) % 2)
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "The given NumPy array is not writable", UserWarning)  # nor is it written to
        hu = torch.from_numpy(volumes)
    room = SHARE * torch.cuda.mem_get_info(device)[0] if device.type == "cuda" else HELD_BYTES
    held = hu.numel() * torch.float32.itemsize <= room
    return Voxels(to_images(hu.to(device), window_hu) if held else hu, slices, window_hu, device)


_Wanted: TypeAlias = tuple[torch.device, tuple[float, float], int | None]
_LAST: list[tuple[Cohort, _Wanted, Voxels]] = []


def placed_once(
    cohort: Cohort, device: torch.device, window_hu: tuple[float, float], slices: int | None = None
) -> Voxels:
    """Do as `place` with a cohort's crops, once for all fits in a row that want the same of the same cohort object."""
    wanted = (device, window_hu, slices)
    if not (_LAST and _LAST[0][0] is cohort and _LAST[0][1] == wanted):
        _LAST.clear()  # before the next: a process works on one cohort at a time
        _LAST.append((cohort, wanted, place(cohort.volumes, *wanted)))
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
        mirrored = source[row][_MIRRORS[turn & 7]]
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
