"""Tasks and batches small enough for the tests of methods."""

from typing import Any

import torch
from torch import Tensor

from benchmark.contracts import Batch, EncoderSpec, Task, TextTowerSpec

CLASSES = ("benign", "unsure", "malignant")
ATTRIBUTES = (
    *("subtlety", "internal structure", "calcification", "sphericity"),
    *("margin", "lobulation", "spiculation", "texture"),
)
TOWER = TextTowerSpec(name="random", width=64, layers=1, heads=1)


def vision_task(**changes: Any) -> Task:
    values: dict[str, Any] = {
        "num_classes": 3,
        "class_names": CLASSES,
        "attribute_names": ATTRIBUTES,
        "image_shape": (2, 32, 32),
        "encoder": EncoderSpec(channels=(8, 8, 16, 64), layers=(1, 1, 1, 1), stem="deep"),
        "text_tower": TOWER,
    }
    return Task(**values | changes)


def batch_of(images: Tensor, labels: Tensor, ratings: Tensor | None = None, num_classes: int = 3) -> Batch:
    """Return a batch with all else filled in: three readers who agree with the label, and a fourth's empty place."""
    ratings = torch.zeros(len(labels), 0) if ratings is None else ratings
    malignancy = (1 + 4 / (num_classes - 1) * labels.float()).clamp(1, 5)[:, None].repeat(1, 4)
    malignancy[:, 3] = torch.nan
    trusted = torch.ones_like(ratings, dtype=torch.bool)
    return Batch(images, labels, ratings, trusted, malignancy, torch.linspace(4, 28, len(labels)))


def vision_batch(num_classes: int = 3, size: int = 6, slices: int = 2) -> Batch:
    generator = torch.Generator().manual_seed(0)
    images = torch.rand(size, slices, 32, 32, generator=generator)
    ratings = torch.randint(1, 6, (size, len(ATTRIBUTES)), generator=generator).float()
    return batch_of(images, torch.arange(size) % num_classes, ratings, num_classes)
