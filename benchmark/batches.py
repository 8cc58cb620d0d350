"""From voxels to training batches, on the device: intensities, and the shuffled, augmented batches of an epoch.

The whole training set lives on the device, and augmentation is a few tensor operations there: no loader processes.
All chance comes from one CPU generator, so the order of nodules and their turns do not depend on the device.
"""

from collections.abc import Iterator

import numpy as np
import torch
from jaxtyping import Float, Int, Int16
from torch import Tensor

from benchmark.contracts import Batch, Cohort
from benchmark.recipe import Recipe

_TURNS = 16  # the mirror images and quarter turns that keep a square stack of square slices a stack of slices


def to_images(
    volumes: Int16[np.ndarray, "nodules slices rows columns"], window_hu: tuple[float, float], device: torch.device
) -> Float[Tensor, "nodules slices rows columns"]:
    """Map Hounsfield units linearly to [0, 1] over the window, clipped at both ends."""
    low, high = window_hu
    images = torch.from_numpy(volumes).to(device, torch.float32)
    return images.sub_(low).div_(high - low).clamp_(0, 1)


def batch_of(
    cohort: Cohort,
    rows: Int[np.ndarray, " rows"],
    labels: Int[np.ndarray, " rows"],
    window_hu: tuple[float, float],
    device: torch.device,
) -> Batch:
    """Return nodules of a cohort, with their classes, as one batch on the device."""

    def floats(column: np.ndarray) -> Tensor:
        return torch.from_numpy(column[rows]).to(device, torch.float32)

    return Batch(
        images=to_images(cohort.volumes[rows], window_hu, device),
        labels=torch.from_numpy(labels).to(device),
        attributes=floats(cohort.ratings),
        trusted=torch.from_numpy(cohort.trusted[rows]).to(device),
        malignancy=floats(cohort.reader_malignancy),
        diameter_mm=floats(cohort.diameter_mm),
    )


def turn(images: Float[Tensor, "batch slices rows columns"], code: int) -> Float[Tensor, "batch slices rows columns"]:
    """Apply one of the 16 turns: bits 0-2 mirror slices, rows and columns; bit 3 swaps rows and columns."""
    mirrored = [dim for bit, dim in enumerate((1, 2, 3)) if code >> bit & 1]
    images = images.flip(mirrored) if mirrored else images
    return images.transpose(2, 3) if code >> 3 & 1 else images


def epoch_batches(data: Batch, recipe: Recipe, generator: torch.Generator) -> Iterator[Batch]:
    """Yield one epoch of shuffled, augmented batches of equal size; what fills no batch is left out.

    Rows within a batch are sorted by their turn.
    """
    device = data.labels.device
    order = torch.randperm(len(data), generator=generator)
    codes = torch.randint(_TURNS, (len(data),), generator=generator)
    size = min(recipe.batch_size, len(data))
    for start in range(0, len(data) - size + 1, size):
        rows, code = order[start : start + size], codes[start : start + size]
        if not recipe.augment:
            yield data[rows.to(device)]
            continue
        code, by_turn = code.sort(stable=True)
        rows = rows[by_turn].to(device)
        counts = torch.bincount(code, minlength=_TURNS).tolist()
        parts = torch.split(rows, counts)
        turned = [turn(data.images[part], k) for k, part in enumerate(parts) if counts[k]]
        others = [tensor[rows] for name, tensor in vars(data).items() if name != "images"]
        yield Batch(torch.cat(turned), *others)
