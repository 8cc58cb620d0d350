"""What is not in the numbers, and why: failed fits, rows that do not apply, fits still to be made, files of no use."""

from collections import Counter
from collections.abc import Iterator

import numpy as np

from benchmark.footnotes import MICRO_BATCH, READS_DIAMETER, footnotes, same_models
from benchmark.report.gather import Gathered
from benchmark.report.parts import Cell, Chapter, Grid, Part, Points, Prose
from benchmark.tables import Line

DEFAULT = ("paper", "ablation", "control", "reference")


def chapter(run: Gathered) -> Chapter:
    """List all of it; say so where there is nothing."""
    parts: list[Part] = []
    if said := tuple(dict.fromkeys(sentences(run))):
        parts.append(Points(said))
    if absent := ", ".join(not_made(run)):
        parts.append(Prose(f"Rows that a run makes unless told otherwise, and that this one does not have: {absent}."))
    if broken := [(spec, record) for spec, record in run.found.items() if record and record.status != "done"]:
        body = tuple(
            tuple(
                map(
                    Cell,
                    (
                        run.rows[spec.method].title,
                        spec.label_set,
                        str(spec.fold),
                        str(spec.seed),
                        record.status,
                        record.reason,
                    ),
                )
            )
            for spec, record in broken
        )
        headings = ("Method", "Classes", "Fold", "Seed", "Status", "Reason")
        parts.append(Grid("Fits without a result", headings, body))
    if run.faults:
        faults = tuple((Cell(path), Cell(reason)) for path, reason in run.faults.items())
        parts.append(Grid("Files that could not be used", ("File", "Reason"), faults))
    return Chapter(
        "missing", "What is missing", tuple(parts) or (Prose("Every row that stands here has a result on every fold."),)
    )


def not_made(run: Gathered) -> list[str]:
    """Return the titles of the rows of the default choice that have no record."""
    return [row.title for key, row in run.known.rows.items() if row.kind in DEFAULT and key not in run.rows]


def sentences(run: Gathered) -> Iterator[str]:
    """Say what is missing of every row, and what to do where a row is not known."""
    for table in run.tables.values():
        same = same_models(table)
        notes = (note for note in footnotes(table) if note not in same)
        yield from (note for note in notes if not (note.endswith(READS_DIAMETER) or MICRO_BATCH in note))
    for line in run.lines:
        for label_set, records in line.records.items():
            seeds = Counter(record.spec.fold for record in records if record.status == "done")
            if seeds and min(seeds.values()) < max(seeds.values()):
                few = ", ".join(str(fold) for fold in sorted(seeds) if seeds[fold] < max(seeds.values()))
                yield f"{line.title} on {label_set} classes: fewer seeds than elsewhere on fold {few}"
        yield from _keys(line)
    yield from _absent_classes(run)
    for key in run.strangers:
        yield f"The row {key} is not known here and stands under its key; give the --plugin that defines it"


def _keys(line: Line) -> Iterator[str]:
    """Say where a row's records were not all made by the same code and settings."""
    keys = Counter(record.key for records in line.records.values() for record in records)
    if len(keys) > 1:
        few = keys.total() - max(keys.values())
        yield f"{line.title}: {few} of {keys.total()} records were made by other code or settings than the rest"


def _absent_classes(run: Gathered) -> Iterator[str]:
    """Say which test folds lack a class, whose scores are then unknown and averaged over nothing."""
    for section in run.first_sections:
        protocol = section.protocol
        labels = {
            spec.fold: record.labels
            for spec, record in run.found.items()
            if record is not None and record.status == "done" and spec.label_set == protocol.label_set
        }
        for k in protocol.test_classes:
            if folds := sorted(fold for fold, of_fold in labels.items() if not np.any(of_fold == k)):
                which = f"fold{'s' * (len(folds) > 1)} {', '.join(map(str, folds))}"
                name = protocol.class_names[k]
                yield f"{protocol.title}: no {name} nodule is tested in {which}, so scores of that class are left out"
