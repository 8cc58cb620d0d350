"""Tables: a pure function of records. Columns stand in the paper's order; every file says what its numbers are."""

import csv
import io
import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
from jaxtyping import Float
from tabulate import tabulate

from benchmark.contracts import Decision, Protocol
from benchmark.metrics import scores
from benchmark.records import FitRecord
from benchmark.statistics import corrected_t_test, holm, sample_std, smallest_detectable_difference

Kind = Literal["method", "reference"]
COMPARISON = ("Method", "Difference", "Smallest detectable", "p (Holm)")


@dataclass(frozen=True)
class Row:
    """One line of every table: a method or a reference, with its records on each label set."""

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


def column_title(metric: str) -> str:
    """Return a column's heading, e.g. `"Benign F1"` for `"f1_benign"`."""
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


def cells(row: Row, section: Section) -> dict[str, Cell]:
    """Return a row's scores on a section; empty where no fold is finished."""
    by_fold = list(fold_scores(row.records.get(section.protocol.label_set, []), section).values())
    return {metric: Cell(np.array([s[metric] for s in by_fold])) for metric in (by_fold[0] if by_fold else {})}


def best(rows: Sequence[Row], section: Section) -> dict[str, float]:
    """Return for each printed metric the highest mean of a method, in percent as printed."""
    found = [cells(row, section) for row in rows if row.kind == "method"]
    return {
        metric: max((round(100 * c[metric].mean, 1) for c in found if metric in c), default=math.nan)
        for metric in section.metrics
    }


def printed(cell: Cell | None, folds: int) -> str:
    """Return `mean ± std` in percent, with n where folds are missing, and a dash where nothing is known."""
    if cell is None or math.isnan(cell.mean):
        return "-"
    text = f"{100 * cell.mean:.1f}"
    if len(cell.values) > 1:
        text += f" ± {100 * cell.std:.1f}"
    return text if len(cell.values) == folds else f"{text} (n={len(cell.values)})"


def grid(rows: Sequence[Row], section: Section, folds: int, bold: tuple[str, str]) -> list[list[str]]:
    """Return a section's body as printed cells, the best value of each column between the `bold` marks."""
    top = best(rows, section)
    body = []
    for row in rows:
        found = cells(row, section)
        line = []
        for metric in section.metrics:
            cell = found.get(metric)
            text = printed(cell, folds)
            is_best = row.kind == "method" and cell is not None and round(100 * cell.mean, 1) == top[metric]
            line.append(f"{bold[0]}{text}{bold[1]}" if is_best else text)
        body.append(line)
    return body


def footnotes(rows: Sequence[Row], sections: Sequence[Section]) -> list[str]:
    """Say why cells are missing or rest on fewer folds."""
    notes = []
    for row in rows:
        for label_set in dict.fromkeys(section.protocol.label_set for section in sections):
            titles = ", ".join(dict.fromkeys(s.protocol.title for s in sections if s.protocol.label_set == label_set))
            missed = [r for r in row.records.get(label_set, []) if r.status != "done"]
            for reason in dict.fromkeys(r.reason for r in missed):
                folds = sorted({r.spec.fold for r in missed if r.reason == reason})
                where = f"fold{'s' if len(folds) > 1 else ''} {', '.join(map(str, folds))}"
                kind = next(r.status for r in missed if r.reason == reason)
                what = "does not apply" if kind == "unsupported" else f"failed on {where}"
                notes.append(f"{row.title} on {titles} {what}: {reason}")
    return notes


def differences(rows: Sequence[Row], section: Section, test_over_train: float) -> list[list[str]]:
    """Compare every method's accuracy with the first method's, fold by fold.

    Returns:
        Lines of title, mean difference in points, smallest difference that these folds could have shown at
        p < 0.05, and the p-value of the corrected resampled t-test, Holm-adjusted over the lines.
    """
    methods = [row for row in rows if row.kind == "method"]
    by_row = [fold_scores(row.records.get(section.protocol.label_set, []), section) for row in methods]
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


def markdown(title: str, notes: Sequence[str], rows: Sequence[Row], sections: Sequence[Section], folds: int) -> str:
    """Return a table as Markdown, with its notes before and its comparisons behind."""
    parts = [f"# {title}", *(f"- {note}" for note in notes), ""]
    for section in sections:
        headers = ["Method", *map(column_title, section.metrics)]
        body = grid(rows, section, folds, ("**", "**"))
        lines = [[_marked(row), *line] for row, line in zip(rows, body, strict=True)]
        parts += [f"## {section.title}", "", tabulate(lines, headers, tablefmt="pipe", disable_numparse=True), ""]
        compared = differences(rows, section, 1 / (folds - 1))
        if compared:
            parts += [
                f"Accuracy against {next(row.title for row in rows if row.kind == 'method')}, in points:",
                "",
                tabulate(
                    compared, COMPARISON, tablefmt="pipe", disable_numparse=True, colalign=("left", *3 * ("right",))
                ),
                "",
            ]
    parts += [f"- {note}" for note in footnotes(rows, sections)]
    return "\n".join(parts).rstrip() + "\n"


def latex(title: str, notes: Sequence[str], rows: Sequence[Row], sections: Sequence[Section], folds: int) -> str:
    """Return a table as LaTeX, its notes in the caption."""
    parts = []
    for section in sections:
        headers = ["Method", *map(column_title, section.metrics)]
        body = grid(rows, section, folds, (r"\textbf{", "}"))
        lines = [
            [_tex(_marked(row)), *(cell.replace("±", r"$\pm$") for cell in line)]
            for row, line in zip(rows, body, strict=True)
        ]
        parts += [
            r"\begin{table}",
            rf"\caption{{{_tex(f'{title}: {section.title}. ' + ' '.join(notes))}}}",
            tabulate(lines, headers, tablefmt="latex_raw", disable_numparse=True),
            r"\end{table}",
        ]
    parts += [f"% {note}" for note in footnotes(rows, sections)]
    return "\n".join(parts) + "\n"


def csv_text(rows: Sequence[Row], sections: Sequence[Section], facts: dict[str, str]) -> str:
    """Return all metrics of a table as CSV, a line per row, section and metric; `facts` stand on every line."""
    out = io.StringIO()
    writer = csv.writer(out, lineterminator="\n")
    writer.writerow(["dataset", "decision", "method", "title", "kind", "metric", "mean", "std", "n", *facts])
    for section in sections:
        for row in rows:
            for metric, cell in cells(row, section).items():
                numbers = [f"{cell.mean:.6f}", f"{cell.std:.6f}", len(cell.values)]
                head = [section.protocol.key, section.decision, row.key, row.title, row.kind, metric]
                writer.writerow([*head, *numbers, *facts.values()])
    return out.getvalue()


def _marked(row: Row) -> str:
    return row.title if row.kind == "method" else f"(reference) {row.title}"


def _tex(text: str) -> str:
    for plain, escaped in (("%", r"\%"), ("_", r"\_"), ("&", r"\&"), ("#", r"\#"), ("±", r"$\pm$")):
        text = text.replace(plain, escaped)
    return text
