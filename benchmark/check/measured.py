"""What a finished run says: every score of every row, fold by fold, with the spread between seeds."""

import hashlib
import json
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Float

from benchmark.contracts import InputError
from benchmark.metrics import scores
from benchmark.records import FitRecord, FitSpec, Run
from benchmark.tables import Section

Address = tuple[str, str, str]
"""Row, section and metric: `("ce", "B-restricted", "accuracy")`."""

MEAN = "mean"
"""The section that holds a row's accuracy averaged over its label sets."""

_BESIDE = ("macro_f1", "quadratic_weighted_kappa", "auc_ovr")  # checked beside the printed metrics
_IDENTITY = ("source", "cohort", "label_rule", "folds", "fold_assignment", "preset")


@dataclass(frozen=True)
class Cell:
    """One score of one row.

    Attributes:
        folds: The score of each fold, its seeds averaged.
        seeds: How many trainings a fold has.
        seed_std: Standard deviation between the seeds of a fold (ddof=1), pooled over folds; NaN for one seed.
    """

    folds: Float[np.ndarray, " folds"]
    seeds: int
    seed_std: float

    @property
    def mean(self) -> float:
        """Mean over folds."""
        return float(self.folds.mean())


@dataclass(frozen=True)
class Measured:
    """A finished run in numbers.

    Attributes:
        folder: The run's.
        identity: What its fits share (see `records.Run`).
        versions: Of the packages.
        sections: The scored blocks of the tables, by key.
        cells: By address.
        nodules: How many nodules of a test fold each cell rests on, on average: all, or the class's.
        tests: Digest of which nodules each fold tests and of their labels, by row and label set.
        failed: Why a row has no scores on a label set, by row and label set.
    """

    folder: Path
    identity: dict[str, Any]
    versions: dict[str, str]
    sections: Mapping[str, Section]
    cells: Mapping[Address, Cell]
    nodules: Mapping[Address, float]
    tests: Mapping[tuple[str, str], str]
    failed: Mapping[tuple[str, str], str]

    @property
    def name(self) -> str:
        """Preset, source and label rule: what golden numbers are kept by."""
        return "-".join(str(self.identity[key]) for key in ("preset", "source", "label_rule"))


def read(folder: Path) -> Measured:
    """Score a finished run.

    Raises:
        InputError: The folder holds no finished run, or a damaged one.
    """
    run = Run.open(folder)
    for key in _IDENTITY:
        if key not in run.identity:
            raise InputError(f"{folder / 'run.json'}, key identity.{key}: missing; run into another folder")
    protocols = run.protocols()
    sections = {
        f"{protocol.key}-{decision}": Section(protocol, decision)
        for protocol in protocols
        for decision in protocol.decisions
    }
    cells: dict[Address, Cell] = {}
    nodules: dict[Address, float] = {}
    tests: dict[tuple[str, str], str] = {}
    failed: dict[tuple[str, str], str] = {}
    fits: dict[str, dict[str, list[FitSpec]]] = defaultdict(lambda: defaultdict(list))
    for spec in run.specs():
        fits[spec.method][spec.label_set].append(spec)
    for row, by_label_set in fits.items():
        accuracies: list[Float[np.ndarray, "folds seeds"]] = []
        sizes: list[float] = []
        for label_set, specs in by_label_set.items():
            own = {key: section for key, section in sections.items() if section.protocol.label_set == label_set}
            records = [_read(run, spec, own.values()) for spec in _complete(run, specs)]
            broken = [record for record in records if record.status != "done"]
            if broken:
                failed[row, label_set] = f"{broken[0].status}: {broken[0].reason}"
                continue
            tests[row, label_set] = _digest(records)
            for number, (key, section) in enumerate(own.items()):
                values = _values(records, section)
                for metric, size in _sizes(records, section):
                    cells[row, key, metric] = _cell(values[metric])
                    nodules[row, key, metric] = size
                if number == 0:
                    accuracies.append(values["accuracy"])
                    sizes.append(nodules[row, key, "accuracy"])
        if len(accuracies) > 1 and len({found.shape for found in accuracies}) == 1:
            cells[row, MEAN, "accuracy"] = _cell(np.mean(accuracies, axis=0))
            # The variance of a mean of k independent scores is the sum of theirs over k squared.
            nodules[row, MEAN, "accuracy"] = len(sizes) ** 2 / sum(1 / size for size in sizes)
    versions = run.facts().get("versions", {})
    return Measured(folder, run.identity, versions, sections, cells, nodules, tests, failed)


def _complete(run: Run, specs: Sequence[FitSpec]) -> list[FitSpec]:
    """Return all fits of a row on a label set, by fold and seed; refuse where one is missing."""
    label_set, method = specs[0].label_set, specs[0].method
    seeds = sorted({spec.seed for spec in specs})
    wanted = [FitSpec(label_set, method, fold, seed) for fold in range(run.identity["folds"]) for seed in seeds]
    for spec in wanted:
        if spec not in specs:
            raise InputError(f"the record {run.path(spec)} is missing, so the run is half done; run its command again")
    return wanted


def _read(run: Run, spec: FitSpec, sections: Iterable[Section]) -> FitRecord:
    record = run.read(spec)
    if record is None:
        raise InputError(f"the record {run.path(spec)} was just removed; run its command again")
    for section in sections:
        width = len(section.protocol.class_names)
        if record.status == "done" and (
            record.proba.shape != (len(record.labels), width) or not np.isfinite(record.proba).all()
        ):
            raise InputError(
                f"the record {run.path(spec)}, key proba: no probabilities over {width} classes; "
                "delete it and run again to train that fit"
            )
    return record


def _values(records: Sequence[FitRecord], section: Section) -> dict[str, Float[np.ndarray, "folds seeds"]]:
    folds = len({record.spec.fold for record in records})
    found = [scores(r.labels, r.proba, r.decoder, section.protocol, section.decision) for r in records]
    return {metric: np.array([score[metric] for score in found]).reshape(folds, -1) for metric in found[0]}


def _sizes(records: Sequence[FitRecord], section: Section) -> Iterator[tuple[str, float]]:
    """Yield every metric that is checked with the nodules of a test fold that it rests on."""
    labels = np.concatenate([record.labels for record in records])
    of_class = {
        section.protocol.class_names[k]: (labels == k).sum() / len(records) for k in section.protocol.test_classes
    }
    for metric in (*section.metrics, *_BESIDE):
        _, _, name = metric.partition("_")
        size = sum(of_class.values()) if metric == "accuracy" else of_class.get(name, min(of_class.values()))
        yield metric, max(1.0, float(size))


def _cell(values: Float[np.ndarray, "folds seeds"]) -> Cell:
    seeds = values.shape[1]
    spread = float(np.sqrt(values.var(axis=1, ddof=1).mean())) if seeds > 1 else float("nan")
    return Cell(values.mean(axis=1), seeds, spread)


def _digest(records: Sequence[FitRecord]) -> str:
    """Return a digest of the nodules that each fold tests, with their labels; seeds share theirs."""
    tested = {
        (record.spec.fold, nodule, int(label))
        for record in records
        for nodule, label in zip(record.nodule_ids, record.labels, strict=True)
    }
    return hashlib.sha256(json.dumps(sorted(tested)).encode()).hexdigest()
