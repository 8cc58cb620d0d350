"""Behind every cell: its folds and seeds, the records, and their hashes."""

from benchmark.report.gather import Gathered
from benchmark.report.parts import Cell, Chapter, Grid, More, Prose
from benchmark.scores import Section, by_fold, metric_title
from benchmark.tables import Line


def chapter(run: Gathered) -> Chapter:
    """Give the fits of every row on every section."""
    parts = []
    for line in run.lines:
        for section in run.sections:
            if anchor := run.anchors.get((line.row.key, section.key)):
                title = f"{line.title}, {section.title}"
                parts.append(More(title, (_grid(run, line, section, title),), anchor))
    about = Prose(
        "Each fit's scores, in percent, with its record's file in the run folder and the SHA-256 of that file."
    )
    return Chapter("evidence", "The evidence", (about, *parts) if parts else ())


def _grid(run: Gathered, line: Line, section: Section, title: str) -> Grid:
    metrics = (*section.metrics, "accuracy_argmax")
    records = sorted(line.records[section.protocol.label_set], key=lambda one: (one.spec.fold, one.spec.seed))
    reached = by_fold(records, section)
    done = [record.spec for record in records if record.status == "done"]
    flat = {
        metric: [value for fold in sorted(reached[metric]) for value in reached[metric][fold]] for metric in reached
    }
    scores = {spec: [flat[metric][number] for metric in metrics] for number, spec in enumerate(done)}
    body = []
    for record in records:
        spec = record.spec
        values = scores.get(spec)
        numbers = [Cell(f"{100 * v:.1f}", 100 * v) if v == v else Cell("-") for v in values or ()]
        numbers = numbers or [Cell(record.status)] * len(metrics)
        path = f"fits/{spec.path().as_posix()}"
        name = Cell(f"{spec.fold}", float(spec.fold)), Cell(f"{spec.seed}", float(spec.seed))
        body.append((*name, *numbers, Cell(path), Cell(run.hashes[path])))
    headings = ("Fold", "Seed", *map(metric_title, metrics), "Record", "SHA-256")
    return Grid(title, headings, tuple(body))
