"""What a finished run says: every score of every row, fold by fold, with the spread between seeds."""

import json
from collections import Counter, defaultdict
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
from benchmark.scores import Score, ScoreKey, Section, by_fold, sections_of, share_tested

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
        shares: Which part of its label set's nodules a section tests, by section.
        references: Rows that nothing trained.
        tests: Digest of which nodules each fold tests and of their labels, by row and label set.
        failed: Why a row has no scores on a label set, by row and label set.
        keys: How many records of a row were made by which code and settings (see `identity.fit_key`).
        weights: Hash of the text tower's weights; empty if no file gave them.
        is_sample: Whether the cohort is a sample of whole patients.
    """

    folder: Path
    identity: Identity
    versions: dict[str, str]
    sections: Mapping[str, Section]
    cells: Mapping[ScoreKey, Score]
    nodules: Mapping[ScoreKey, float]
    shares: Mapping[str, float]
    references: frozenset[str]
    tests: Mapping[tuple[str, str], str]
    failed: Mapping[tuple[str, str], str]
    keys: Mapping[str, Counter[str]]
    weights: str
    is_sample: bool = False

    @property
    def rows(self) -> frozenset[str]:
        """Rows that have records, whether or not they have scores."""
        return frozenset(key[0] for key in (*self.cells, *self.tests, *self.failed))

    @property
    def name(self) -> str:
        """Preset, source, label rule and settings changed by hand: what golden numbers are kept by."""
        identity = self.identity
        return folder_name(identity.preset, identity.source, identity.label_rule, identity.settings)


def read(folder: Path) -> Measured:
    """Score a finished run.

    Raises:
        InputError: The folder holds no finished run, or a damaged one, or no record.
    """
    run = Run.open(folder)
    sections = {section.key: section for section in sections_of(run.protocols())}
    cells: dict[ScoreKey, Score] = {}
    nodules: dict[ScoreKey, float] = {}
    shares: dict[str, float] = {}
    references: set[str] = set()
    tests: dict[tuple[str, str], str] = {}
    failed: dict[tuple[str, str], str] = {}
    keys: dict[str, Counter[str]] = {}
    fits: dict[str, dict[str, list[FitSpec]]] = defaultdict(lambda: defaultdict(list))
    for spec in run.specs():
        fits[spec.method][spec.label_set].append(spec)
    if not fits:
        raise InputError(f"{folder / 'fits'} holds no record to check; run the run's command again")
    for row, by_label_set in fits.items():
        keys[row] = Counter()
        is_reference: set[bool] = set()
        accuracies: list[dict[int, list[float]]] = []
        sizes: list[float] = []
        for label_set, specs in by_label_set.items():
            own = [section for section in sections.values() if section.protocol.label_set == label_set]
            records = [_read(run, spec, own) for spec in _complete(run, specs)]
            keys[row].update(record.key for record in records)
            is_reference |= {record.kind == "reference" for record in records}
            broken = [record for record in records if record.status != "done"]
            if broken:
                failed[row, label_set] = f"{broken[0].status}: {broken[0].reason}"
                continue
            tests[row, label_set] = _digest(records)
            for section in own:
                shares[section.key] = share_tested(records, section)
                reached = by_fold(records, section)
                for metric, size in _sizes(records, section):
                    cells[ScoreKey(row, section.key, metric)] = Score.of(reached[metric])
                    nodules[ScoreKey(row, section.key, metric)] = size
                if section is own[0]:
                    accuracies.append(reached["accuracy"])
                    sizes.append(nodules[ScoreKey(row, section.key, "accuracy")])
        if len(is_reference) > 1:
            raise InputError(
                f"{folder / 'fits'} is damaged: records of the row {row} are of a reference and of a method; "
                "delete the row's folders there and run the run's command again"
            )
        if True in is_reference:
            references.add(row)
        if len(accuracies) > 1 and len({tuple(map(len, reached.values())) for reached in accuracies}) == 1:
            cells[ScoreKey(row, MEAN, "accuracy")] = Score.of(_mean(accuracies))
            # The variance of a mean of k independent scores is the sum of theirs over k squared.
            nodules[ScoreKey(row, MEAN, "accuracy")] = len(sizes) ** 2 / sum(1 / size for size in sizes)
    text_weights = run.text_weights()
    return Measured(
        folder,
        run.identity,
        run.metadata().versions,
        sections,
        cells,
        nodules,
        shares,
        frozenset(references),
        tests,
        failed,
        keys,
        weights=text_weights.sha256 if text_weights else "",
        is_sample=run.metadata().provenance.sample is not None,
    )


def _mean(of_sets: Sequence[Mapping[int, Sequence[float]]]) -> dict[int, list[float]]:
    """Average over label sets, seed by seed and fold by fold."""
    return {fold: np.mean([reached[fold] for reached in of_sets], axis=0).tolist() for fold in of_sets[0]}


def _complete(run: Run, specs: Sequence[FitSpec]) -> Iterator[FitSpec]:
    """Yield all fits of a row on a label set, by fold and seed; refuse where one is missing."""
    label_set, method = specs[0].label_set, specs[0].method
    seeds = sorted({spec.seed for spec in specs})
    for spec in (FitSpec(label_set, method, fold, seed) for fold in range(run.identity.folds) for seed in seeds):
        if spec not in specs:
            raise InputError(f"the record {run.path(spec)} is missing, so the run is half done; run its command again")
        yield spec


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
