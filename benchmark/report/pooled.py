"""What five fold means seldom see: rows compared on pooled predictions, and how many folds and seeds it would take."""

from collections.abc import Iterator
from functools import lru_cache

import numpy as np

from benchmark.against_base import ALPHA, p_value, points
from benchmark.bootstrap import PairedBootstrap, paired_bootstrap
from benchmark.estimates import decisions
from benchmark.planning import Spread
from benchmark.report.gather import Gathered
from benchmark.report.judged import judged
from benchmark.report.parts import Cell, Chapter, Grid, Heading, Part, Points, Prose
from benchmark.scores import Section
from benchmark.statistics import holm
from benchmark.tables import Line, Table, cells, fold_ratio

WANTED = 0.02
_ABOUT = (
    "The same rows on the pooled predictions of all folds, nodule by nodule, patients drawn anew. This test usually "
    "sees smaller differences than five fold means do, and it speaks of these fitted models on other patients like "
    "these: not of new trainings, so a difference here may be one of two fits and not of two methods. The p-values are "
    "adjusted by Holm over the rows of one table here, and not over the tables; the intervals hold for each row by "
    "itself. Smallest significant is the smallest observed difference that would be significant in Holm's first step."
)
_TAKES = (
    f"How often the cross-validation would have to be made to find a true difference of {100 * WANTED:g} points four "
    "times in five by the corrected test, by the spread of this run, all rows together. Folds of one cohort share "
    "their patients, so there are differences that no number of folds or seeds on it will show. Five folds know their "
    "own spread badly: read orders of magnitude."
)
_ALIKE = 1e-9  # what rounding leaves of equal differences is less


def chapter(run: Gathered) -> Chapter:
    """Compare pooled predictions with the first row's, and plan."""
    parts: list[Part] = []
    for table in [run.tables[name] for name in ("table1", "table2") if name in run.tables]:
        for section in [section for section in table.sections if section in run.first_sections]:
            found: list[Part] = [*_compared(run, table, section), *_plan(table, section)]
            parts += [Heading(section.title), *found] if found else []
    return Chapter("pooled", "Nodule by nodule", (Prose(_ABOUT), Prose(_TAKES), *parts) if parts else ())


@lru_cache(maxsize=8)
def compared(
    run: Gathered, table: Table, section: Section
) -> tuple[Line | None, list[tuple[Line, PairedBootstrap, float]]]:
    """Return the first trained row, and how every other differs from it with p by Holm.

    Rows that were not tested on the same nodules are left out.
    """
    titles = {line.row.key: line for line in table.lines if line.is_trained}
    rows = {row.line.row.key: row for row in judged(run, section.protocol.label_set)[0] if row.line.row.key in titles}
    if not rows or next(iter(titles)) not in rows:
        return None, []
    base, *others = [titles[key] for key in titles if key in rows]
    tested = {key: row.predictions.tested(section.protocol) for key, row in rows.items()}
    of_base = tested[base.row.key]
    same = [line for line in others if np.array_equal(tested[line.row.key].nodules, of_base.nodules)]
    assert run.nodules is not None
    patients = [run.nodules.patient_ids[row] for row in of_base.nodules]
    right = {key: decisions(of, section) == of.labels for key, of in tested.items()}
    found = [
        paired_bootstrap(right[line.row.key], right[base.row.key], patients, comparisons=len(same)) for line in same
    ]
    adjusted = holm([one.p_value for one in found])
    return base, list(zip(same, found, adjusted, strict=True))


def _compared(run: Gathered, table: Table, section: Section) -> Iterator[Grid]:
    base, found = compared(run, table, section)
    body = []
    for line, one, p in found:
        shown = [Cell(points(100 * number), number) for number in (one.difference, one.low, one.high)]
        needed = Cell(points(100 * one.smallest_detectable).lstrip("+"), one.smallest_detectable)
        body.append((Cell(line.title, is_best=p < ALPHA), *shown, needed, Cell(p_value(p), p)))
    if base and body:
        headings = ("Method", "Difference", "95 % from", "to", "Smallest significant", "p (Holm)")
        yield Grid(f"{section.title}: pooled accuracy against {base.title}, in points", headings, tuple(body))


def _plan(table: Table, section: Section) -> Iterator[Points]:
    """Say what it would take, by the spread of all rows that have every fold."""
    trained = [line for line in table.lines if line.is_trained]
    scores = [score for line in trained if (score := cells(line, section).get("accuracy"))]
    whole = [score for score in scores if len(score.folds) == table.folds]
    if len(whole) < 2 or table.folds < 2 or whole[0] is not scores[0]:
        return
    base, *others = whole
    seeds = min(score.seeds for score in whole)
    seed_std = 0.0 if seeds < 2 else float(np.sqrt(np.mean([one.seed_std**2 + base.seed_std**2 for one in others])))
    spread = Spread.of(
        np.array([score.folds - base.folds for score in others]), fold_ratio(table, section), seed_std, seeds
    )
    if spread.fold_std < _ALIKE:
        return  # rows that differ by the same in every fold, as untrained ones do: they tell of no other folds
    yield Points(tuple(needs(spread, table.folds, seeds, len(others))))


def needs(spread: Spread, folds: int, seeds: int, rows: int) -> Iterator[str]:
    """Say what a wanted difference takes: for one row alone, and after Holm over all."""
    wanted = f"{100 * WANTED:g} points"
    for alpha, of in (
        (ALPHA, "one row alone"),
        *([(ALPHA / rows, f"Holm's first step over {rows} rows")] * (rows > 1)),
    ):
        repeats = spread.repeats_needed(WANTED, folds, seeds, alpha)
        ever = f"{100 * spread.smallest_ever(alpha):.1f}"
        some = f"{seeds} seed{'s' * (seeds > 1)} a fold"
        takes = f"repeat{'s' * (repeats != 1)} of the {folds} folds"
        often = "no number of repeats suffices" if repeats is None else f"it takes {repeats} {takes}"
        below = "" if ever == "0.0" else f"; below {ever} points no number of folds and seeds would do"
        yield f"To find {wanted} in {of}, with {some}, {often}{below}."
