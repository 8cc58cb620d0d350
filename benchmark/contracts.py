"""What passes between the rooms: the nouns that `datasets`, `methods` and `benchmark` share.

Data flows one way: source -> cohort -> fold -> batch -> fit -> predict -> record -> metrics -> tables.
This file imports nothing of the project, so each of the three packages may import it.
"""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any, ClassVar, Literal

import numpy as np
from jaxtyping import Float, Int, Int16
from torch import Tensor, nn

Decoder = Literal["argmax", "median"]
Decision = Literal["open", "restricted"]


class InputError(Exception):
    """Bad input in one sentence: what is wrong, where, and what to do. The command line exits with status 2."""


@dataclass(frozen=True)
class EncoderSpec:
    """An image encoder: timm's resnet18 with these stages, ending in a map of `channels[-1]` x 4 x 4.

    Attributes:
        channels: Output channels of the four stages; the last is the feature width.
        layers: Residual blocks in each stage (resnet18: two).
        stem: `"3x3"` is one 3x3 convolution of stride 1 (CIFAR style, the paper's released code);
            `"deep"` is timm's three-convolution stem of stride 2, a tenth of the cost.
        bfloat16: Run the encoder in bfloat16 on CUDA; heads and losses stay in float32.
    """

    channels: tuple[int, int, int, int] = (64, 128, 256, 512)
    layers: tuple[int, int, int, int] = (2, 2, 2, 2)
    stem: Literal["3x3", "deep"] = "3x3"
    bfloat16: bool = False

    @property
    def width(self) -> int:
        """Number of image features."""
        return self.channels[-1]


@dataclass(frozen=True)
class TextTowerSpec:
    """A frozen CLIP text tower.

    Attributes:
        name: `"openai"` is ViT-B-16-quickgelu with OpenAI's weights; `"random"` is a small seeded tower with
            CLIP's architecture and tokenizer and no knowledge of language, for machines without the weights.
        path: File of the OpenAI weights; None takes them from the hub's cache or the hub.
        width: Number of text features, and the random tower's width (OpenAI: 512).
        layers: The random tower's depth (OpenAI: 12).
        heads: The random tower's attention heads (OpenAI: 8).
        seed: Seed of the random tower's weights.
    """

    name: Literal["openai", "random"] = "openai"
    path: str | None = None
    width: int = 512
    layers: int = 12
    heads: int = 8
    seed: int = 0


@dataclass(frozen=True)
class Task:
    """All that a method is told about its surroundings.

    Attributes:
        num_classes: K, the ordered classes trained on; class k has name `class_names[k]`.
        class_names: From least to most malignant, as prompts write them.
        attribute_names: The rated attributes, as prompts write them, in the order of `Batch.attributes`.
        image_shape: (slices, rows, columns); slices are the encoder's input channels.
        encoder: The image encoder that every method of a run shares.
        text_tower: The text tower that every vision-language method of a run shares.
    """

    num_classes: int
    class_names: tuple[str, ...]
    attribute_names: tuple[str, ...]
    image_shape: tuple[int, int, int]
    encoder: EncoderSpec
    text_tower: TextTowerSpec

    def __post_init__(self) -> None:
        """Refuse a task that no method can work on."""
        if self.num_classes < 2:
            raise ValueError(f"a task needs at least two classes, not {self.num_classes}")
        if len(self.class_names) != self.num_classes:
            raise ValueError(f"{self.num_classes} classes but {len(self.class_names)} class names")


@dataclass(frozen=True)
class Batch:
    """Training material on one device.

    Attributes:
        images: Intensities in [0, 1], axes (batch, slice, row, column).
        labels: Class indices 0..K-1.
        attributes: Mean ratings over the nodule's readers, raw LIDC scales, in the order of `Task.attribute_names`.
    """

    images: Float[Tensor, "batch slices rows columns"]
    labels: Int[Tensor, " batch"]
    attributes: Float[Tensor, "batch attributes"]

    def __len__(self) -> int:
        return len(self.labels)


@dataclass(frozen=True)
class Fold:
    """Patient-disjoint train and test rows of a cohort."""

    number: int
    train: Int[np.ndarray, " train"]
    test: Int[np.ndarray, " test"]


@dataclass(frozen=True)
class Protocol:
    """One dataset of the paper: what is trained on, what is tested on, and how a decision is taken.

    Attributes:
        key: As typed on the command line, e.g. `"B"`.
        title: As printed, e.g. `"LIDC-B"`.
        label_set: Name of the label set that is trained on; protocols with the same label set share their fits.
        class_names: The classes of that label set, in order.
        test_classes: Indices into `class_names` of the classes in the test set.
        decisions: The first stands in the table, the others beside it. `"restricted"` renormalises the
            probabilities over `test_classes` before deciding; `"open"` decides over all classes.
        printed_classes: The test classes in the order of the paper's columns.
    """

    key: str
    title: str
    label_set: str
    class_names: tuple[str, ...]
    test_classes: tuple[int, ...]
    printed_classes: tuple[int, ...]
    decisions: tuple[Decision, ...] = ("open",)


@dataclass(frozen=True)
class Cohort:
    """All nodules of one source, a row each, in a fixed order. Labels and folds are made from it, not kept in it.

    Attributes:
        source: `"phantom"` or `"dicom"`.
        volumes: Crops in Hounsfield units, axes (nodule, slice, row, column).
        nodule_ids: Unique, stable between machines.
        scan_ids: Series instance UIDs.
        patient_ids: E.g. `"LIDC-IDRI-0001"`; the unit that folds keep together.
        reading_ids: The database ids of the nodule's readings, ascending.
        malignancy: Mean malignancy rating over the readers, 1..5.
        ratings: Mean of the eight attribute ratings over the readers, columns as `attribute_names`.
        attribute_names: As prompts write them, in the paper's order.
        diameter_mm: Mean equivalent diameter over the readers.
        content_hash: SHA-256 over all of the above.
        provenance: What made it (settings and versions), JSON-able.
    """

    source: str
    volumes: Int16[np.ndarray, "nodules slices rows columns"]
    nodule_ids: tuple[str, ...]
    scan_ids: tuple[str, ...]
    patient_ids: tuple[str, ...]
    reading_ids: tuple[tuple[int, ...], ...]
    malignancy: Float[np.ndarray, " nodules"]
    ratings: Float[np.ndarray, "nodules attributes"]
    attribute_names: tuple[str, ...]
    diameter_mm: Float[np.ndarray, " nodules"]
    content_hash: str
    provenance: dict[str, Any]

    def __len__(self) -> int:
        return len(self.nodule_ids)


class Method(nn.Module):
    """One row of the tables. Built as `Cls(task, **hyperparameters)`; hyperparameters have defaults.

    A method that cannot work on a task raises ValueError with the reason when it is built; the table then
    shows a gap with that reason as a footnote.

    Attributes:
        title: As printed in the tables.
        decoder: How a class is read off the probabilities: the most probable, or the median of the ordinal
            distribution (the first class at which the cumulative probability passes 1/2).
        undecayed: Last parts of the names of the parameters that must not shrink towards zero: thresholds,
            temperatures, scales.
        reads_text: Whether the method uses the text tower; its table rows then say which one.
    """

    title: ClassVar[str]
    decoder: ClassVar[Decoder] = "argmax"
    reads_text: ClassVar[bool] = False
    undecayed: ClassVar[tuple[str, ...]] = ()

    def loss(self, batch: Batch) -> dict[str, Tensor]:
        """Return named scalar terms, already weighted; the trainer minimises their sum."""
        raise NotImplementedError

    def predict_proba(self, images: Float[Tensor, "batch slices rows columns"]) -> Float[Tensor, "batch classes"]:
        """Return class probabilities. Images only: neither labels nor ratings can leak into a prediction."""
        raise NotImplementedError

    def param_groups(self) -> list[dict[str, Any]]:
        """Return optimiser groups that hold every trainable parameter once."""
        named = [(name.rpartition(".")[2], p) for name, p in self.named_parameters() if p.requires_grad]
        groups: list[dict[str, Any]] = [
            {"params": [p for name, p in named if name not in self.undecayed]},
            {"params": [p for name, p in named if name in self.undecayed], "weight_decay": 0.0},
        ]
        return [group for group in groups if group["params"]]

    def facts(self) -> dict[str, Any]:
        """Return what a record should keep beside the hyperparameters, JSON-able (default: nothing)."""
        return {}

    def after_epoch(self, batches: Iterable[Batch]) -> None:
        """Do what gradients do not do (default: nothing).

        Args:
            batches: The whole training set in a fixed order, without augmentation; read only if iterated over.
                The trainer has put the method in eval mode and switched gradients off.
        """


def batches_of(batch: Batch, size: int) -> Iterator[Batch]:
    """Cut a batch into consecutive batches of at most `size` rows."""
    for start in range(0, len(batch), size):
        rows = slice(start, start + size)
        yield Batch(batch.images[rows], batch.labels[rows], batch.attributes[rows])
