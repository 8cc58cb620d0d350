"""Invented nodules of a task's shape: what they cost is what real ones cost."""

import numpy as np
import torch
from jaxtyping import Int

from benchmark.contracts import Batch, Columns, Task

_READERS = 4


def invented(task: Task, nodules: int, device: torch.device) -> Batch:
    """Return nodules of the task's shape, drawn from a generator of their own; readers agree with the class."""
    generator = torch.Generator().manual_seed(0)
    labels = torch.arange(nodules) % task.num_classes
    malignancy = 1 + 4 * labels[:, None] / (task.num_classes - 1)
    ratings = torch.randint(1, 6, (nodules, len(task.attribute_names)), generator=generator)
    batch = Batch(
        images=torch.rand(nodules, *task.image_shape, generator=generator),
        labels=labels,
        attributes=ratings.float(),
        trusted=torch.ones_like(ratings, dtype=torch.bool),
        malignancy=malignancy.expand(-1, _READERS).contiguous(),
        diameter_mm=torch.linspace(4, 28, nodules),
    )
    return Batch(*(tensor.to(device) for tensor in vars(batch).values()))


def invented_columns(task: Task, nodules: int) -> Columns:
    """Return what a reference reads of nodules."""
    rng, rated = np.random.default_rng(nodules), (nodules, len(task.attribute_names))
    return Columns(
        rng.integers(1, 6, rated).astype(np.float64),
        np.ones(rated, dtype=bool),
        rng.uniform(4, 28, nodules),
        np.full(nodules, _READERS),
        task.attribute_names,
    )


def invented_labels(task: Task, nodules: int) -> Int[np.ndarray, " nodules"]:
    """Return their classes."""
    return np.random.default_rng(0).integers(task.num_classes, size=nodules)
