"""Where a cohort's voxels are while a process trains: on its device once, or mapped from their file.

A map is read a batch at a time and takes no memory of the process: what was read stands in the system's cache, which
all processes share. Either way an image has the same bits.
"""

import warnings
from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

import numpy as np
import torch
from jaxtyping import Float, Int, Int16
from torch import Tensor

from benchmark.contracts import Cohort

SHARE = 0.25  # of a card's free memory that voxels may take: the rest is the network's, or another worker's


@dataclass(frozen=True, eq=False)
class Voxels:
    """All crops of a cohort.

    Attributes:
        hu: Hounsfield units, on the device or, where they are read from a map, on the CPU.
        device: Where they are wanted.
    """

    hu: Int16[Tensor, "nodules slices rows columns"]
    device: torch.device

    def __getitem__(self, rows: Int[Tensor, " some"]) -> Int16[Tensor, "some slices rows columns"]:
        """Return some nodules' crops on the device; the row numbers stand where `hu` does."""
        if self.hu.device.type == self.device.type:
            return self.hu.index_select(0, rows)
        read = torch.empty((len(rows), *self.hu.shape[1:]), dtype=self.hu.dtype, pin_memory=self.device.type == "cuda")
        torch.index_select(self.hu, 0, rows, out=read)
        return read.to(self.device, non_blocking=True)


def place(volumes: Int16[np.ndarray, "nodules slices rows columns"], device: torch.device) -> Voxels:
    """Put a cohort's crops on the device if they take a quarter of its free memory at most, else leave them mapped."""
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "The given NumPy array is not writable", UserWarning)  # nor is it written to
        hu = torch.from_numpy(volumes)
    fits = device.type != "cuda" or volumes.nbytes <= SHARE * torch.cuda.mem_get_info(device)[0]
    return Voxels(hu.to(device) if fits else hu, device)


@lru_cache(maxsize=1)
def placed_once(open_cohort: Callable[[Path], Cohort], file: Path, device: torch.device) -> Voxels:
    """Do as `place` with a prepared cohort's crops, once per process: every fit reads the same.

    Raises:
        InputError: As `open_cohort`.
    """
    return place(open_cohort(file).volumes, device)


def to_images(
    hu: Int16[Tensor, "nodules slices rows columns"], window_hu: tuple[float, float]
) -> Float[Tensor, "nodules slices rows columns"]:
    """Map Hounsfield units linearly to [0, 1] over the window, clipped at both ends."""
    low, high = window_hu
    return hu.to(torch.float32).sub_(low).div_(high - low).clamp_(0, 1)


def moved(tensor: Tensor, device: torch.device) -> Tensor:
    """Move a tensor without waiting for the device: to a card it goes from memory that the card can read itself."""
    if tensor.device.type == "cpu" and device.type == "cuda":
        tensor = tensor.pin_memory()
    return tensor.to(device, non_blocking=True)
