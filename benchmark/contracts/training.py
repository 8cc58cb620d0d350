"""What a row trains, and on what: a method and its batches. The one room of the contracts that needs torch."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any, ClassVar, TypeVar

import numpy as np
from jaxtyping import Bool, Float, Int
from numpy.typing import NDArray
from torch import Tensor, device, nn

from benchmark.contracts.tasks import Json
from benchmark.contracts.traits import Decoder

Crops = TypeVar("Crops", NDArray[np.int16], Tensor)


def central(crops: Crops, slices: int) -> Crops:
    """Return the central slices of crops [crops, slices, rows, columns], as a view.

    Where they cannot lie in the middle, it is the one of the two places that begins earlier; crops of no more slices
    stay whole.

    >>> import torch
    >>> [central(torch.arange(4).view(1, 4, 1, 1), slices).flatten().tolist() for slices in (1, 2, 3, 8)]
    [[1], [1, 2], [0, 1, 2], [0, 1, 2, 3]]
    """
    first = max(0, crops.shape[1] - slices) // 2
    return crops[:, first : first + slices]


@dataclass(frozen=True)
class Batch:
    """Training material on one device.

    Attributes:
        images: Intensities in [0, 1], axes (batch, slice, row, column).
        labels: Class indices 0..K-1.
        attributes: Mean ratings over the nodule's readers, raw scales, in the order of `Task.attribute_names`.
        trusted: Which of the attributes can be relied on (some of LIDC's were rated on inconsistent scales).
        malignancy: Each reader's malignancy score, NaN where a nodule has fewer readers or none is known.
        diameter_mm: Equivalent diameter by the readers' outlines, NaN where unknown.
    """

    images: Float[Tensor, "batch slices rows columns"]
    labels: Int[Tensor, " batch"]
    attributes: Float[Tensor, "batch attributes"]
    trusted: Bool[Tensor, "batch attributes"]
    malignancy: Float[Tensor, "batch readers"]
    diameter_mm: Float[Tensor, " batch"]

    @property
    def home(self) -> device:
        """Where row numbers are looked up."""
        return self.labels.device

    def __len__(self) -> int:
        return len(self.labels)

    def __getitem__(self, rows: slice | Int[Tensor, " rows"]) -> "Batch":
        """Return some of the rows."""
        return Batch(*(tensor[rows] for tensor in vars(self).values()))

    def split(self, size: int) -> Iterator["Batch"]:
        """Yield consecutive batches of at most `size` rows."""
        for start in range(0, len(self), size):
            yield self[start : start + size]


class Method(nn.Module):
    """What a row trains. Built as `Cls(task, **hyperparameters)`; hyperparameters have defaults.

    A method that cannot work on a task raises Unsupported with the reason when it is built; the table then shows a
    gap with that reason as a footnote. Anything else that it raises is a failed fit.

    Attributes:
        title: As printed in the tables.
        decoder: How a class is read off the probabilities: the most probable, or the median of the ordinal
            distribution (the first class at which the cumulative probability passes 1/2).
        no_weight_decay: Last parts of the names of the parameters that must not shrink towards zero: thresholds,
            temperatures, scales.
        reads_text: Whether the method uses the text tower; its table rows then say which one.
        on_two_classes: Names the model that it is on two classes, if other methods are the same one there; tables then
            say that these differ by their starts or not at all.
        reads_diameter: Whether a prediction reads the diameter by the readers' outlines beside the image, as
            `predict_proba(images, diameter_mm)`; every table then says so below. A collection that lacks a nodule's
            diameter is Unsupported before anything is trained.
        reads_whole_crop: Whether it reads slices that the shared encoder does not (`EncoderSpec.slices`); any other
            method is given those that the encoder reads, and no more.
        encoders: How many image encoders it trains: what its weights take on disk is known by it before it is built.
        narrowing: How many times narrower than the run's these are.
    """

    title: ClassVar[str]
    decoder: ClassVar[Decoder] = "argmax"
    reads_text: ClassVar[bool] = False
    reads_diameter: ClassVar[bool] = False
    reads_whole_crop: ClassVar[bool] = False
    no_weight_decay: ClassVar[tuple[str, ...]] = ()
    on_two_classes: ClassVar[str] = ""
    encoders: ClassVar[int] = 1
    narrowing: ClassVar[int] = 1

    def loss(self, batch: Batch) -> dict[str, Tensor]:
        """Return named scalar terms, already weighted; the trainer minimises their sum."""
        raise NotImplementedError

    def predict_proba(self, images: Float[Tensor, "batch slices rows columns"]) -> Float[Tensor, "batch classes"]:
        """Return class probabilities. Images only: neither labels nor ratings can leak into a prediction.

        A method with `reads_diameter`, and no other, takes a second argument: `diameter_mm`, a number for each image.
        """
        raise NotImplementedError

    def param_groups(self) -> list[dict[str, Any]]:
        """Return optimiser groups that hold every trainable parameter once.

        Raises:
            ValueError: `no_weight_decay` names a parameter that the method does not have.
        """
        named = [(name.rpartition(".")[2], p) for name, p in self.named_parameters()]
        if unknown := set(self.no_weight_decay) - {name for name, _ in named}:
            raise ValueError(f"no_weight_decay names {min(unknown)!r}, and {type(self).__name__} has no such parameter")
        trained = [(name, p) for name, p in named if p.requires_grad]
        groups: list[dict[str, Any]] = [
            {"params": [p for name, p in trained if name not in self.no_weight_decay]},
            {"params": [p for name, p in trained if name in self.no_weight_decay], "weight_decay": 0.0},
        ]
        return [group for group in groups if group["params"]]

    def metadata(self) -> dict[str, Json]:
        """Return what a record should keep beside the hyperparameters (default: nothing)."""
        return {}

    def after_epoch(self, batches: Iterable[Batch]) -> None:
        """Do what gradients do not do (default: nothing).

        Args:
            batches: The whole training set in a fixed order, without augmentation; read only if iterated over.
                The trainer has put the method in eval mode and switched gradients off.
        """
