"""A run folder as it would be read, made without the folder: for tests of what the report says of it."""

from collections.abc import Sequence
from dataclasses import replace

import methods
from benchmark import references
from benchmark.contracts import Protocol
from benchmark.nodules import NoduleTable
from benchmark.records import FitRecord, FitSpec
from benchmark.report import Known
from benchmark.report.gather import Gathered
from benchmark.report.nodules import listed
from benchmark.runfile import RunFile
from datasets.protocols import classify
from fakes import IDENTITY, A, record
from runs import METADATA

ROWS = methods.ROWS | references.ROWS


def fits_on(
    table: NoduleTable, key: str, decided: Sequence[int], label_set: str = "three", classes: int = 3
) -> list[FitRecord]:
    """Return the fits of a row, one for each fold of the nodules, from the class that it decides for each nodule."""
    made = []
    for fold in sorted(set(table.fold.tolist())):
        tested = [row for row in range(len(table)) if table.fold[row] == fold and table.labels[label_set][row] >= 0]
        proba = [[float(decided[row] == of_class) for of_class in range(classes)] for row in tested]
        spec, labels = FitSpec(label_set, key, fold, 0), table.labels[label_set][tested].tolist()
        ids = tuple(table.nodule_ids[row] for row in tested)
        made.append(record(spec, labels, proba, nodule_ids=ids, kind=ROWS[key].kind))
    return made


def make_gathered(
    records: Sequence[FitRecord],
    nodules: NoduleTable | None = None,
    protocols: Sequence[Protocol] = (A,),
    folds: int = 2,
    source: str = "phantom",
) -> Gathered:
    """Return a run of two folds, if nothing else is said, that holds these records."""
    count = 0 if nodules is None else len(nodules)
    file = RunFile(
        replace(IDENTITY, folds=folds, nodules=count, source=source),
        METADATA,
        ["python run_all.py"],
        [*protocols],
        True,
    )
    keys = {one.spec.method for one in records}
    return Gathered(
        file=file,
        cohort=listed(file, nodules, {}),
        rows={key: row for key, row in ROWS.items() if key in keys},
        strangers=(),
        found={one.spec: one for one in records},
        faults={},
        hashes={},
        known=Known(ROWS, classify=classify),
        nodules=nodules,
    )
