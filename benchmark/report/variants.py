"""What another setting of a method changes: each variant against its row, on folds and nodule by nodule."""

from collections.abc import Iterable, Iterator

import numpy as np

from benchmark.against_base import ALPHA, in_common, points
from benchmark.bootstrap import paired_bootstrap
from benchmark.estimates import decisions
from benchmark.report.gather import Gathered
from benchmark.report.judged import judged
from benchmark.report.parts import Cell, Chapter, Grid, Part, Prose
from benchmark.scores import Section
from benchmark.statistics import corrected_interval
from benchmark.tables import Line, Table, fold_ratio

HEADINGS = ("Variant", "Setting", "On folds", "95 % from", "to", "Nodule by nodule", "95 % from", "to")
_ABOUT = (
    "Each variant's accuracy less that of the row that it varies, in points: on the folds that both have, with the "
    "interval of the corrected resampled t-test, and on the pooled predictions with patients drawn anew. Intervals "
    "hold for each line by itself: of twenty lines one leaves zero out by chance."
)
_NONE = Cell("-")


def chapter(run: Gathered) -> Chapter:
    """Compare every variant of a table with its row, under the decision of the paper's tables."""
    parts: list[Part] = []
    for table in [run.tables[name] for name in ("table1", "table2") if name in run.tables]:
        pairs = list(varied(line for line in table.lines if line.is_trained))
        for section in [section for section in table.sections if section in run.first_sections]:
            if body := tuple(_line(run, table, section, line, base) for line, base in pairs):
                parts.append(Grid(f"{section.title}: variants against their rows, in points", HEADINGS, body))
    return Chapter("variants", "What a setting changes", (Prose(_ABOUT), *parts) if parts else ())


def varied(lines: Iterable[Line]) -> Iterator[tuple[Line, Line]]:
    """Return each variant with the row of the same method that has the most of its settings and no other."""
    made = list(lines)
    for line in made:
        alike = [other for other in made if other.row.source == line.row.source and _has_more(line, other)]
        if line.row.kind == "variant" and alike:
            yield line, max(alike, key=lambda other: len(other.row.hyperparameters))


def _has_more(line: Line, other: Line) -> bool:
    """Whether a row has all settings of another and some beside."""
    more, less = line.row.hyperparameters, other.row.hyperparameters
    return len(more) > len(less) and all(name in more and more[name] == value for name, value in less.items())


def _line(run: Gathered, table: Table, section: Section, line: Line, base: Line) -> tuple[Cell, ...]:
    changed = line.row.hyperparameters.keys() - base.row.hyperparameters.keys()
    setting = ", ".join(f"{name} = {line.row.hyperparameters[name]}" for name in sorted(changed))
    delta = in_common(line, base, section)
    on_folds: tuple[Cell, ...] = (_NONE,) * 3
    if len(delta) > 1:
        on_folds = _cells(float(delta.mean()), *corrected_interval(delta, fold_ratio(table, section), ALPHA))
    return (Cell(line.title), Cell(f"{setting} (against {base.title})"), *on_folds, *_pooled(run, section, line, base))


def _pooled(run: Gathered, section: Section, line: Line, base: Line) -> tuple[Cell, ...]:
    """Compare on the nodules of all folds; nothing where the two were not tested on the same."""
    rows = {one.line.row.key: one for one in judged(run, section.protocol.label_set)[0]}
    if run.nodules is None or not {line.row.key, base.row.key} <= rows.keys():
        return (_NONE,) * 3
    ours, theirs = (rows[one.row.key].predictions.tested(section.protocol) for one in (line, base))
    if not np.array_equal(ours.nodules, theirs.nodules):
        return (_NONE,) * 3
    right, of_base = (decisions(one, section) == one.labels for one in (ours, theirs))
    found = paired_bootstrap(right, of_base, [run.nodules.patient_ids[row] for row in ours.nodules])
    return _cells(100 * found.difference, 100 * found.low, 100 * found.high)


def _cells(*values: float) -> tuple[Cell, ...]:
    return tuple(Cell(points(value), value) for value in values)
