"""A row of the tables: what is trained or computed for it, with which settings. It needs no torch until it is made."""

import importlib
import inspect
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Literal, TypeAlias

import numpy as np
from jaxtyping import Float, Int

from benchmark.contracts import traits
from benchmark.contracts.folds import Columns
from benchmark.contracts.tasks import Task
from benchmark.contracts.traits import Decoder, Traits

if TYPE_CHECKING:
    from benchmark.contracts.training import Method

Kind = Literal["paper", "ablation", "control", "added", "variant", "plugin", "reference"]
Setting: TypeAlias = "bool | int | float | str | tuple[Setting, ...]"
Reference = Callable[[Columns, Columns, Int[np.ndarray, " train"], int, int], Float[np.ndarray, "test classes"]]
"""A row that no gradient trains: from the columns of the training and test nodules, the training labels, the number of
classes and a seed to the test nodules' class probabilities, a column for each class even if none trained it."""


@dataclass(frozen=True, eq=False)
class Row:
    """One line of the tables: a method with its hyperparameters, or a reference that nothing trains.

    Attributes:
        key: Names it on the command line and its fits on disk: lower-case letters, digits and underscores.
        title: As printed.
        kind: `"paper"` (of its Tables 1 and 2, or its text), `"ablation"` (of its Table 3), `"control"` (asks what a
            paper's gain comes from), `"added"`, `"variant"` (another setting of a method), `"plugin"` or
            `"reference"`. Added rows and variants are made only when asked for.
        make: The method to build and train, by its module and name, which are imported when they are first needed, or
            itself; or the function that computes a reference.
        hyperparameters: Those that differ from the method's defaults.
        losses: What Table 3 prints for it, e.g. `"IC + IA"`; empty where the row is not in that table.
    """

    key: str
    title: str
    kind: Kind
    make: str | type[object] | Reference
    hyperparameters: Mapping[str, Setting] = field(default_factory=dict)
    losses: str = ""

    def __post_init__(self) -> None:
        """Refuse a key that could not name a folder and an option on every system."""
        if not (self.key.isascii() and self.key.isidentifier() and self.key == self.key.lower()):
            raise ValueError(f"the row key {self.key!r} must be lower-case letters, digits and underscores")

    @property
    def method(self) -> "type[Method] | None":
        """The method to train, imported with torch; None for a reference."""
        if isinstance(self.make, str):
            found: type[Method] = getattr(importlib.import_module(self.module), self.make.rpartition(".")[2])
            return found
        return self.make if isinstance(self.make, type) else None

    @property
    def reference(self) -> Reference | None:
        """The function that computes a reference; None for a method."""
        return None if isinstance(self.make, str | type) else self.make

    def build(self, task: Task) -> "Method":
        """Return the method for a task, with the row's hyperparameters.

        Raises:
            Unsupported: The method cannot work on the task.
        """
        if self.method is None:
            raise ValueError(f"the row {self.key} is a reference, which nothing builds")
        return self.method(task, **self.hyperparameters)

    def sees(self, task: Task) -> Task:
        """Return a run's task as the row is given it: with the slices of a crop that it reads."""
        return task if self.reference is not None or self.traits.reads_whole_crop else task.of_seen_slices()

    @property
    def module(self) -> str:
        """Name of the module that what makes it stands in."""
        return self.make.rpartition(".")[0] if isinstance(self.make, str) else self.make.__module__

    @property
    def source(self) -> str:
        """Module and name of what makes it: rows of one method have one."""
        return self.make if isinstance(self.make, str) else f"{self.make.__module__}.{self.make.__qualname__}"

    @property
    def traits(self) -> Traits:
        """What its method says of itself; of a reference only its docstring."""
        if isinstance(self.make, str):
            return traits.of_source(self.make)
        if isinstance(self.make, type):
            return traits.of_class(self.make)
        return Traits(doc=inspect.cleandoc(self.make.__doc__ or ""))

    @property
    def decoder(self) -> Decoder:
        """How a class is read off the probabilities."""
        return self.traits.decoder

    @property
    def reads_text(self) -> bool:
        """Whether it uses the text tower."""
        return self.traits.reads_text

    @property
    def reads_diameter(self) -> bool:
        """Whether its predictions read the diameter by the readers' outlines."""
        return self.traits.reads_diameter

    @property
    def defaults(self) -> dict[str, object]:
        """Every hyperparameter of the method with its default."""
        return dict(self.traits.defaults)

    @property
    def settings(self) -> dict[str, object]:
        """Every hyperparameter with the value used."""
        return self.defaults | dict(self.hyperparameters)
