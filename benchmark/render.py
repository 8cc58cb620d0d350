"""Tables as text: Markdown, LaTeX and CSV. Every file says what its numbers are."""

import csv
import io
import math
import re
from collections.abc import Sequence

from tabulate import tabulate

from benchmark.against_base import COMPARISON, differences
from benchmark.files import in_csv
from benchmark.footnotes import footnotes
from benchmark.tables import Table, cells, grid

_RIGHT = ("left", "right", "right", "right")


def markdown(table: Table, notes: Sequence[str]) -> str:
    """Return a table as Markdown, with its notes before and its comparisons behind."""
    parts = [f"# {_md(table.title)}", "", *(f"- {_md(note)}" for note in notes), ""]
    for block in table.blocks:
        headers = ["Method", *(_md(column.heading) for column in block.columns)]
        body = grid(table, block, ("**", "**"))
        lines = [[_md(line.marked), *texts] for line, texts in zip(table.lines, body, strict=True)]
        parts += [f"## {_md(block.title)}", "", tabulate(lines, headers, "pipe", disable_numparse=True), ""]
        for section in block.compared:
            if compared := differences(table, section):
                parts += [f"{_md(section.title)}, accuracy against {_md(table.lines[0].title)}, in points:", ""]
                compared = [[_md(texts[0]), *texts[1:]] for texts in compared]
                parts += [tabulate(compared, COMPARISON, "pipe", disable_numparse=True, colalign=_RIGHT), ""]
    parts += [f"- {_md(note)}" for note in footnotes(table)]
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
    parts += [f"% {' '.join(note.split())}" for note in footnotes(table)]
    return "\n".join(parts) + "\n"


def csv_text(table: Table, columns: dict[str, str]) -> str:
    """Return all metrics of a table as CSV, a line per section, row and metric; `columns` stand on every line."""
    out = io.StringIO()
    writer = csv.writer(out, lineterminator="\n")
    writer.writerow(["dataset", "decision", "method", "title", "kind", "metric", "mean", "std", "n", *columns])
    for section in table.sections:
        for line in table.lines:
            for metric, score in cells(line, section).items():
                numbers = [*("" if math.isnan(n) else f"{n:.6f}" for n in (score.mean, score.std)), len(score.folds)]
                head = [section.protocol.key, section.decision, line.row.key, line.title, line.row.kind, metric]
                writer.writerow([*map(in_csv, head), *numbers, *map(in_csv, columns.values())])
    return out.getvalue()


# What Markdown would take for markup: cells, code, links, pictures, emphasis, struck text, HTML, character references,
# addresses (GitHub makes links of bare ones), and what begins a heading, a list or a rule. Not `_` within a word.
_MARKUP = re.compile(r"[\\|`\[\]*~<>@]|!(?=\[)|&(?=#?\w+;)|(?<!\w)_|_(?!\w)|(?<=:)/(?=/)|(?<=\b[Ww]{3})\.|^[#+=-]")


def _md(text: str) -> str:
    """Return a user's words as one cell of one line, shown as they are: nothing in them is rendered or fetched."""
    return _MARKUP.sub(r"\\\g<0>", " ".join(text.split()))


_TEX = {
    **{sign: f"\\{sign}" for sign in "%_&#${}"},
    **{"±": r"$\pm$", "<": r"$<$", ">": r"$>$", "|": r"$|$"},
    **{"\\": r"\textbackslash{}", "^": r"\textasciicircum{}", "~": r"\textasciitilde{}"},
}


def _tex(text: str) -> str:
    return "".join(_TEX.get(sign, _typeset(sign)) for sign in " ".join(text.split()))


def _typeset(sign: str) -> str:
    """Return a letter that plain LaTeX knows as it is, another sign by its code point: it would stop the compiler."""
    known = (sign.isascii() and sign.isprintable()) or (sign.isalpha() and ord(sign) < 256 and sign not in "ªºµÐðÞþ")
    return sign if known else f"[U+{ord(sign):04X}]"
