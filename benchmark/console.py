"""What a person sees in the terminal: choices, plan, progress, tables. Tables go to stdout, progress to stderr."""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import rich.table
from rich import box
from rich.console import Console
from rich.markup import escape
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from benchmark.contracts import Cohort
from benchmark.records import FitSpec
from benchmark.tables import COMPARISON, Table, differences, footnotes, grid

Advance = Callable[[int, int, str], None]
_LEFT: dict[str, Any] = {"title_justify": "left", "title_style": "bold", "pad_edge": False, "padding": (0, 0)}
_PIPED_WIDTH = 120  # where no terminal says how wide it is


def consoles() -> tuple[Console, Console]:
    """Return the consoles of stdout and stderr."""
    made = Console(), Console(stderr=True)
    for console in made:
        if not console.is_terminal:
            console.width = _PIPED_WIDTH
    return made


@contextmanager
def progress(console: Console, title: str, unit: str) -> Iterator[Advance]:
    """Show a bar with the time left while the block runs; the yielded function takes (done, total, what is new)."""
    columns = (
        TextColumn("{task.description}"),
        BarColumn(bar_width=16),
        MofNCompleteColumn(),
        TextColumn(f"{unit},"),
        TimeRemainingColumn(elapsed_when_finished=True),
        TextColumn("{task.fields[note]}"),
    )
    with Progress(*columns, console=console, speed_estimate_period=600) as bars:
        bar = bars.add_task(escape(title), total=None, note="", visible=False)  # until there is something to do

        def advance(done: int, total: int, now: str) -> None:
            note = f"left · {now}" if done < total else ""
            bars.update(bar, completed=done, total=total, note=escape(note), visible=True)

        yield advance


def print_preparation(console: Console, cohort: Cohort, shown: int = 10) -> None:
    """Print what came of a download, if that is what the cohort was made from."""
    counts = cohort.provenance.get("preparation")
    if counts is None:
        return
    table = rich.table.Table("What", "Number", title="The download", box=box.SIMPLE_HEAD, **_LEFT)
    for kind in ("series", "nodules"):
        for name, count in counts[kind].items():
            table.add_row(f"{kind} {name}", f"{count:,}")
    table.add_row("files that could not be used", f"{counts['files that could not be used']:,}")
    console.print(table)
    reasons = list(counts["left out"].items())
    for name, reason in reasons[:shown]:
        console.print(f"· left out {escape(name)}: {escape(reason)}", style="yellow", highlight=False, soft_wrap=True)
    if len(reasons) > shown:
        console.print(f"· and {len(reasons) - shown:,} more; prepare.json, beside the prepared cohort, lists all")


def print_choices(console: Console, choices: Sequence[tuple[str, str, str]]) -> None:
    """Print all that can be chosen: option, choice, what it is."""
    table = rich.table.Table("Option", "Choice", "What it is", pad_edge=False)
    for index, line in enumerate(choices):
        ends = index + 1 < len(choices) and choices[index + 1][0] != line[0]
        table.add_row(*map(escape, line), end_section=ends)
    console.print(table)


def print_plan(
    console: Console,
    specs: Sequence[FitSpec],
    done: set[FitSpec],
    title_of: Callable[[str], str],
    means: str,
    run: Path,
) -> None:
    """Print which fits there are, which have a record and which would be trained."""
    table = rich.table.Table("Row", "Classes", "Fits", "Have a record", "To do", pad_edge=False)
    for method, label_set in dict.fromkeys((spec.method, spec.label_set) for spec in specs):
        fits = {spec for spec in specs if (spec.method, spec.label_set) == (method, label_set)}
        counts = len(fits), len(fits & done), len(fits - done)
        table.add_row(escape(title_of(method)), label_set, *map(str, counts))
    console.print(table)
    console.print(f"{len(set(specs) - done)} of {len(specs)} fits to do, {means}, into {run}", soft_wrap=True)
    console.print("A dry run: nothing was prepared, trained or written.")


def print_notes(console: Console, notes: Sequence[str]) -> None:
    """Print what all tables of a run rest on."""
    for note in notes:
        console.print(f"· {escape(note)}", highlight=False)


def print_table(console: Console, table: Table, tag: str) -> None:
    """Print a table's blocks, each with its comparisons, and the footnotes below."""
    console.print()
    console.rule(f"[bold]{escape(table.title)}[/bold] · {escape(tag)}", align="left")
    for block in table.blocks:
        grille = rich.table.Table(title=escape(block.title), box=box.SIMPLE_HEAD, **_LEFT)
        grille.add_column("\nMethod", no_wrap=True)
        for column in block.columns:
            heading = column.heading.replace(" ", "\n")
            grille.add_column(heading, justify="right", vertical="bottom", no_wrap=True)
        body = grid(table, block, ("[bold]", "[/bold]"))
        for index, (row, line) in enumerate(zip(table.rows, body, strict=True)):
            ends = index + 1 < len(table.rows) and table.rows[index + 1].kind != row.kind
            style = "dim" if row.kind == "reference" else None
            grille.add_row(escape(row.title), *(c.replace(" ± ", "±") for c in line), style=style, end_section=ends)
        console.print(grille)
        for section in block.compared:
            if compared := differences(table, section):
                title = f"{section.title}, accuracy against {table.rows[0].title}, in points"
                lines = rich.table.Table(title=escape(title), box=box.SIMPLE_HEAD, **_LEFT)
                for number, heading in enumerate(COMPARISON):
                    lines.add_column(heading, justify="right" if number else "left", no_wrap=True)
                for line in compared:
                    lines.add_row(*map(escape, line))
                console.print(lines)
    for note in footnotes(table):
        console.print(f"· {escape(note)}", style="yellow", highlight=False)
