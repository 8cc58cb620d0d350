"""Tables 1 to 3, each number with the paper's below it, and what the audit says of each printed row."""

import math
from collections.abc import Iterator

from benchmark.footnotes import footnotes
from benchmark.render import csv_text, latex, markdown
from benchmark.report.gather import Gathered
from benchmark.report.paper import Paper
from benchmark.report.parts import Cell, Chapter, Copies, Grid, Heading, Part, Points, Prose
from benchmark.tables import Block, Column, Line, Table, best, cells, competing, printed

LIDC = "LIDC"  # the collection that the printed numbers speak of


def chapter(run: Gathered) -> Chapter:
    """Lay out every table."""
    papers = run.known.papers if run.file.identity.collection == LIDC else ()
    paper = papers[0] if papers else None
    parts = [part for name, table in run.tables.items() for part in _table(run, name, table, paper)]
    return Chapter("tables", "The tables", (*_about(run, paper), *parts) if run.found else ())


def _about(run: Gathered, paper: Paper | None) -> Iterator[Part]:
    yield Prose(
        "Percent: mean and sample standard deviation over folds. Bold is the highest mean of the methods with every "
        "fold, and no verdict. Argmax accuracy decides for the most probable class, one way for all rows; Accuracy "
        "decides as the row's own method does. Wide tables scroll sideways. A click on a number shows its folds, "
        "seeds and records; one on a heading sorts."
    )
    if paper is None:
        return
    published = paper.published
    yield Prose(
        f"Below our number, after the word “paper”, stands the one that {published.authors} printed "
        f"({published.title}, {published.venue})."
    )
    yield Prose(rule_note(run.file.identity.label_rule, run.file.identity.nodules))
    if run.file.identity.source != "dicom":
        yield Prose("Our voxels are not the paper's CT, so the two numbers answer different questions.")
    if paper.test_sets:
        sets = "; ".join(f"test set {number}: {sizes}" for number, sizes in enumerate(paper.test_sets, 1))
        yield Prose(
            "The audit asks whether one confusion matrix of whole nodules can give a printed row. It found "
            f"{sets}. The paper's results are means over five folds, which need not come from one matrix: a row that "
            "“fits no test set” may still be a mean over five test sets (AUDIT.md says of which this holds). That a "
            "row fits none names no reason for it."
        )


def rule_note(rule: str, nodules: int) -> str:
    """Say how our labels and nodules differ from what the paper's text says (section 3.1)."""
    edges = (
        "The paper's text calls a mean malignancy lower than 2.5 benign and one larger than 3.5 malignant; our label "
        "rule 'published' takes 2.5 and 3.5 to them as well, since that fits the class proportions of the printed "
        "numbers. "
    )
    return f"{edges * (rule == 'published')}The paper has 2,026 nodules; this run has {nodules:,}."


def _table(run: Gathered, name: str, table: Table, paper: Paper | None) -> Iterator[Part]:
    yield Heading(table.title)
    for block in table.blocks:
        yield grid(run, table, block, paper)
    if notes := footnotes(table):
        yield Points(tuple(notes))
    notes, columns = run.origin.notes(), run.origin.columns()
    yield Copies(
        name, {"Markdown": markdown(table, notes), "CSV": csv_text(table, columns), "LaTeX": latex(table, notes)}
    )


def grid(run: Gathered, table: Table, block: Block, paper: Paper | None) -> Grid:
    """Return a block with the paper's number below ours, and the audit's verdict last where the paper has the block."""
    top = {column: best(table, column) for column in block.columns}
    section = block.columns[0].section
    one = len({column.section for column in block.columns}) == 1
    verdicts = [paper.verdict(line, section) if paper and one else "" for line in table.lines]
    headings = ["Method", *(column.heading for column in block.columns), *["Audit of the printed row"] * any(verdicts)]
    body = []
    for line, verdict in zip(table.lines, verdicts, strict=True):
        numbers = [_cell(run, table, line, column, top[column], paper) for column in block.columns]
        body.append((Cell(line.marked), *numbers, *[Cell(verdict or "not printed")] * any(verdicts)))
    name = table.title.partition(":")[0]
    return Grid(f"{name}. {block.title}", tuple(headings), tuple(body))


def _cell(run: Gathered, table: Table, line: Line, column: Column, top: float, paper: Paper | None) -> Cell:
    score = cells(line, column.section).get(column.metric)
    cell = paper.cell(line, column.section, column.metric) if paper else None
    std = f" ± {cell.std}" if cell and cell.std is not None else ""
    return Cell(
        text=printed(score, table.folds),
        value=100 * score.mean if score and not math.isnan(score.mean) else None,
        anchor=run.anchors.get((line.row.key, column.section.key), ""),
        below=f"paper {cell.value}{std}" if cell else "",
        is_best=competing(line, column, table.folds) == top,
    )
