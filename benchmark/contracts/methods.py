"""A method, and a row of the tables: what is trained or computed for it, with which settings."""

import inspect
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, ClassVar, Literal, TypeAlias

import numpy as np
from jaxtyping import Float, Int
from torch import Tensor, nn

from benchmark.contracts.folds import Columns
from benchmark.contracts.tasks import Batch, Json, Task

Decoder = Literal["argmax", "median"]
Kind = Literal["paper", "ablation", "control", "added", "variant", "plugin", "reference"]
Setting: TypeAlias = "bool | int | float | str | tuple[Setting, ...]"
Reference = Callable[[Columns, Columns, Int[np.ndarray, " train"], int, int], Float[np.ndarray, "test classes"]]
"""A row that no gradient trains: from the columns of the training and test nodules, the training labels, the number of
classes and a seed to the test nodules' class probabilities, a column for each class even if none trained it."""


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


@dataclass(frozen=True, eq=False)
class Row:
    """One line of the tables: a method with its hyperparameters, or a reference that nothing trains.

    Attributes:
        key: Names it on the command line and its fits on disk: lower-case letters, digits and underscores.
        title: As printed.
        kind: `"paper"` (of its Tables 1 and 2, or its text), `"ablation"` (of its Table 3), `"control"` (asks what a
            paper's gain comes from), `"added"`, `"variant"` (another setting of a method), `"plugin"` or
            `"reference"`. Added rows and variants are made only when asked for.
        make: The method to build and train, or the function that computes a reference.
        hyperparameters: Those that differ from the method's defaults.
        losses: What Table 3 prints for it, e.g. `"IC + IA"`; empty where the row is not in that table.
    """

    key: str
    title: str
    kind: Kind
    make: type[Method] | Reference
    hyperparameters: Mapping[str, Setting] = field(default_factory=dict)
    losses: str = ""

    def __post_init__(self) -> None:
        """Refuse a key that could not name a folder and an option on every system."""
        if not (self.key.isascii() and self.key.isidentifier() and self.key == self.key.lower()):
            raise ValueError(f"the row key {self.key!r} must be lower-case letters, digits and underscores")

    @property
    def method(self) -> type[Method] | None:
        """The method to train; None for a reference."""
        return self.make if isinstance(self.make, type) else None

    @property
    def reference(self) -> Reference | None:
        """The function that computes a reference; None for a method."""
        return None if isinstance(self.make, type) else self.make

    def build(self, task: Task) -> Method:
        """Return the method for a task, with the row's hyperparameters.

        Raises:
            Unsupported: The method cannot work on the task.
        """
        if self.method is None:
            raise ValueError(f"the row {self.key} is a reference, which nothing builds")
        return self.method(task, **self.hyperparameters)

    def sees(self, task: Task) -> Task:
        """Return a run's task as the row is given it: with the slices of a crop that it reads."""
        return task if self.method is None or self.method.reads_whole_crop else task.of_seen_slices()

    @property
    def decoder(self) -> Decoder:
        """How a class is read off the probabilities."""
        return self.method.decoder if self.method else "argmax"

    @property
    def reads_text(self) -> bool:
        """Whether it uses the text tower."""
        return self.method is not None and self.method.reads_text

    @property
    def reads_diameter(self) -> bool:
        """Whether its predictions read the diameter by the readers' outlines."""
        return self.method is not None and self.method.reads_diameter

    @property
    def defaults(self) -> dict[str, object]:
        """Every hyperparameter of the method with its default."""
        if self.method is None:
            return {}
        parameters = list(inspect.signature(self.method).parameters.values())[1:]  # the first is the task
        return {p.name: p.default for p in parameters if p.default is not p.empty}

    @property
    def settings(self) -> dict[str, object]:
        """Every hyperparameter with the value used."""
        return self.defaults | dict(self.hyperparameters)
