"""The comparison on the screen."""

import math
from collections.abc import Mapping

import rich.table
from rich import box
from rich.console import Console
from rich.markup import escape

from benchmark.against_base import p_value, points
from benchmark.compare.differences import METRICS, Pair, Side, pairs, remarks, settings
from benchmark.scores import Score, metric_title
from benchmark.screen import say, show

UNPAIRED = (
    "Folds do not pair where no interval stands: the runs test other nodules, classes or folds there. Their difference "
    "is then one of two means over different tests, and no p-value is given."
)


def print_comparison(out: Console, a: Side, b: Side, titles: Mapping[str, str]) -> None:
    """Print which runs these are, what differs in their settings, their scores side by side, and what to remark.

    Args:
        out: The console.
        a: The first run.
        b: The second run, whose difference to the first is printed.
        titles: Of rows, by key, in table order; a row without one comes last, by its key.
    """
    for name, side in (("A", a), ("B", b)):
        say(out, f"{name}: {side.run.folder}")
    _print_settings(out, a, b)
    is_unpaired = False
    for key, section in a.run.sections.items():
        if key in b.run.sections:
            for metric in METRICS:
                found = pairs(a.run, b.run, section, metric)
                is_unpaired |= not all(pair.is_paired for pair in found)
                if found:
                    _print_pairs(out, f"{section.title}, {metric_of(metric)}", found, titles)
    for line in [*([UNPAIRED] * is_unpaired), *remarks(a.run, b.run)]:
        say(out, f"· {line}", "yellow")


def metric_of(metric: str) -> str:
    """Return a score's name in print."""
    return "macro F1" if metric == "macro_f1" else metric_title(metric).lower()


def _print_settings(out: Console, a: Side, b: Side) -> None:
    lines = settings(a, b)
    if not lines:
        say(out, "No setting, version or device differs.")
        return
    table = rich.table.Table("Setting", "A", "B", title="What differs", box=box.SIMPLE_HEAD, title_justify="left")
    for column in table.columns:
        column.overflow = "fold"
    for line in lines:
        table.add_row(*map(escape, line))
    out.print(table)


def _print_pairs(out: Console, title: str, found: list[Pair], titles: Mapping[str, str]) -> None:
    table = rich.table.Table(title=escape(f"{title}, in percent"), box=box.SIMPLE_HEAD, title_justify="left")
    table.add_column("Method", overflow="fold")
    for heading in ("A", "B", "B less A", "95 % interval", "p", "p (Holm)"):
        table.add_column(heading, justify="right", no_wrap=True)
    order = {key: place for place, key in enumerate(titles)}
    for pair in sorted(found, key=lambda pair: order.get(pair.row, len(order))):
        table.add_row(escape(titles.get(pair.row, pair.row)), *cells(pair))
    show(out, table)


def cells(pair: Pair) -> tuple[str, str, str, str, str, str]:
    """Return a pair as printed: both scores, their difference, its interval and p-values; dashes where unknown."""
    low, high = pair.difference - pair.half, pair.difference + pair.half
    interval = f"{points(100 * low)} to {points(100 * high)}" if pair.is_paired else "-"
    interval = interval if pair.half else "in every fold"
    p, adjusted = p_value(pair.p), p_value(pair.adjusted)
    return _score(pair.a), _score(pair.b), points(100 * pair.difference), interval, p, adjusted


def _score(score: Score) -> str:
    return f"{100 * score.mean:.1f}" + ("" if math.isnan(score.std) else f" ± {100 * score.std:.1f}")
