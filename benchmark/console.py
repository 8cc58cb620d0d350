"""What a person sees in the terminal: choices, plan, progress, tables. Tables go to stdout, progress to stderr."""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from rich.console import Console
from rich.markup import escape
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn
from rich.table import Table

from benchmark.records import FitSpec
from benchmark.tables import Row, Section, column_title, differences, footnotes, grid

Advance = Callable[[int, int, str], None]


@contextmanager
def progress(console: Console, title: str, unit: str) -> Iterator[Advance]:
    """Show a bar with the time left while the block runs; the yielded function takes (done, total, what is new)."""
    columns = (
        TextColumn("{task.description}"),
        BarColumn(bar_width=24),
        MofNCompleteColumn(),
        TextColumn(f"{unit},"),
        TimeElapsedColumn(),
        TextColumn("gone,"),
        TimeRemainingColumn(),
        TextColumn("left  {task.fields[now]}"),
    )
    with Progress(*columns, console=console, speed_estimate_period=600) as bars:
        bar = bars.add_task(escape(title), total=None, now="")
        yield lambda done, total, now: bars.update(bar, completed=done, total=total, now=escape(now))


def print_choices(console: Console, choices: Sequence[tuple[str, str, str]]) -> None:
    """Print all that can be chosen: option, choice, what it is."""
    table = Table("Option", "Choice", "What it is", pad_edge=False)
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
    table = Table("Row", "Classes", "Fits", "Have a record", "To do", pad_edge=False)
    for method, label_set in dict.fromkeys((spec.method, spec.label_set) for spec in specs):
        fits = {spec for spec in specs if (spec.method, spec.label_set) == (method, label_set)}
        counts = len(fits), len(fits & done), len(fits - done)
        table.add_row(escape(title_of(method)), label_set, *map(str, counts))
    console.print(table)
    console.print(f"{len(set(specs) - done)} of {len(specs)} fits to do, {means}, into {run}", soft_wrap=True)
    console.print("A dry run: nothing was prepared, trained or written.")


def print_table(
    console: Console, title: str, notes: Sequence[str], rows: Sequence[Row], sections: Sequence[Section], folds: int
) -> None:
    """Print a table's sections, with its notes above and its footnotes below."""
    console.print()
    console.rule(f"[bold]{escape(title)}[/bold]", align="left")
    for note in notes:
        console.print(f"· {escape(note)}", style="dim", highlight=False)
    for section in sections:
        compared = {line[0]: line[1:] for line in differences(rows, section, 1 / (folds - 1))}
        table = Table(title=escape(section.title), title_justify="left", title_style="bold", pad_edge=False)
        table.add_column("Method")
        for metric in section.metrics:
            table.add_column(column_title(metric), justify="right", no_wrap=True)
        if compared:
            baseline = next(row.title for row in rows if row.kind == "method")
            table.add_column(f"Gain on {escape(baseline)} (detectable)", justify="right", style="dim")
        body = grid(rows, section, folds, ("[bold]", "[/bold]"))
        for index, (row, line) in enumerate(zip(rows, body, strict=True)):
            gain = compared.get(row.title)
            extra = [f"{gain[0]} ({gain[1]})" if gain else ""] if compared else []
            ends = index + 1 < len(rows) and rows[index + 1].kind != row.kind
            style = "dim" if row.kind == "reference" else None
            table.add_row(escape(row.title), *line, *extra, style=style, end_section=ends)
        console.print(table)
    for note in footnotes(rows, sections):
        console.print(f"· {escape(note)}", style="yellow", highlight=False)
