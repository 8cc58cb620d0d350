"""A task and a batch small enough for the tests of the methods that read texts."""

from typing import Any

import torch

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


def vision_batch(num_classes: int = 3, size: int = 6) -> Batch:
    generator = torch.Generator().manual_seed(0)
    images = torch.rand(size, 2, 32, 32, generator=generator)
    ratings = torch.randint(1, 6, (size, len(ATTRIBUTES)), generator=generator).float()
    return Batch(images, torch.arange(size) % num_classes, ratings)
