"""What five fold means cannot see: rows compared on pooled predictions, and how many folds and seeds it would take."""

from collections.abc import Iterator, Sequence

import numpy as np

from benchmark.bootstrap import PairedBootstrap, paired_bootstrap
from benchmark.estimates import decisions
from benchmark.nodules import NoduleTable
from benchmark.planning import Spread
from benchmark.predictions import Predictions, pooled
from benchmark.report.gather import Gathered
from benchmark.report.parts import Cell, Chapter, Grid, Heading, Part, Prose
from benchmark.scores import Score, Section, share_tested
from benchmark.statistics import holm
from benchmark.tables import Line, Table, cells

WANTED = 0.02
_ABOUT = (
    "The same rows on the pooled predictions of all folds, nodule by nodule, patients drawn anew. This test sees "
    "differences that five fold means cannot, and it speaks of these fitted models on other patients like these: not "
    "of new trainings, so a difference here may be one of two fits and not of two methods. The p-values are adjusted "
    "by Holm over all rows of a table; the intervals hold for each row by itself."
)
_TAKES = (
    f"How often the cross-validation would have to be made to find a true difference of {100 * WANTED:g} points four "
    "times in five by the corrected test, by the spread of this run. Folds of one cohort share their patients, so "
    "there are differences that no number of folds or seeds on it will show: the last column. Five folds know their "
    "own spread badly: read orders of magnitude."
)


def chapter(run: Gathered) -> Chapter:
    """Compare pooled predictions with the first row's, and plan; nothing where cohort.csv cannot be read."""
    table = run.nodules
    parts: list[Part] = []
    for laid in [run.tables[name] for name in ("table1", "table2") if name in run.tables]:
        for section in [section for section in laid.sections if section in run.first_sections]:
            found = [grid for grid in (_compared(laid, section, table), _plan(laid, section)) if grid]
            parts += [Heading(section.title), *found] if found else []
    return Chapter("pooled", "Nodule by nodule", (Prose(_ABOUT), Prose(_TAKES), *parts) if parts else ())


def compared(lines: Sequence[Line], section: Section, table: NoduleTable) -> list[tuple[Line, PairedBootstrap, float]]:
    """Return every row beside the first: how they differ, and p by Holm; rows of other nodules are left out."""
    with_it = [(line, of) for line in lines if line.is_trained and (of := _tested(line, section, table))]
    if not with_it:
        return []
    (_, base), *others = with_it
    same = [(line, of) for line, of in others if np.array_equal(of.nodules, base.nodules)]
    patients = [table.patient_ids[row] for row in base.nodules]
    of_base = _right(base, section)
    found = [paired_bootstrap(_right(of, section), of_base, patients, comparisons=len(same)) for _, of in same]
    adjusted = holm([one.p_value for one in found])
    return [(line, one, p) for (line, _), one, p in zip(same, found, adjusted, strict=True)]


def _tested(line: Line, section: Section, table: NoduleTable) -> Predictions | None:
    predictions = pooled(line.records.get(section.protocol.label_set, ()), table)
    return predictions.tested(section.protocol) if predictions else None


def _right(predictions: Predictions, section: Section) -> np.ndarray:
    return np.asarray(decisions(predictions, section) == predictions.labels)


def _compared(laid: Table, section: Section, table: NoduleTable | None) -> Grid | None:
    if table is None or not (found := compared(laid.lines, section, table)):
        return None
    base = next(line.title for line in laid.lines if line.is_trained)
    body = []
    for line, one, p in found:
        numbers = [one.difference, one.low, one.high]
        shown = [Cell(f"{100 * number:+.1f}", number) for number in numbers]
        needed = Cell(f"{100 * one.smallest_detectable:.1f}", one.smallest_detectable)
        body.append((Cell(line.title, is_best=p < 0.05), *shown, needed, Cell(f"{p:.3f}", p)))
    headings = ("Method", "Difference", "95 % from", "to", "Smallest detectable", "p (Holm)")
    return Grid(f"{section.title}: pooled accuracy against {base}, in points", headings, tuple(body))


def _plan(laid: Table, section: Section) -> Grid | None:
    trained = [line for line in laid.lines if line.is_trained]
    if len(trained) < 2:
        return None
    records = [record for line in laid.lines for record in line.records.get(section.protocol.label_set, ())]
    ratio = share_tested(records, section) / (laid.folds - 1)
    if body := tuple(_needs(trained, section, laid.folds, ratio)):
        headings = ("Method", "Repeats, 1 seed", "Repeats, 10 seeds", "Smallest ever (points)")
        return Grid(f"{section.title}: to find {100 * WANTED:g} points against {trained[0].title}", headings, body)
    return None


def _needs(trained: Sequence[Line], section: Section, folds: int, ratio: float) -> Iterator[tuple[Cell, ...]]:
    base = cells(trained[0], section).get("accuracy")
    alpha = 0.05 / (len(trained) - 1)
    for line in trained[1:]:
        score = cells(line, section).get("accuracy")
        if score is None or base is None or not len(score.folds) == len(base.folds) == folds or folds < 2:
            continue
        spread = Spread.of(score.folds - base.folds, ratio, _seed_std(score, base), min(score.seeds, base.seeds))
        repeats = [spread.repeats_needed(WANTED, folds, seeds, alpha) for seeds in (1, 10)]
        shown = [Cell("no number", float("inf")) if n is None else Cell(f"{n:,}", float(n)) for n in repeats]
        ever = spread.smallest_ever(alpha)
        yield Cell(line.title), *shown, Cell(f"{100 * ever:.1f}", ever)


def _seed_std(score: Score, base: Score) -> float:
    """Return how much a difference moves between seeds; zero where one seed does not tell."""
    if min(score.seeds, base.seeds) < 2:
        return 0.0
    return float(np.hypot(score.seed_std, base.seed_std))
