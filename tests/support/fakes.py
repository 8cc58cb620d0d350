"""Small stand-ins that the tests of the machine share: a method, a cohort, fold data, records."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional

from benchmark.contracts import (
    Batch,
    Cohort,
    EncoderSpec,
    FoldData,
    InputError,
    Method,
    Protocol,
    Provenance,
    Row,
    Task,
    TextTowerSpec,
    Unsupported,
)
from benchmark.identity import Identity
from benchmark.recipe import Preset, Recipe
from benchmark.records import FitRecord, FitSpec, Metadata

NAMES = ("benign", "unsure", "malignant")
ATTRIBUTES = tuple(f"attribute {i}" for i in range(8))
A = Protocol("A", "LIDC-A", "three", NAMES, (0, 1, 2), (0, 2, 1))
B = Protocol("B", "LIDC-B", "three", NAMES, (0, 2), (0, 2), ("restricted", "open"))
C = Protocol("C", "LIDC-C", "two", ("benign", "malignant"), (0, 1), (0, 1))
RECIPE = Recipe(epochs=2, batch_size=8, lr=0.05)
PRESET = Preset(RECIPE, EncoderSpec(), TextTowerSpec(), "a test")
TASK = Task(3, NAMES, ATTRIBUTES, (4, 4, 4), PRESET.encoder, PRESET.text_tower)
IDENTITY = Identity(
    collection="LIDC",
    source="phantom",
    cohort="abc",
    nodules=30,
    label_rule="published",
    folds=5,
    fold_assignment="def",
    preset="quick",
    recipe=RECIPE,
    encoder=PRESET.encoder,
    text_tower=PRESET.text_tower,
    settings={},
)


class Linear(Method):
    """A method small enough to train in milliseconds; `spoil` breaks it on demand."""

    title = "Linear"

    def __init__(self, task: Task, spoil: str = "") -> None:
        super().__init__()
        match spoil:
            case "task":
                raise Unsupported("it cannot work on this task")
            case "build":
                raise KeyError("a bug")
            case "value":
                raise ValueError("a plain bug")
            case "input":
                raise InputError("the weights are gone")
        self.spoil = spoil
        self.head = nn.Linear(64, task.num_classes)

    def metadata(self) -> dict[str, Any]:
        return {"spoil": self.spoil}

    def loss(self, batch: Batch) -> dict[str, Tensor]:
        if self.spoil == "raise":
            raise RuntimeError("out of patience\nwith a second line")
        logits = self.head(batch.images.flatten(1))
        return {"ce": functional.cross_entropy(logits, batch.labels) * (torch.nan if self.spoil == "nan" else 1.0)}

    def predict_proba(self, images: Tensor) -> Tensor:
        return self.head(images.flatten(1)).softmax(1)


LINEAR = Row("linear", "Linear", "paper", Linear)


def make_batch(images: Tensor, labels: Tensor, attributes: int = 8) -> Batch:
    """Fill up a batch."""
    n = len(labels)
    ratings = 1 + torch.arange(n * attributes).reshape(n, attributes) % 5
    return Batch(
        images, labels, ratings.float(), torch.ones(n, attributes, dtype=torch.bool), torch.ones(n, 4), torch.ones(n)
    )


def make_cohort(n: int = 30, **changes: Any) -> Cohort:
    rng = np.random.default_rng(0)
    cohort = Cohort(
        collection="LIDC",
        source="phantom",
        note="Phantom: not CT.",
        volumes=rng.integers(-1000, 400, (n, 4, 4, 4)).astype(np.int16),
        nodule_ids=tuple(f"n{i}" for i in range(n)),
        scan_ids=tuple(f"s{i}" for i in range(n)),
        patient_ids=tuple(f"p{i}" for i in range(n)),
        reading_ids=tuple((i,) for i in range(n)),
        malignancy=rng.uniform(1, 5, n),
        ratings=rng.uniform(1, 5, (n, 8)),
        attribute_names=ATTRIBUTES,
        diameter_mm=rng.uniform(3, 30, n),
        n_readers=rng.integers(1, 5, n),
        reader_malignancy=rng.integers(1, 6, (n, 4)).astype(np.float64),
        given_labels=np.full(n, -1),
        trusted=rng.random((n, 8)) < 0.9,
        slice_thickness_mm=rng.uniform(0.6, 5, n),
        strata={},
        content_hash="abc",
        provenance=Provenance(None, "fingerprint", None),
    )
    return replace(cohort, **changes)


class Opened:
    """Opens a cohort that is there already, and counts how often it was asked."""

    def __init__(self, cohort: Cohort) -> None:
        self.cohort = cohort
        self.times = 0

    def __call__(self, path: Path) -> Cohort:
        self.times += 1
        return self.cohort


def fold_data(cohort: Cohort, **changes: Any) -> FoldData:
    """Train on the first two thirds of a cohort, test on the rest; labels go 0, 1, 2, 0..."""
    labels, cut = np.arange(len(cohort)) % 3, len(cohort) * 2 // 3
    train, test = np.arange(cut), np.arange(cut, len(cohort))
    data = FoldData(
        cohort_file=Path("cohort.npz"),
        cohort_hash=cohort.content_hash,
        open=Opened(cohort),
        label_set="three",
        class_names=NAMES,
        train=train,
        test=test,
        train_labels=labels[train],
        test_labels=labels[test],
        test_ids=tuple(cohort.nodule_ids[i] for i in test),
    )
    return replace(data, **changes)


def record(spec: FitSpec, labels: list[int], proba: list[list[float]], **changes: Any) -> FitRecord:
    values: dict[str, Any] = {
        "spec": spec,
        "kind": "paper",
        "status": "done",
        "reason": "",
        "key": "key",
        "data": "data",
        "identity": IDENTITY,
        "settings": {},
        "decoder": "argmax",
        "metadata": Metadata(),
        "nodule_ids": tuple(f"n{i}" for i in range(len(labels))),
        "labels": np.array(labels, dtype=np.int64),
        "proba": np.array(proba, dtype=np.float64).reshape(len(labels), -1 if labels else 0),
    }
    return FitRecord(**values | changes)
