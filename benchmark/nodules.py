"""What a run's `cohort.csv` says of its nodules: all that a report may know beside the records."""

import csv
import io
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from math import isfinite, nan
from pathlib import Path
from typing import NoReturn, TypeVar

import numpy as np
from jaxtyping import Bool, Float, Int

from benchmark.contracts import InputError
from benchmark.files import sha256
from benchmark.runfile import noted_hash

SCORES, UNTRUSTED = "malignancy_scores", "untrusted"
NEWER = (SCORES, UNTRUSTED)
"""Columns that a `cohort.csv` of an earlier version lacks."""

_NUMBERS = ("malignancy_mean", "diameter_mm", "slice_thickness_mm")
_NEEDED = ("nodule_id", "scan_id", "patient_id", "n_readers", *_NUMBERS, "fold")
_AGAIN = "restore it, or make the run anew in another folder"

T = TypeVar("T")


@dataclass(frozen=True, eq=False)
class NoduleTable:
    """The nodules of a run, a row each, in the order of its cohort.

    Attributes:
        nodule_ids: Unique.
        patient_ids: The unit that folds keep together.
        scan_ids: Series instance UIDs, or empty.
        n_readers: How many readers scored it; 0 where a class was given instead.
        reader_malignancy: Each reader's malignancy score, 1 to 5; NaN beyond a nodule's readers, and all NaN where
            the scores are not known.
        malignancy: Mean malignancy over the readers; NaN where a class was given instead.
        attribute_names: As the collection names them, e.g. `"internal structure"`.
        ratings: Mean ratings, columns as `attribute_names`; NaN where unknown.
        trusted: Which of them can be relied on; all, where that is not known.
        diameter_mm: Mean equivalent diameter; NaN where unknown.
        slice_thickness_mm: Of the scan; NaN where unknown.
        strata: Free columns to group results by.
        labels: Class indices by label set; -1 where it leaves the nodule out.
        fold: In which fold it is tested.
        missing: Which of the columns `NEWER` the file lacks: what they tell is not known.
    """

    nodule_ids: tuple[str, ...]
    patient_ids: tuple[str, ...]
    scan_ids: tuple[str, ...]
    n_readers: Int[np.ndarray, " nodules"]
    reader_malignancy: Float[np.ndarray, "nodules readers"]
    malignancy: Float[np.ndarray, " nodules"]
    attribute_names: tuple[str, ...]
    ratings: Float[np.ndarray, "nodules attributes"]
    trusted: Bool[np.ndarray, "nodules attributes"]
    diameter_mm: Float[np.ndarray, " nodules"]
    slice_thickness_mm: Float[np.ndarray, " nodules"]
    strata: Mapping[str, tuple[str, ...]]
    labels: Mapping[str, Int[np.ndarray, " nodules"]]
    fold: Int[np.ndarray, " nodules"]
    missing: tuple[str, ...] = ()

    def __len__(self) -> int:
        return len(self.nodule_ids)

    @cached_property
    def row_of(self) -> Mapping[str, int]:
        """The row of every nodule, by its id."""
        return {nodule: row for row, nodule in enumerate(self.nodule_ids)}

    @property
    def knows_scores(self) -> bool:
        """Whether the score of each single reader is known, not their mean alone."""
        return SCORES not in self.missing and bool(self.n_readers.any())

    def count_patients(self, rows: Int[np.ndarray, " rows"]) -> int:
        """Return how many patients some nodules belong to."""
        return len({self.patient_ids[row] for row in rows})


def read_nodules(folder: Path) -> NoduleTable:
    """Read a run's `cohort.csv`.

    A file of an earlier version lacks the columns `NEWER`; `NoduleTable.missing` then names them.

    Args:
        folder: Of the run.

    Raises:
        InputError: The file is missing or damaged.
    """
    return _Table(folder / "cohort.csv").nodules()


class _Table:
    """A CSV file by columns, whose every complaint names file, line and column."""

    def __init__(self, path: Path) -> None:
        self.path = path
        try:
            content = path.read_bytes()
            lines = io.StringIO(content.decode("utf-8"), newline="")
            self.names, *rows = list(csv.reader(lines, strict=True)) or [[]]
        except FileNotFoundError as error:
            raise InputError(f"there is no {path}, which tells of a run's nodules: {_AGAIN}") from error
        except OSError as error:
            raise InputError(f"{path} cannot be read ({error.strerror}): see to it, or {_AGAIN}") from error
        except (UnicodeDecodeError, csv.Error) as error:
            self._refuse(str(error))
        if noted_hash(path) not in ("", sha256(content)):
            self._refuse("its content does not match its hash in run.json")
        if absent := [name for name in _NEEDED if name not in self.names]:
            self._refuse(f"it has no column {absent[0]}")
        if twice := [name for name in self.names if self.names.count(name) > 1]:
            self._refuse(f"two columns are called {twice[0]}")
        for line, row in enumerate(rows, start=2):
            if len(row) != len(self.names):
                self._refuse(f"line {line} has {len(row)} cells, not {len(self.names)}")
        if not rows:
            self._refuse("it has no row")
        self.columns = dict(zip(self.names, zip(*rows, strict=True), strict=True))

    def nodules(self) -> NoduleTable:
        """Return what it holds."""
        attributes = [name.removesuffix("_mean") for name in self.names if name.endswith("_mean")]
        attributes = [name for name in attributes if name != "malignancy"]
        ids = self.columns["nodule_id"]
        if len(set(ids)) < len(ids):
            self._refuse("two lines have the same nodule_id")
        label_sets = [name.removeprefix("label_") for name in self.names if name.startswith("label_")]
        strata = [name for name in self.names if name.startswith("stratum_")]
        n_readers = np.array(self._each("n_readers", _count))
        shape = len(ids), len(attributes)
        return NoduleTable(
            nodule_ids=ids,
            patient_ids=self.columns["patient_id"],
            scan_ids=self.columns["scan_id"],
            n_readers=n_readers,
            reader_malignancy=self._scores(n_readers),
            malignancy=self._numbers("malignancy_mean"),
            attribute_names=tuple(name.replace("_", " ") for name in attributes),
            ratings=np.array([self._numbers(f"{name}_mean") for name in attributes], dtype=np.float64)
            .reshape(shape[::-1])
            .T,
            trusted=~self._untrusted(attributes).reshape(shape),
            diameter_mm=self._numbers("diameter_mm"),
            slice_thickness_mm=self._numbers("slice_thickness_mm"),
            strata={name.removeprefix("stratum_"): self.columns[name] for name in strata},
            labels={name: np.array(self._each(f"label_{name}", _class)) for name in label_sets},
            fold=np.array(self._each("fold", _count)),
            missing=tuple(name for name in NEWER if name not in self.columns),
        )

    def _scores(self, n_readers: Int[np.ndarray, " nodules"]) -> Float[np.ndarray, "nodules readers"]:
        """Return the score of each reader; all NaN where the file has none."""
        table = np.full((len(n_readers), int(n_readers.max())), nan)
        if SCORES in self.columns:
            for row, scores in enumerate(self._each(SCORES, _scores)):
                if len(scores) != n_readers[row]:
                    self._refuse(f"line {row + 2} has {len(scores)} {SCORES} of {n_readers[row]} readers")
                table[row, : len(scores)] = scores
        return table

    def _untrusted(self, attributes: Sequence[str]) -> Bool[np.ndarray, "nodules attributes"]:
        if UNTRUSTED not in self.columns:
            return np.zeros((len(self.columns["fold"]), len(attributes)), dtype=bool)

        def flags(cell: str) -> list[bool]:
            named = cell.split("|") if cell else []
            if not set(named) <= set(attributes):
                raise ValueError
            return [name in named for name in attributes]

        return np.array(self._each(UNTRUSTED, flags), dtype=bool)

    def _numbers(self, name: str) -> Float[np.ndarray, " nodules"]:
        return np.array(self._each(name, lambda cell: _finite(cell) if cell else nan), dtype=np.float64)

    def _each(self, name: str, convert: Callable[[str], T]) -> list[T]:
        """Convert every cell of a column."""
        found = []
        for line, cell in enumerate(self.columns[name], start=2):
            try:
                found.append(convert(cell))
            except ValueError:
                self._refuse(f"line {line}, column {name}: {cell!r} cannot stand there")
        return found

    def _refuse(self, why: str) -> NoReturn:
        raise InputError(f"{self.path} is damaged ({why}): {_AGAIN}")


def _finite(cell: str) -> float:
    number = float(cell)
    if not isfinite(number):
        raise ValueError
    return number


def _scores(cell: str) -> list[float]:
    scores = [_finite(score) for score in cell.split("|")] if cell else []
    if not all(1 <= score <= 5 for score in scores):
        raise ValueError
    return scores


def _count(cell: str) -> int:
    if not cell.isdecimal():
        raise ValueError
    return int(cell)


def _class(cell: str) -> int:
    return _count(cell) if cell else -1
