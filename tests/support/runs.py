"""Invented runs for the tests of the check: scores with the noise of folds and seeds, and whole run folders."""

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from benchmark.check.measured import MEAN
from benchmark.commands.check import RESULTS
from benchmark.contracts import Provenance
from benchmark.files import sealed
from benchmark.records import FitSpec
from benchmark.run import Run
from benchmark.runfile import RunMetadata
from benchmark.scores import Score, ScoreKey
from fakes import IDENTITY, A, B, C, record

PROTOCOLS = (A, B, C)
RUN_IDENTITY = replace(IDENTITY, nodules=2000, recipe=replace(IDENTITY.recipe, epochs=6, lr=0.1))
METADATA = RunMetadata({"torch": "2.9"}, "cpu", "", Provenance(None, "", None))


def copy_results(target: Path) -> None:
    """Copy what the check reads beside golden numbers, to be written to even where the checkout may not be."""
    for path in (*(RESULTS / "published").glob("*"), RESULTS / "margins.toml"):
        copy = target / path.relative_to(RESULTS)
        copy.parent.mkdir(parents=True, exist_ok=True)
        copy.write_bytes(path.read_bytes())


def write_run(
    folder: Path, rows: Mapping[str, float], *, seeds: int = 1, luck: int = 0, tested: int = 400, **changes: Any
) -> Run:
    """Write a finished run; a row decides rightly with the given chance, each by its own luck, on `tested` nodules."""
    run = Run(folder, replace(RUN_IDENTITY, **changes))
    run.start("python run_all.py --preset quick", METADATA)
    for label_set, classes in (("three", 3), ("two", 2)):
        for fold in range(run.identity.folds):
            labels = np.random.default_rng([fold, classes]).permutation(np.arange(tested) % classes)
            for number, (row, accuracy) in enumerate(rows.items()):
                kind = "reference" if row == "majority" else "paper"
                for seed in range(seeds):
                    rng = np.random.default_rng([luck, fold, classes, number, seed])
                    wrong = (labels + rng.integers(1, classes, tested)) % classes
                    decided = np.where(rng.random(tested) < accuracy, labels, wrong)
                    spec = FitSpec(label_set, row, fold, seed)
                    proba = (0.8 * np.eye(classes)[decided] + 0.2 / classes).tolist()
                    run.write(record(spec, labels.tolist(), proba, identity=run.identity, kind=kind))
    run.finish(PROTOCOLS)
    return run


def resealed(content: bytes) -> bytes:
    """Return an edited run.json with the hash that belongs to what it says now."""
    return sealed(b"{" + content.partition(b'",')[2])


READERS = {"three": ("1|2|2", "3|3|2", "5|4|3"), "two": ("1|2|2", "5|4|4")}  # their scores, by class
ROWS = {"ce": 0.55, "poisson": 0.5, "clip_lung": 0.8, "majority": 0.4}


def write_whole_run(folder: Path, tested: int, seeds: int = 2, rows: Mapping[str, float] = ROWS) -> Path:
    """Write a run whose records and cohort.csv speak of the same nodules, those of each fold and label set its own."""
    run = write_run(folder, rows, seeds=seeds, tested=tested, nodules=2 * 5 * tested)
    lines = {}
    for spec in run.specs():
        found = run.read(spec)
        ids = tuple(f"{spec.label_set}-{spec.fold}-{i}" for i in range(tested))
        run.write(replace(found, nodule_ids=ids))
        for number, (name, label) in enumerate(zip(ids, found.labels.tolist(), strict=True)):
            scores = READERS[spec.label_set][label]
            mean = np.mean([float(one) for one in scores.split("|")])
            both = [label, ""] if spec.label_set == "three" else ["", label]
            cells = [name, "s", f"p{spec.fold}-{number // 3}", 3, scores, mean, 8.0, 1.25, *both, spec.fold, ""]
            lines[name] = ",".join(map(str, cells))
    names = "nodule_id,scan_id,patient_id,n_readers,malignancy_scores,malignancy_mean,diameter_mm,slice_thickness_mm"
    text = "\n".join([f"{names},label_three,label_two,fold,untrusted", *lines.values()]) + "\n"
    (folder / "cohort.csv").write_text(text)
    return folder


SECTIONS = {"A-open": 530, "B-restricted": 325, "B-open": 325, "C-open": 325}
METRICS = ("accuracy", "recall_benign", "f1_benign", "recall_malignant", "f1_malignant", "macro_f1")


def truth(rng: np.random.Generator, rows: int = 12) -> dict[ScoreKey, tuple[np.ndarray, float]]:
    """Invent what cannot be seen: every score's expectation in each fold, and its spread between seeds."""
    found = {}
    for row in range(rows):
        restless = rng.uniform(0.6, 1.6)
        for section, nodules in SECTIONS.items():
            for metric in METRICS:
                size = nodules if metric == "accuracy" else nodules / 3
                fold_effect = 0.02 * rng.standard_normal(5)
                found[ScoreKey(f"m{row}", section, metric)] = (0.6 + fold_effect, restless * np.sqrt(0.12 / size))
    return found


def observe(
    rng: np.random.Generator, true: Mapping[ScoreKey, tuple[np.ndarray, float]], seeds: int
) -> dict[ScoreKey, Score]:
    """Train in imagination: the noise of seeds, which the scores of a fit share in part."""
    shared = {(row, section[0] == "C"): rng.standard_normal((5, seeds)) for row, section, _ in true}
    values = {
        ScoreKey(row, section, metric): expected[:, None]
        + spread * (0.7 * shared[row, section[0] == "C"] + np.sqrt(0.51) * rng.standard_normal((5, seeds)))
        for (row, section, metric), (expected, spread) in true.items()
    }
    for row in {row for row, _ in shared}:
        parts = [values[ScoreKey(row, section, "accuracy")] for section in ("A-open", "C-open")]
        values[ScoreKey(row, MEAN, "accuracy")] = (parts[0] + parts[1]) / 2
    return {
        key: Score(
            v.mean(axis=1),
            tuple(range(5)),
            seeds,
            float(np.sqrt(v.var(axis=1, ddof=1).mean())) if seeds > 1 else np.nan,
        )
        for key, v in values.items()
    }


def sizes(true: Mapping[ScoreKey, Any]) -> dict[ScoreKey, float]:
    """Return how many nodules each score rests on."""
    found = {a: float(SECTIONS[a[1]] if a[2] == "accuracy" else SECTIONS[a[1]] / 3) for a in true}
    return found | {ScoreKey(row, MEAN, "accuracy"): 4 / (1 / 530 + 1 / 325) for row in {row for row, _, _ in true}}
