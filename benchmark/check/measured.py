"""What a finished run says: every score of every row, fold by fold, with the spread between seeds."""

import json
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from benchmark.contracts import InputError
from benchmark.files import sha256
from benchmark.identity import Identity
from benchmark.origin import folder_name
from benchmark.records import FitRecord, FitSpec, Unusable
from benchmark.run import Run
from benchmark.scores import Score, ScoreKey, Section, by_fold, sections_of

MEAN = "mean"
"""The section that holds a row's accuracy averaged over its label sets."""

_BESIDE = ("macro_f1", "quadratic_weighted_kappa", "auc_ovr")  # checked beside the printed metrics


@dataclass(frozen=True)
class Measured:
    """A finished run in numbers.

    Attributes:
        folder: The run's.
        identity: What its fits share (see `records.Run`).
        versions: Of the packages.
        sections: The scored blocks of the tables, by key.
        cells: Every score.
        nodules: How many nodules of a test fold each score rests on, on average: all, or the class's.
        references: Rows that nothing trained.
        tests: Digest of which nodules each fold tests and of their labels, by row and label set.
        failed: Why a row has no scores on a label set, by row and label set.
    """

    folder: Path
    identity: Identity
    versions: dict[str, str]
    sections: Mapping[str, Section]
    cells: Mapping[ScoreKey, Score]
    nodules: Mapping[ScoreKey, float]
    references: frozenset[str]
    tests: Mapping[tuple[str, str], str]
    failed: Mapping[tuple[str, str], str]

    @property
    def name(self) -> str:
        """Preset, source, label rule and settings changed by hand: what golden numbers are kept by."""
        identity = self.identity
        return folder_name(identity.preset, identity.source, identity.label_rule, identity.settings)


def read(folder: Path) -> Measured:
    """Score a finished run.

    Raises:
        InputError: The folder holds no finished run, or a damaged one.
    """
    run = Run.open(folder)
    sections = {section.key: section for section in sections_of(run.protocols())}
    cells: dict[ScoreKey, Score] = {}
    nodules: dict[ScoreKey, float] = {}
    references: set[str] = set()
    tests: dict[tuple[str, str], str] = {}
    failed: dict[tuple[str, str], str] = {}
    fits: dict[str, dict[str, list[FitSpec]]] = defaultdict(lambda: defaultdict(list))
    for spec in run.specs():
        fits[spec.method][spec.label_set].append(spec)
    for row, by_label_set in fits.items():
        accuracies: list[dict[int, list[float]]] = []
        sizes: list[float] = []
        for label_set, specs in by_label_set.items():
            own = [section for section in sections.values() if section.protocol.label_set == label_set]
            records = [_read(run, spec, own) for spec in _complete(run, specs)]
            if records[0].kind == "reference":
                references.add(row)
            broken = [record for record in records if record.status != "done"]
            if broken:
                failed[row, label_set] = f"{broken[0].status}: {broken[0].reason}"
                continue
            tests[row, label_set] = _digest(records)
            for section in own:
                reached = by_fold(records, section)
                for metric, size in _sizes(records, section):
                    cells[ScoreKey(row, section.key, metric)] = Score.of(reached[metric])
                    nodules[ScoreKey(row, section.key, metric)] = size
                if section is own[0]:
                    accuracies.append(reached["accuracy"])
                    sizes.append(nodules[ScoreKey(row, section.key, "accuracy")])
        if len(accuracies) > 1 and len({tuple(map(len, reached.values())) for reached in accuracies}) == 1:
            cells[ScoreKey(row, MEAN, "accuracy")] = Score.of(_mean(accuracies))
            # The variance of a mean of k independent scores is the sum of theirs over k squared.
            nodules[ScoreKey(row, MEAN, "accuracy")] = len(sizes) ** 2 / sum(1 / size for size in sizes)
    versions = run.metadata().versions
    return Measured(folder, run.identity, versions, sections, cells, nodules, frozenset(references), tests, failed)


def _mean(of_sets: Sequence[Mapping[int, Sequence[float]]]) -> dict[int, list[float]]:
    """Average over label sets, seed by seed and fold by fold."""
    return {fold: np.mean([reached[fold] for reached in of_sets], axis=0).tolist() for fold in of_sets[0]}


def _complete(run: Run, specs: Sequence[FitSpec]) -> list[FitSpec]:
    """Return all fits of a row on a label set, by fold and seed; refuse where one is missing."""
    label_set, method = specs[0].label_set, specs[0].method
    seeds = sorted({spec.seed for spec in specs})
    wanted = [FitSpec(label_set, method, fold, seed) for fold in range(run.identity.folds) for seed in seeds]
    for spec in wanted:
        if spec not in specs:
            raise InputError(f"the record {run.path(spec)} is missing, so the run is half done; run its command again")
    return wanted


def _read(run: Run, spec: FitSpec, sections: Iterable[Section]) -> FitRecord:
    try:
        record = run.read(spec)
    except Unusable as error:
        raise InputError(
            f"the record {run.path(spec)} cannot be used ({error}); run the run's command again to make it anew"
        ) from error
    if record is None:
        raise InputError(f"the record {run.path(spec)} was just removed; run its command again")
    for section in sections:
        width = len(section.protocol.class_names)
        if record.status == "done" and record.proba.shape != (len(record.labels), width):
            raise InputError(
                f"the record {run.path(spec)}, key proba: no probabilities over {width} classes; "
                "delete it and run again to train that fit"
            )
    return record


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


def _digest(records: Sequence[FitRecord]) -> str:
    """Return a digest of the nodules that each fold tests, with their labels; seeds share theirs."""
    tested = {
        (record.spec.fold, nodule, int(label))
        for record in records
        for nodule, label in zip(record.nodule_ids, record.labels, strict=True)
    }
    return sha256(json.dumps(sorted(tested)))
