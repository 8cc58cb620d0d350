"""What is trained and tested on: protocols, and the fold data that one fit is given."""

import hashlib
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np
from jaxtyping import Bool, Float, Int

from benchmark.contracts.collections import Cohort
from benchmark.contracts.errors import InputError

Decision = Literal["open", "restricted"]


@dataclass(frozen=True)
class Protocol:
    """One dataset of the paper: what is trained on, what is tested on, and how a decision is taken.

    Attributes:
        key: As typed on the command line, e.g. `"B"`.
        title: As printed, e.g. `"LIDC-B"`.
        label_set: Name of the label set that is trained on; protocols with the same label set share their fits.
        class_names: The classes of that label set, in order.
        test_classes: Indices into `class_names` of the classes in the test set.
        printed_classes: The test classes in the order of the paper's columns.
        decisions: The first stands in the table, the others beside it. `"restricted"` renormalises the
            probabilities over `test_classes` before deciding; `"open"` decides over all classes.
    """

    key: str
    title: str
    label_set: str
    class_names: tuple[str, ...]
    test_classes: tuple[int, ...]
    printed_classes: tuple[int, ...]
    decisions: tuple[Decision, ...] = ("open",)

    def __post_init__(self) -> None:
        """Refuse what cannot be scored, such as a run.json that was edited by hand."""
        among = set(range(len(self.class_names)))
        if not (self.test_classes and set(self.test_classes) <= among):
            raise ValueError(f"test_classes must be some of {sorted(among)}, not {self.test_classes}")
        if not set(self.printed_classes) <= set(self.test_classes):
            raise ValueError(f"printed_classes must be some of {self.test_classes}, not {self.printed_classes}")
        if not self.decisions:
            raise ValueError("decisions must name at least one")


@dataclass(frozen=True)
class Columns:
    """What is known of nodules beside their voxels and labels: all that a reference row may read.

    Attributes:
        ratings: Mean ratings, columns as `attribute_names`.
        trusted: Which of them can be relied on.
        diameter_mm: NaN where unknown.
        n_readers: 0 where unknown.
        attribute_names: Empty where the collection has no ratings.
    """

    ratings: Float[np.ndarray, "nodules attributes"]
    trusted: Bool[np.ndarray, "nodules attributes"]
    diameter_mm: Float[np.ndarray, " nodules"]
    n_readers: Int[np.ndarray, " nodules"]
    attribute_names: tuple[str, ...]

    def __len__(self) -> int:
        return len(self.diameter_mm)


@dataclass(frozen=True, eq=False)
class FoldData:
    """All that one fit is given: which nodules of which cohort it trains and tests on, and their classes.

    It travels to a worker as this description; the worker opens the cohort, once per process.

    Attributes:
        cohort_file: The prepared cohort.
        cohort_hash: Its content hash.
        open: Reads a prepared cohort; importable by name, and the same object for the same file in one process.
        label_set: Name of the classes.
        class_names: The classes, in order.
        train: Rows of the cohort, ascending.
        test: Rows of the cohort, ascending; no patient is in both, but where a run measures what that would add.
        train_labels: Classes of the training rows.
        test_labels: Classes of the test rows.
        test_ids: Ids of the test nodules.
    """

    cohort_file: Path
    cohort_hash: str
    open: Callable[[Path], Cohort]
    label_set: str
    class_names: tuple[str, ...]
    train: Int[np.ndarray, " train"]
    test: Int[np.ndarray, " test"]
    train_labels: Int[np.ndarray, " train"]
    test_labels: Int[np.ndarray, " test"]
    test_ids: tuple[str, ...]

    def cohort(self) -> Cohort:
        """Return the cohort.

        Raises:
            InputError: The file is missing or damaged, or is no longer the cohort that the fold was cut from.
        """
        cohort = self.open(self.cohort_file)
        if cohort.content_hash != self.cohort_hash:
            raise InputError(
                f"the prepared cohort {self.cohort_file} has changed since this run was planned: run the command again"
            )
        return cohort

    @property
    def digest(self) -> str:
        """Hash of all of it: another cohort, another row or another label is another digest."""
        parts = [
            np.asarray(part, dtype="<i8").tobytes()
            for part in (self.train, self.test, self.train_labels, self.test_labels)
        ]
        words = repr((self.cohort_hash, self.label_set, self.class_names, self.test_ids)).encode()
        return hashlib.sha256(b"|".join([words, *parts])).hexdigest()

    def columns(self, rows: Int[np.ndarray, " rows"]) -> Columns:
        """Return what is known of some rows beside voxels and labels."""
        cohort = self.cohort()
        return Columns(
            cohort.ratings[rows],
            cohort.trusted[rows],
            cohort.diameter_mm[rows],
            cohort.n_readers[rows],
            cohort.attribute_names,
        )
