"""What stands in the tables: a pure function of rows and records, in the paper's order. `render.py` makes it text."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache

from benchmark.contracts import Protocol, Row
from benchmark.records import FitRecord, Found
from benchmark.scores import Score, Section, metric_title, scores_of, sections_of, share_tested

LAYOUT = (("table1", "Table 1", ("A",)), ("table2", "Table 2", ("B", "C")))
ABLATION_TITLE = "Table 3: losses of CLIP-Lung (cross-entropy is in every row)"


@dataclass(frozen=True, eq=False)
class Line:
    """A row with what came of it.

    Attributes:
        row: What was made.
        title: As this table prints it.
        records: By label set.
    """

    row: Row
    title: str
    records: Mapping[str, Sequence[FitRecord]]

    @property
    def is_trained(self) -> bool:
        """Whether it is a method, whose scores compete; a reference's do not."""
        return self.row.kind != "reference"

    @property
    def marked(self) -> str:
        """The title, marked where the paper does not have the row."""
        return self.title if self.row.kind in ("paper", "ablation") else f"({self.row.kind}) {self.title}"


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
        lines: Methods first, references last; the first is what the others are compared with.
        blocks: Those of the paper first, others behind.
        folds: How many folds a full cell rests on.
    """

    title: str
    lines: tuple[Line, ...]
    blocks: tuple[Block, ...]
    folds: int

    @property
    def sections(self) -> tuple[Section, ...]:
        """All sections of the blocks, each once."""
        return tuple(dict.fromkeys(column.section for block in self.blocks for column in block.columns))


def tables_of(protocols: Sequence[Protocol], rows: Mapping[str, Row], found: Found, folds: int) -> dict[str, Table]:
    """Lay the paper's tables out for the chosen protocols and rows, by file name.

    Tables 1 and 2 have every row but the ablations. Table 3 has the rows with some of CLIP-Lung's losses, and is made
    if one of them is an ablation. References stand below both.
    """
    of_kind = [(row.kind, line_of(row, row.title, found)) for row in rows.values()]
    references = [line for kind, line in of_kind if kind == "reference"]
    methods = [line for kind, line in of_kind if kind not in ("reference", "ablation")]
    tables = {}
    for name, title, members in LAYOUT:
        if chosen := [protocol for protocol in protocols if protocol.key in members]:
            tables[name] = comparison_table(title, chosen, [*methods, *references], folds)
    if any(row.kind == "ablation" for row in rows.values()):
        ticked = [row for row in rows.values() if row.losses]
        ablations = sorted(ticked, key=lambda row: row.kind != "ablation")  # the full sum of losses comes last
        lines = [line_of(row, row.losses, found) for row in ablations]
        tables["table3"] = accuracy_table(ABLATION_TITLE, protocols, [*lines, *references], folds)
    return tables


def comparison_table(title: str, protocols: Sequence[Protocol], lines: Sequence[Line], folds: int) -> Table:
    """Lay out every score of the protocols: their first decisions as in the paper, the others behind."""
    title = f"{title}: {', '.join(protocol.title for protocol in protocols)}"
    return Table(title, tuple(lines), tuple(map(block_of, sections_of(protocols))), folds)


def accuracy_table(title: str, protocols: Sequence[Protocol], lines: Sequence[Line], folds: int) -> Table:
    """Lay out the accuracies alone, under the protocols' first decisions."""
    sections = tuple(Section(protocol, protocol.decisions[0]) for protocol in protocols)
    columns = tuple(Column(section, "accuracy", section.protocol.title) for section in sections)
    return Table(title, tuple(lines), (Block("Accuracy", columns, sections),), folds)


def block_of(section: Section) -> Block:
    """Return a section's scores side by side, the paper's first.

    Rows read their decisions off in different ways; the accuracy of the most probable class is one way for all.
    """
    metrics = (*section.metrics, "accuracy_argmax")
    columns = tuple(Column(section, metric, metric_title(metric)) for metric in metrics)
    return Block(section.title, columns, (section,))


def line_of(row: Row, title: str, found: Found) -> Line:
    """Gather a row's records by label set."""
    records: dict[str, list[FitRecord]] = {}
    for spec, record in found.items():
        if spec.method == row.key and record is not None:
            records.setdefault(spec.label_set, []).append(record)
    return Line(row, title, records)


@cache
def cells(line: Line, section: Section) -> dict[str, Score]:
    """Return a line's scores on a section; empty where no fold is finished."""
    return scores_of(line.records.get(section.protocol.label_set, ()), section)


def competing(line: Line, column: Column, folds: int) -> float:
    """Return the mean that may be the best of its column, in percent as printed: a method's, over every fold.

    NaN where there is none: a mean over fewer folds is the result of another test.
    """
    score = cells(line, column.section).get(column.metric)
    return round(100 * score.mean, 1) if line.is_trained and score and len(score.folds) == folds else math.nan


def best(table: Table, column: Column) -> float:
    """Return the highest mean that competes, in percent as printed; NaN if there is none above zero."""
    means = [competing(line, column, table.folds) for line in table.lines]
    return max((mean for mean in means if mean > 0), default=math.nan)


def printed(score: Score | None, folds: int) -> str:
    """Return `mean ± std` in percent, with n where folds are missing, and a dash where nothing is known."""
    if score is None or math.isnan(score.mean):
        return "-"
    text = f"{100 * score.mean:.1f}"
    if len(score.folds) > 1:
        text += f" ± {100 * score.std:.1f}"
    return text if len(score.folds) == folds else f"{text} (n={len(score.folds)})"


def grid(table: Table, block: Block, bold: tuple[str, str]) -> list[list[str]]:
    """Return a block's body as printed cells, line by line, each column's best between the `bold` marks."""
    top = {column: best(table, column) for column in block.columns}
    body = []
    for line in table.lines:
        texts = []
        for column in block.columns:
            score = cells(line, column.section).get(column.metric)
            text = printed(score, table.folds)
            is_best = competing(line, column, table.folds) == top[column]
            texts.append(f"{bold[0]}{text}{bold[1]}" if is_best else text)
        body.append(texts)
    return body


def fold_ratio(table: Table, section: Section) -> float:
    """Return the size of a section's test fold over that of its training set, for Nadeau and Bengio's correction.

    Zero for a single fold, in which nothing can be compared.
    """
    of_set = [line.records.get(section.protocol.label_set, ()) for line in table.lines]
    if table.folds < 2:
        return 0.0
    return share_tested([record for records in of_set for record in records], section) / (table.folds - 1)
