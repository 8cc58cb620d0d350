"""What a person sees in the terminal: choices, plan, progress, tables. Tables go to stdout, progress to stderr."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Literal, TypedDict

import rich.table
from rich import box
from rich.console import Console
from rich.markup import escape

from benchmark.against_base import COMPARISON, differences
from benchmark.contracts import Cohort, Preparation, Row
from benchmark.footnotes import footnotes
from benchmark.records import FitSpec, Found
from benchmark.runfile import DIGITS
from benchmark.screen import fitting, say, show
from benchmark.tables import Block, Table, grid
from benchmark.timings import Timings

_LEFT: "Style" = {"title_justify": "left", "title_style": "bold", "pad_edge": False, "padding": (0, 0)}


def _folded(heading: str) -> rich.table.Column:
    """Return a column whose words go on in the next line where the window is narrow, and are never cut."""
    return rich.table.Column(heading, overflow="fold")


class Style(TypedDict):
    """Of a table: its title to the left, no room at its edges."""

    title_justify: Literal["left"]
    title_style: str
    pad_edge: bool
    padding: tuple[int, int] | tuple[int, int, int, int]


def print_preparation(console: Console, cohort: Cohort, file: Path, shown: int = 10) -> None:
    """Print what came of a download, where there was one, and how the cohort is told from another."""
    if (came := cohort.provenance.preparation) is not None:
        _print_download(console, came, cohort.provenance.sample is not None, shown)
    how = f"python -m benchmark cohort {file} compares it with another's"
    say(console, f"· {len(cohort):,} nodules prepared, cohort {cohort.content_hash[:DIGITS]}; {how}")


def _print_download(console: Console, came: Preparation, is_sample: bool, shown: int) -> None:
    table = rich.table.Table("What", "Number", title="The download", box=box.SIMPLE_HEAD, **_LEFT)
    counts = {f"series {name}": count for name, count in came.series.items()}
    counts |= {"nodules in the collection": came.known}
    counts |= {"nodules in the sample": came.made + len(came.left_out)} if is_sample else {}
    counts |= {"nodules made": came.made}
    counts |= {"nodules left out": len(came.left_out), "files that could not be used": came.unusable_files}
    for name, count in counts.items():
        table.add_row(name, f"{count:,}")
    show(console, table)
    reasons = list(came.left_out.items())
    for name, reason in reasons[:shown]:
        say(console, f"· left out {name}: {reason}", "yellow")
    if len(reasons) > shown:
        say(console, f"· and {len(reasons) - shown:,} more; {came.report} lists all")
    if came.again:
        say(console, f"· {len(came.again):,} of them are asked for again by the next run", "yellow")


def print_choices(console: Console, choices: Sequence[tuple[str, str, str]]) -> None:
    """Print all that can be chosen: option, choice, what it is."""
    table = rich.table.Table(*map(_folded, ("Option", "Choice", "What it is")), pad_edge=False)
    for index, line in enumerate(choices):
        ends = index + 1 < len(choices) and choices[index + 1][0] != line[0]
        table.add_row(*map(escape, line), end_section=ends)
    console.print(table)


def print_plan(
    console: Console,
    specs: Sequence[FitSpec],
    done: Mapping[Path, set[FitSpec]],
    rows: Mapping[str, Row],
    means: str,
    times: Timings,
    more: Sequence[str],
    sample: int | None,
) -> None:
    """Print which fits there are, are done, would be made; what is known of the time; what else there is to say.

    Args:
        console: Where.
        specs: The fits.
        done: Those that a folder has: the run's, and that of the same fits on folds that ignore patients, if asked for.
        rows: What they are made of.
        means: What makes them, in words.
        times: What is known of their time.
        more: Sentences; empty ones are left out.
        sample: Of so many nodules; None is all.
    """
    run, *ignoring = done
    table = rich.table.Table(*map(_folded, ("Row", "Classes", "Fits", "Done", "To do")), pad_edge=False)
    for method, label_set in dict.fromkeys((spec.method, spec.label_set) for spec in specs):
        fits = {spec for spec in specs if (spec.method, spec.label_set) == (method, label_set)}
        counts = len(fits), len(fits & done[run]), len(fits - done[run])
        table.add_row(escape(rows[method].title), label_set, *map(str, counts))
    show(console, table)
    say(console, f"{len(set(specs) - done[run])} of {len(specs)} fits to do, workers: {means}, into {run}")
    for folder in ignoring:
        what = f"{len(set(specs) - done[folder])} of {len(specs)} fits to do on folds that ignore patients"
        say(console, f"{what}, into {folder}; of these no weights are kept")
    if sample is not None:
        say(console, f"Of a sample: whole patients, spread evenly, until they hold {sample:,} nodules.")
    for sentence in times.sentences([spec for there in done.values() for spec in specs if spec not in there]):
        say(console, sentence)
    for sentence in filter(None, more):
        say(console, sentence)
    say(console, "A dry run: nothing was prepared, trained or written.")


def print_warnings(console: Console, warnings: Sequence[str]) -> None:
    """Print what a user should know before the work begins."""
    for warning in warnings:
        say(console, f"· {warning}", "yellow")


def print_end(out: Console, err: Console, folder: Path, found: Found) -> int:
    """Say where the results are and what failed; return the exit status, 1 where fits failed."""
    out.print()
    say(out, f"Written to {folder}")
    failed = [spec for spec, record in found.items() if record is None or record.status == "failed"]
    if failed:
        why = (
            f"the reasons stand below the tables, tracebacks in the records, {folder / 'fits' / failed[0].path()} first"
        )
        say(err, f"{len(failed)} of {len(found)} fits failed; {why}; the same command tries them again", "red")
    return 1 if failed else 0


def print_tables(console: Console, notes: Sequence[str], tables: Iterable[Table], tag: str) -> None:
    """Print what all tables of a run rest on, and the tables."""
    for note in notes:
        console.print(f"· {escape(note)}")
    for table in tables:
        print_table(console, table, tag)


def print_table(console: Console, table: Table, tag: str) -> None:
    """Print a table's blocks, each with its comparisons, and the footnotes below.

    What is wider than the window is cut between columns: no number is ever shortened.
    """
    console.print()
    console.rule()
    console.print(f"[bold]{escape(table.title)}[/bold] · {escape(tag)}")  # not in the rule, which would cut it
    for block in table.blocks:
        for grille in _grilles(console, table, block):
            show(console, grille)
        for section in block.compared:
            if compared := differences(table, section):
                title = f"{section.title}, accuracy against {table.lines[0].title}, in points"
                lines = rich.table.Table(title=escape(title), box=box.SIMPLE_HEAD, **_LEFT)
                for number, heading in enumerate(COMPARISON):
                    heading = heading.replace(" ", "\n")
                    lines.add_column(heading, justify="right" if number else "left", overflow="fold", vertical="bottom")
                for texts in compared:
                    lines.add_row(*map(escape, texts))
                show(console, lines)
    for note in footnotes(table):
        console.print(f"· {escape(note)}", style="yellow")


def _grilles(console: Console, table: Table, block: Block) -> Iterator[rich.table.Table]:
    """Yield a block's columns, as many at a time as the window has room for."""
    marks = "[bold]", "[/bold]"
    body = [[text.replace(" ± ", "±") for text in texts] for texts in grid(table, block, marks)]
    plain = [[text.replace(" ± ", "±") for text in texts] for texts in grid(table, block, ("", ""))]
    headings = [column.heading.replace(" ", "\n") for column in block.columns]
    words = [heading.split("\n") for heading in headings]
    widths = [1 + max(map(len, [*parts, *(texts[number] for texts in plain)])) for number, parts in enumerate(words)]
    first = 2 + max(len(line.title) for line in table.lines)
    for part, columns in enumerate(fitting(widths, first, console.width)):
        title = escape(block.title) + " (continued)" * (part > 0)
        grille = rich.table.Table(title=title, box=box.SIMPLE_HEAD, **_LEFT)
        grille.add_column("\nMethod", overflow="fold")
        for number in columns:
            grille.add_column(headings[number], justify="right", vertical="bottom", no_wrap=True)
        for index, (line, texts) in enumerate(zip(table.lines, body, strict=True)):
            ends = index + 1 < len(table.lines) and table.lines[index + 1].row.kind != line.row.kind
            style = None if line.is_trained else "dim"
            cells = [texts[number] for number in columns]
            grille.add_row(escape(line.title), *cells, style=style, end_section=ends)
        yield grille
