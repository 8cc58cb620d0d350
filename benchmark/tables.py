"""What stands in the tables: a pure function of records, in the paper's order. `render.py` makes text of it."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from typing import Literal

import numpy as np
from jaxtyping import Float

from benchmark.contracts import Decision, Protocol
from benchmark.metrics import scores
from benchmark.records import FitRecord, FitSpec
from benchmark.statistics import corrected_t_test, holm, sample_std, smallest_detectable_difference

Kind = Literal["method", "added", "reference"]
Found = dict[FitSpec, FitRecord | None]
COMPARISON = ("Method", "Difference", "Smallest detectable", "p (Holm)")


@dataclass(frozen=True, eq=False)
class Row:
    """One line of a table, with its records on each label set.

    Attributes:
        key: Names the fits.
        title: As printed.
        kind: A method of the paper, one added to it, or a reference that no training made.
        records: By label set.
    """

    key: str
    title: str
    kind: Kind
    records: dict[str, list[FitRecord]]


@dataclass(frozen=True)
class Cell:
    """One score over folds, as fractions; seeds of a fold are averaged first."""

    values: Float[np.ndarray, " folds"]

    @property
    def mean(self) -> float:
        """Mean over folds."""
        return float(self.values.mean()) if len(self.values) else float("nan")

    @property
    def std(self) -> float:
        """Sample standard deviation over folds."""
        return sample_std(self.values)


@dataclass(frozen=True)
class Section:
    """One block of columns: a protocol under one decision rule."""

    protocol: Protocol
    decision: Decision

    @property
    def title(self) -> str:
        """Name the block; the decision only where there is a choice."""
        if len(self.protocol.decisions) == 1:
            return self.protocol.title
        among = " or ".join(self.protocol.class_names[k] for k in self.protocol.test_classes)
        how = f"decision among {among}" if self.decision == "restricted" else "decision among all classes"
        return f"{self.protocol.title} ({how})"

    @property
    def metrics(self) -> list[str]:
        """Keys of the printed scores, in the paper's order."""
        names = [self.protocol.class_names[k] for k in self.protocol.printed_classes]
        return ["accuracy", *(f"{score}_{name}" for name in names for score in ("recall", "f1"))]


@dataclass(frozen=True)
class Column:
    """One score of one section."""

    section: Section
    metric: str
    heading: str


@dataclass(frozen=True)
class Block:
    """Columns that stand side by side, and the sections whose accuracies are compared below them."""

    title: str
    columns: tuple[Column, ...]
    compared: tuple[Section, ...]


@dataclass(frozen=True)
class Table:
    """A table of the paper.

    Attributes:
        title: E.g. `"Table 1: LIDC-A"`.
        rows: Methods first, references last; the first is what the others are compared with.
        blocks: Those of the paper first, others behind.
        folds: How many folds a full cell rests on.
    """

    title: str
    rows: tuple[Row, ...]
    blocks: tuple[Block, ...]
    folds: int

    @property
    def sections(self) -> tuple[Section, ...]:
        """All sections of the blocks, each once."""
        return tuple(dict.fromkeys(column.section for block in self.blocks for column in block.columns))


def block_of(section: Section) -> Block:
    """Return a section's scores side by side."""
    columns = tuple(Column(section, metric, metric_title(metric)) for metric in section.metrics)
    return Block(section.title, columns, (section,))


def accuracies_of(sections: Sequence[Section]) -> Block:
    """Return several sections' accuracies side by side."""
    columns = tuple(Column(section, "accuracy", section.protocol.title) for section in sections)
    return Block("Accuracy", columns, tuple(sections))


def comparison_table(title: str, protocols: Sequence[Protocol], rows: Sequence[Row], folds: int) -> Table:
    """Lay out every score of the protocols: their first decisions as in the paper, the others behind."""
    sections = [Section(protocol, protocol.decisions[0]) for protocol in protocols]
    sections += [Section(protocol, decision) for protocol in protocols for decision in protocol.decisions[1:]]
    title = f"{title}: {', '.join(protocol.title for protocol in protocols)}"
    return Table(title, tuple(rows), tuple(map(block_of, sections)), folds)


def accuracy_table(title: str, protocols: Sequence[Protocol], rows: Sequence[Row], folds: int) -> Table:
    """Lay out the accuracies alone, under the protocols' first decisions."""
    sections = [Section(protocol, protocol.decisions[0]) for protocol in protocols]
    return Table(title, tuple(rows), (accuracies_of(sections),), folds)


def row_of(key: str, title: str, kind: Kind, found: Found) -> Row:
    """Gather a row's records by label set."""
    by_label_set: dict[str, list[FitRecord]] = {}
    for spec, record in found.items():
        if spec.method == key and record is not None:
            by_label_set.setdefault(spec.label_set, []).append(record)
    return Row(key, title, kind, by_label_set)


def metric_title(metric: str) -> str:
    """Return a score's heading, e.g. `"Benign F1"` for `"f1_benign"`."""
    score, _, name = metric.partition("_")
    return f"{name.capitalize()} {'F1' if score == 'f1' else score}" if name else score.capitalize()


def fold_scores(records: Sequence[FitRecord], section: Section) -> dict[int, dict[str, float]]:
    """Return every metric for each finished fold, averaged over the fold's seeds."""
    by_fold: dict[int, list[dict[str, float]]] = {}
    for record in records:
        if record.status == "done":
            score = scores(record.labels, record.proba, record.decoder, section.protocol, section.decision)
            by_fold.setdefault(record.spec.fold, []).append(score)
    return {
        fold: {metric: float(np.mean([s[metric] for s in of_seeds])) for metric in of_seeds[0]}
        for fold, of_seeds in sorted(by_fold.items())
    }


@cache
def scores_of(row: Row, section: Section) -> dict[int, dict[str, float]]:
    """Return a row's scores on a section for each finished fold."""
    return fold_scores(row.records.get(section.protocol.label_set, []), section)


@cache
def cells(row: Row, section: Section) -> dict[str, Cell]:
    """Return a row's scores on a section; empty where no fold is finished."""
    by_fold = list(scores_of(row, section).values())
    return {metric: Cell(np.array([s[metric] for s in by_fold])) for metric in (by_fold[0] if by_fold else {})}


def best(rows: Sequence[Row], column: Column) -> float:
    """Return the highest mean of a trained row, in percent as printed; NaN if there is none."""
    means = [
        round(100 * cell.mean, 1)
        for row in rows
        if row.kind != "reference" and (cell := cells(row, column.section).get(column.metric)) is not None
    ]
    return max((mean for mean in means if not math.isnan(mean)), default=math.nan)


def printed(cell: Cell | None, folds: int) -> str:
    """Return `mean ± std` in percent, with n where folds are missing, and a dash where nothing is known."""
    if cell is None or math.isnan(cell.mean):
        return "-"
    text = f"{100 * cell.mean:.1f}"
    if len(cell.values) > 1:
        text += f" ± {100 * cell.std:.1f}"
    return text if len(cell.values) == folds else f"{text} (n={len(cell.values)})"


def grid(table: Table, block: Block, bold: tuple[str, str]) -> list[list[str]]:
    """Return a block's body as printed cells, row by row, each column's best between the `bold` marks."""
    top = {column: best(table.rows, column) for column in block.columns}
    body = []
    for row in table.rows:
        line = []
        for column in block.columns:
            cell = cells(row, column.section).get(column.metric)
            text = printed(cell, table.folds)
            is_best = row.kind != "reference" and cell is not None and round(100 * cell.mean, 1) == top[column]
            line.append(f"{bold[0]}{text}{bold[1]}" if is_best else text)
        body.append(line)
    return body


def footnotes(table: Table) -> list[str]:
    """Say why cells are missing or rest on fewer folds."""
    notes = []
    for row in table.rows:
        for label_set in dict.fromkeys(section.protocol.label_set for section in table.sections):
            titles = ", ".join(
                dict.fromkeys(s.protocol.title for s in table.sections if s.protocol.label_set == label_set)
            )
            missed = [r for r in row.records.get(label_set, []) if r.status != "done"]
            for reason in dict.fromkeys(r.reason for r in missed):
                folds = sorted({r.spec.fold for r in missed if r.reason == reason})
                where = f"fold{'s' if len(folds) > 1 else ''} {', '.join(map(str, folds))}"
                kind = next(r.status for r in missed if r.reason == reason)
                what = "does not apply" if kind == "unsupported" else f"failed on {where}"
                notes.append(f"{row.title} on {titles} {what}: {reason}")
    return notes


def differences(table: Table, section: Section) -> list[list[str]]:
    """Compare every trained row's accuracy with the first row's, fold by fold.

    Returns:
        Lines of title, mean difference in points, smallest difference that these folds could have shown at
        p < 0.05, and the p-value of the corrected resampled t-test, Holm-adjusted over the lines.
    """
    methods = [row for row in table.rows if row.kind != "reference"]
    test_over_train = 1 / (table.folds - 1)
    by_row = [scores_of(row, section) for row in methods]
    lines, p_values = [], []
    for row, found in zip(methods[1:], by_row[1:], strict=True):
        common = sorted(found.keys() & by_row[0].keys())
        if len(common) < 2:
            continue
        delta = np.array([found[fold]["accuracy"] - by_row[0][fold]["accuracy"] for fold in common])
        least = smallest_detectable_difference(delta, test_over_train)
        lines.append([row.title, f"{100 * delta.mean():+.1f}", f"{100 * least:.1f}"])
        p_values.append(corrected_t_test(delta, test_over_train))
    return [[*line, f"{p:.3f}"] for line, p in zip(lines, holm(p_values), strict=True)]
