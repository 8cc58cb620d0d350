"""Small stand-ins that the tests of the machine share: a method, a cohort, records."""

from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional

from benchmark.contracts import Batch, Cohort, EncoderSpec, Method, Protocol, Task, TextTowerSpec
from benchmark.recipe import Recipe
from benchmark.records import FitRecord, FitSpec

NAMES = ("benign", "unsure", "malignant")
ATTRIBUTES = tuple(f"attribute {i}" for i in range(8))
A = Protocol("A", "LIDC-A", "three", NAMES, (0, 1, 2), (0, 2, 1))
B = Protocol("B", "LIDC-B", "three", NAMES, (0, 2), (0, 2), ("restricted", "open"))
RECIPE = Recipe(epochs=2, batch_size=8, lr=0.05)
TASK = Task(3, NAMES, ATTRIBUTES, (4, 4, 4), EncoderSpec(), TextTowerSpec())
IDENTITY: dict[str, Any] = {"cohort": "abc", "folds": 5, "recipe": {"epochs": 2, "lr": 0.05}}


class Linear(Method):
    """A method small enough to train in milliseconds; `spoil` breaks it on demand."""

    title = "Linear"

    def __init__(self, task: Task, spoil: str = "") -> None:
        super().__init__()
        if spoil == "task":
            raise ValueError("it cannot work on this task")
        if spoil == "build":
            raise KeyError("a bug")
        self.spoil = spoil
        self.head = nn.Linear(64, task.num_classes)

    def loss(self, batch: Batch) -> dict[str, Tensor]:
        if self.spoil == "raise":
            raise RuntimeError("out of patience\nwith a second line")
        logits = self.head(batch.images.flatten(1))
        return {"ce": functional.cross_entropy(logits, batch.labels) * (torch.nan if self.spoil == "nan" else 1.0)}

    def predict_proba(self, images: Tensor) -> Tensor:
        return self.head(images.flatten(1)).softmax(1)


def make_cohort() -> Cohort:
    rng = np.random.default_rng(0)
    n = 30
    return Cohort(
        source="phantom",
        volumes=rng.integers(-1000, 400, (n, 4, 4, 4)).astype(np.int16),
        nodule_ids=tuple(f"n{i}" for i in range(n)),
        scan_ids=tuple(f"s{i}" for i in range(n)),
        patient_ids=tuple(f"p{i}" for i in range(n)),
        reading_ids=tuple((i,) for i in range(n)),
        malignancy=rng.uniform(1, 5, n),
        ratings=rng.uniform(1, 5, (n, 8)),
        attribute_names=ATTRIBUTES,
        diameter_mm=rng.uniform(3, 30, n),
        content_hash="abc",
        provenance={},
    )


def record(spec: FitSpec, labels: list[int], proba: list[list[float]], **changes: Any) -> FitRecord:
    values: dict[str, Any] = {
        "spec": spec,
        "status": "done",
        "reason": "",
        "identity": IDENTITY,
        "hyperparameters": {},
        "facts": {},
        "title": "Linear",
        "decoder": "argmax",
        "nodule_ids": tuple(f"n{i}" for i in range(len(labels))),
        "labels": np.array(labels, dtype=np.int64),
        "proba": np.array(proba, dtype=np.float64).reshape(len(labels), -1 if labels else 0),
    }
    return FitRecord(**values | changes)
