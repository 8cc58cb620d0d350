"""What a person sees of a check: 80 columns where that is room enough, in points of a percent."""

from collections.abc import Sequence

from rich import box
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from benchmark.against_base import points
from benchmark.check.equivalence import ALPHA, Agreement
from benchmark.check.golden import Golden
from benchmark.check.measured import MEAN, Measured
from benchmark.check.regression import FALSE_ALARMS
from benchmark.check.verdict import Verdict
from benchmark.console import Style
from benchmark.published import Published
from benchmark.scores import metric_title
from benchmark.screen import show

WIDTH = 80
_ENDLESS = 10_000
_NAMED = 3  # scores that were not compared
_LEFT: Style = {"title_justify": "left", "title_style": "bold", "pad_edge": False, "padding": (0, 1, 0, 0)}
_SHORT = {"quadratic_weighted_kappa": "Kappa x 100", "macro_f1": "Macro F1", "auc_ovr": "AUC"}
_COLOUR = {"EQUIVALENT": "green", "DIFFERENT": "yellow", "INCONCLUSIVE": "dim"}


def print_agreement(out: Console, paper: Published, run: Measured, found: Sequence[Agreement]) -> None:
    """Print every published number beside ours."""
    out.rule(f"[bold]Published: {escape(paper.authors)}, {escape(paper.venue)}", align="left")
    if run.identity.source != "dicom":
        out.print(
            f"Source {run.identity.source}: not the paper's CT, so this comparison says nothing about the paper.",
            style="bold yellow",
        )
    if run.is_sample:
        out.print(
            f"A sample of {run.identity.nodules:,} nodules, where the paper has a whole cohort: its differences are "
            "noisier, and of less training data.",
            style="bold yellow",
        )
    if not found:
        out.print("No row and score of this run is in the paper.")
        return
    for protocol in dict.fromkeys(one.published.protocol for one in found):
        _whole(out, _agreements(paper, [one for one in found if one.published.protocol == protocol]))
    counts = ", ".join(f"{sum(one.verdict == verdict for one in found)} {verdict}" for verdict in _COLOUR)
    level = f"{100 * (1 - 2 * ALPHA):.0f} %"
    margins = ", ".join(dict.fromkeys(f"{one.published.metric.partition('_')[0]} {one.margin:g}" for one in found))
    out.print(f"{counts}. No disagreement is a failure.")
    out.print(f"In brackets the {level} interval of the difference; margins in points: {margins}.")


def _whole(out: Console, table: Table) -> None:
    """Print a table with no cell shortened; what is wider than the window runs over its edge."""
    table.min_width = out.measure(table, options=out.options.update_width(_ENDLESS)).maximum
    show(out, table)


def _agreements(paper: Published, found: Sequence[Agreement]) -> Table:
    table = Table(title=escape(paper.protocols[found[0].published.protocol].title), box=box.SIMPLE_HEAD, **_LEFT)
    for heading in ("Row", "Score"):
        table.add_column(heading, no_wrap=True)
    for heading in ("Paper", "Ours", "Difference"):
        table.add_column(heading, justify="right", no_wrap=True)
    table.add_column("Verdict", no_wrap=True)
    for index, one in enumerate(found):
        cell = one.published
        interval = f"{points(one.difference)} ({points(one.low)} {points(one.high)})"
        line = [cell.method, metric_title(cell.metric), str(cell.value), f"{one.ours:.1f}", interval, one.verdict]
        ends = index + 1 < len(found) and found[index + 1].published.method != cell.method
        table.add_row(*map(escape, line), style=_COLOUR[one.verdict], end_section=ends)
    return table


def print_verdict(out: Console, golden: Golden, run: Measured, verdict: Verdict) -> None:
    """Print how a run compares with the accepted numbers; the last line says whether it passes."""
    out.print()
    out.rule(f"[bold]Golden: {escape(golden.path.name)}", align="left")
    out.print(f"Accepted {golden.accepted}: {escape(golden.reason)}")
    changed = [
        f"{name} {golden.versions.get(name, 'none')} then, {version} now"
        for name, version in run.versions.items()
        if golden.versions.get(name) != version
    ]
    if changed:
        out.print(f"Other versions: {escape('; '.join(changed))}.")
    if verdict.comparisons:
        _whole(out, _accuracies(verdict, run))
    if verdict.regressions:
        _whole(out, _regressions(verdict))
    for fault in verdict.faults:
        out.print(f"· {escape(fault)}", style="red")
    for where, what in (("the accepted numbers", verdict.new), ("this run", verdict.absent)):
        if what:
            out.print(f"Not in {where}, so not compared: {escape('; '.join(what))}.")
    for why, names in verdict.left.items():
        rest = f" and {len(names) - _NAMED} more" if len(names) > _NAMED else ""
        out.print(f"Not compared: {escape(', '.join(names[:_NAMED]))}{rest} ({why}).")
    compared = len(verdict.comparisons)
    left = len(golden.cells) - compared
    scores, part = f"{compared} scores", ""
    if left:
        scores, part = f"{compared} compared scores", f"; {left} of {len(golden.cells)} accepted scores not compared"
    if verdict.passes:
        out.print(
            f"PASS: all {scores} within what folds and seeds allow{part}; of honest runs, at most "
            f"{100 * FALSE_ALARMS:.0f} in 100 would fail.",
            style="bold green",
        )
    else:
        parts = [f"{len(verdict.regressions)} of {scores} outside what folds and seeds allow"]
        parts = parts[: bool(verdict.regressions)] + verdict.faults[:1]
        more = f"; and {len(verdict.faults) - 1} more" if len(verdict.faults) > 1 else ""
        out.print(f"REGRESSION: {escape('; '.join(parts))}{more}{part}", style="bold red")
        whole = "Make the whole run, then " if verdict.absent else ""
        out.print(f'Meant so? {whole}python -m benchmark.check RUN --accept "why the numbers changed"')


def _accuracies(verdict: Verdict, run: Measured) -> Table:
    """Return the differences of all accuracies, each with its bound."""
    found = {one.key[:2]: one for one in verdict.comparisons if one.key.metric == "accuracy"}
    sections = [section for section in (*run.sections, MEAN) if any(key[1] == section for key in found)]
    table = Table(title="Accuracy: the run less golden, and what folds and seeds allow", box=box.SIMPLE_HEAD, **_LEFT)
    table.add_column("Row", no_wrap=True)
    for section in sections:
        table.add_column(section.replace("-", "\n"), justify="right", vertical="bottom", no_wrap=True)
    for row in dict.fromkeys(row for row, _ in found):
        line = []
        for section in sections:
            one = found.get((row, section))
            text = "-" if one is None else f"{points(100 * one.difference)} ±{100 * one.allowed:.1f}"
            line.append(f"[bold red]{text}[/]" if one and one.is_regression else text)
        table.add_row(escape(row), *line)
    return table


def _regressions(verdict: Verdict) -> Table:
    table = Table(title="Outside what folds and seeds allow", box=box.SIMPLE_HEAD, **_LEFT)
    for heading in ("Row", "Where", "Score"):
        table.add_column(heading, no_wrap=True)
    for heading in ("Golden", "Run", "Difference"):
        table.add_column(heading, justify="right", no_wrap=True)
    for one in verdict.regressions:
        row, section, metric = one.key
        score = _SHORT.get(metric) or metric_title(metric)
        difference = f"{points(100 * one.difference)} ±{100 * one.allowed:.1f}"
        table.add_row(escape(row), section, score, f"{100 * one.golden:.1f}", f"{100 * one.run:.1f}", difference)
    return table
