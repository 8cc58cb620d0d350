"""Tables as text: Markdown, LaTeX and CSV. Every file says what its numbers are."""

import csv
import io
from collections.abc import Sequence

from tabulate import tabulate

from benchmark.tables import COMPARISON, Table, cells, differences, footnotes, grid

_RIGHT = ("left", "right", "right", "right")


def markdown(table: Table, notes: Sequence[str]) -> str:
    """Return a table as Markdown, with its notes before and its comparisons behind."""
    parts = [f"# {table.title}", "", *(f"- {note}" for note in notes), ""]
    for block in table.blocks:
        headers = ["Method", *(column.heading for column in block.columns)]
        body = grid(table, block, ("**", "**"))
        lines = [[line.marked, *texts] for line, texts in zip(table.lines, body, strict=True)]
        parts += [f"## {block.title}", "", tabulate(lines, headers, "pipe", disable_numparse=True), ""]
        for section in block.compared:
            if compared := differences(table, section):
                parts += [f"{section.title}, accuracy against {table.lines[0].title}, in points:", ""]
                parts += [tabulate(compared, COMPARISON, "pipe", disable_numparse=True, colalign=_RIGHT), ""]
    parts += [f"- {note}" for note in footnotes(table)]
    return "\n".join(parts).rstrip() + "\n"


def latex(table: Table, notes: Sequence[str]) -> str:
    """Return a table as LaTeX, its notes in the caption."""
    parts = []
    for block in table.blocks:
        headers = ["Method", *(column.heading for column in block.columns)]
        body = grid(table, block, (r"\textbf{", "}"))
        lines = [
            [_tex(line.marked), *(text.replace("±", r"$\pm$") for text in texts)]
            for line, texts in zip(table.lines, body, strict=True)
        ]
        parts += [
            r"\begin{table}",
            rf"\caption{{{_tex(f'{table.title}. {block.title}. ' + ' '.join(notes))}}}",
            tabulate(lines, headers, "latex_raw", disable_numparse=True),
            r"\end{table}",
        ]
    parts += [f"% {note}" for note in footnotes(table)]
    return "\n".join(parts) + "\n"


def csv_text(table: Table, columns: dict[str, str]) -> str:
    """Return all metrics of a table as CSV, a line per section, row and metric; `columns` stand on every line."""
    out = io.StringIO()
    writer = csv.writer(out, lineterminator="\n")
    writer.writerow(["dataset", "decision", "method", "title", "kind", "metric", "mean", "std", "n", *columns])
    for section in table.sections:
        for line in table.lines:
            for metric, score in cells(line, section).items():
                numbers = [f"{score.mean:.6f}", f"{score.std:.6f}", len(score.folds)]
                head = [section.protocol.key, section.decision, line.row.key, line.title, line.row.kind, metric]
                writer.writerow([*head, *numbers, *columns.values()])
    return out.getvalue()


def _tex(text: str) -> str:
    replacements = {"%": r"\%", "_": r"\_", "&": r"\&", "#": r"\#", "±": r"$\pm$", "<": r"$<$", ">": r"$>$"}
    return "".join(replacements.get(character, character) for character in text)
