"""The nodules of a fit as a trainer sees them, and the shuffled, augmented batches of an epoch.

Augmentation is part of gathering a batch: no loader processes, and nothing that makes the host wait for a card. All
chance comes from one CPU generator, so the order of nodules and their turns do not depend on the device.
"""

from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Protocol, runtime_checkable

import numpy as np
import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from benchmark.contracts import Batch, Cohort
from benchmark.pulse import beat
from benchmark.recipe import Recipe
from benchmark.voxels import TURNS, Voxels, moved, turned


@runtime_checkable
class Nodules(Protocol):
    """What rows can be taken from: a batch, which has its images, or a part of a cohort, which makes them."""

    @property
    def labels(self) -> Tensor:
        """Class indices, on the device of every batch."""

    @property
    def home(self) -> torch.device:
        """Where row numbers are looked up; others are moved there first."""

    def __len__(self) -> int: ...

    def __getitem__(self, rows: slice | Int[Tensor, " rows"], /) -> Batch:
        """Return some of the rows."""

    def split(self, size: int) -> Iterator[Batch]:
        """Yield consecutive batches of at most `size` rows."""


@dataclass(frozen=True, eq=False)
class Part:
    """Some nodules of a cohort, whose images are made when they are asked for.

    Attributes:
        voxels: Of the whole cohort.
        rows: Of the cohort, where its voxels are looked up.
        labels: Class indices; like all below on the device, as `Batch` has them.
        attributes: Mean ratings.
        trusted: Which of them can be relied on.
        malignancy: Each reader's malignancy score.
        diameter_mm: Equivalent diameter.
    """

    voxels: Voxels
    rows: Int[Tensor, " nodules"]
    labels: Int[Tensor, " nodules"]
    attributes: Float[Tensor, "nodules attributes"]
    trusted: Bool[Tensor, "nodules attributes"]
    malignancy: Float[Tensor, "nodules readers"]
    diameter_mm: Float[Tensor, " nodules"]

    @property
    def home(self) -> torch.device:
        """Where voxels are looked up: the device, or the CPU where they are read from a map."""
        return self.rows.device

    def __len__(self) -> int:
        return len(self.labels)

    def __getitem__(self, rows: slice | Int[Tensor, " rows"]) -> Batch:
        """Return some of the rows."""
        return self.batch(torch.arange(len(self))[rows] if isinstance(rows, slice) else rows)

    def batch(self, rows: Int[Tensor, " rows"], turns: Int[Tensor, " rows"] | None = None) -> Batch:
        """Return some of the rows, each image turned its own way or none."""
        beat()
        here, there = self.rows[moved(rows, self.home)], moved(rows, self.labels.device)
        columns = (self.labels, self.attributes, self.trusted, self.malignancy, self.diameter_mm)
        return Batch(self.voxels.images(here, turns), *(column[there] for column in columns))

    def split(self, size: int) -> Iterator[Batch]:
        """Yield consecutive batches of at most `size` rows."""
        for start in range(0, len(self), size):
            yield self[start : start + size]


def part_of(
    cohort: Cohort,
    voxels: Voxels,
    rows: Int[np.ndarray, " rows"],
    labels: Int[np.ndarray, " rows"],
) -> Part:
    """Return nodules of a cohort with their classes; only these columns are copied to the device, and no voxels.

    Args:
        cohort: All nodules.
        voxels: Of them.
        rows: Of the nodules that are wanted.
        labels: Their classes.
    """

    def floats(column: np.ndarray) -> Tensor:
        return torch.from_numpy(column[rows]).to(voxels.device, torch.float32)

    return Part(
        voxels=voxels,
        rows=torch.from_numpy(rows).to(voxels.kept.device),
        labels=torch.from_numpy(labels).to(voxels.device),
        attributes=floats(cohort.ratings),
        trusted=torch.from_numpy(cohort.trusted[rows]).to(voxels.device),
        malignancy=floats(cohort.reader_malignancy),
        diameter_mm=floats(cohort.diameter_mm),
    )


def epoch_batches(data: Nodules, recipe: Recipe, generator: torch.Generator) -> Iterator[Batch]:
    """Yield one epoch of shuffled, augmented batches of equal size; what fills no batch is left out.

    Rows within a batch are sorted by their turn (`voxels.turned`).
    """
    size = min(recipe.batch_size, len(data))
    shown = len(data) // size * size
    order = torch.randperm(len(data), generator=generator)
    turns = torch.randint(TURNS, (len(data),), generator=generator)
    order, turns = order[:shown].view(-1, size), turns[:shown].view(-1, size)
    if not recipe.augment:
        yield from (data[rows] for rows in moved(order, data.home))
        return
    turns, by_turn = turns.sort(dim=1, stable=True)
    order = order.gather(1, by_turn)
    for rows, codes in zip(moved(order, data.home), moved(turns, data.home), strict=True):
        if isinstance(data, Part):
            yield data.batch(rows, codes)
        else:
            batch = data[rows]
            yield replace(batch, images=turned(batch.images, torch.arange(size, device=rows.device), codes))
