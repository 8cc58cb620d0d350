"""What a person sees in the terminal: choices, plan, progress, tables. Tables go to stdout, progress to stderr."""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Literal, Protocol, TypedDict

import rich.table
from rich import box
from rich.console import Console
from rich.markup import escape
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from benchmark.contracts import Preparation, Row
from benchmark.records import FitSpec, Found
from benchmark.tables import COMPARISON, Table, differences, footnotes, grid


class Advance(Protocol):
    """Takes the number done, their total and what is new."""

    def __call__(self, done: int, total: int, now: str = "", /) -> None:
        """Show it."""


_LEFT: "Style" = {"title_justify": "left", "title_style": "bold", "pad_edge": False, "padding": (0, 0)}
_PIPED_WIDTH = 120  # where no terminal says how wide it is


class Style(TypedDict):
    """Of a table: its title to the left, no room at its edges."""

    title_justify: Literal["left"]
    title_style: str
    pad_edge: bool
    padding: tuple[int, int] | tuple[int, int, int, int]


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

        def advance(done: int, total: int, now: str = "", /) -> None:
            note = f"left · {now}" if done < total else ""
            bars.update(bar, completed=done, total=total, note=escape(note), visible=True)

        yield advance


def print_preparation(console: Console, came: Preparation, shown: int = 10) -> None:
    """Print what came of a download."""
    table = rich.table.Table("What", "Number", title="The download", box=box.SIMPLE_HEAD, **_LEFT)
    counts = {f"series {name}": count for name, count in came.series.items()}
    counts |= {"nodules in the collection": came.known, "nodules made": came.made}
    counts |= {"nodules left out": len(came.left_out), "files that could not be used": came.unusable_files}
    for name, count in counts.items():
        table.add_row(name, f"{count:,}")
    console.print(table)
    reasons = list(came.left_out.items())
    for name, reason in reasons[:shown]:
        console.print(f"· left out {escape(name)}: {escape(reason)}", style="yellow", highlight=False, soft_wrap=True)
    if len(reasons) > shown:
        console.print(f"· and {len(reasons) - shown:,} more; {came.report} lists all", markup=False)


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
    rows: Mapping[str, Row],
    means: str,
    run: Path,
) -> None:
    """Print which fits there are, which are done and which would be made."""
    table = rich.table.Table("Row", "Classes", "Fits", "Done", "To do", pad_edge=False)
    for method, label_set in dict.fromkeys((spec.method, spec.label_set) for spec in specs):
        fits = {spec for spec in specs if (spec.method, spec.label_set) == (method, label_set)}
        counts = len(fits), len(fits & done), len(fits - done)
        table.add_row(escape(rows[method].title), label_set, *map(str, counts))
    console.print(table)
    console.print(f"{len(set(specs) - done)} of {len(specs)} fits to do, workers: {means}, into {run}", soft_wrap=True)
    console.print("A dry run: nothing was prepared, trained or written.")


def print_warnings(console: Console, warnings: Sequence[str]) -> None:
    """Print what a user should know before the work begins."""
    for warning in warnings:
        console.print(f"· {escape(warning)}", style="yellow", highlight=False, soft_wrap=True)


def print_end(out: Console, err: Console, folder: Path, found: Found) -> int:
    """Say where the results are and what failed; return the exit status, 1 where fits failed."""
    out.print(f"\nWritten to {escape(str(folder))}", soft_wrap=True, highlight=False)
    failed = [spec for spec, record in found.items() if record is None or record.status == "failed"]
    if failed:
        err.print(f"{len(failed)} of {len(found)} fits failed; the same command tries them again", style="red")
    return 1 if failed else 0


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
        for index, (line, texts) in enumerate(zip(table.lines, body, strict=True)):
            ends = index + 1 < len(table.lines) and table.lines[index + 1].row.kind != line.row.kind
            style = None if line.is_trained else "dim"
            grille.add_row(escape(line.title), *(t.replace(" ± ", "±") for t in texts), style=style, end_section=ends)
        console.print(grille)
        for section in block.compared:
            if compared := differences(table, section):
                title = f"{section.title}, accuracy against {table.lines[0].title}, in points"
                lines = rich.table.Table(title=escape(title), box=box.SIMPLE_HEAD, **_LEFT)
                for number, heading in enumerate(COMPARISON):
                    lines.add_column(heading, justify="right" if number else "left", no_wrap=True)
                for texts in compared:
                    lines.add_row(*map(escape, texts))
                console.print(lines)
    for note in footnotes(table):
        console.print(f"· {escape(note)}", style="yellow", highlight=False)
