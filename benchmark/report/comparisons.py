"""Every row's accuracy against the first, in points, with interval, smallest significant difference and p."""

from benchmark.against_base import Compared, compare, p_value, points, size
from benchmark.report.gather import Gathered
from benchmark.report.parts import Cell, Chapter, Grid, Part, Prose
from benchmark.scores import Section
from benchmark.tables import Table

HEADINGS = ("Method", "Difference", "95 % from", "to", "Smallest significant", "p (Holm)", "Folds")
_ABOUT = (
    "Folds share training data, so a plain t-test finds differences that are not there; this one is corrected for that "
    "(Nadeau and Bengio 2003). The p-values are adjusted by Holm over the rows of one table here, and not over the "
    "tables; the intervals are not, and hold for each row by itself. Smallest significant is the smallest observed "
    "difference that would be significant in Holm's first step; a true difference of that size is missed about half "
    "the time. A row with fewer folds is compared over those that both have, and judged nowhere."
)


def chapter(run: Gathered) -> Chapter:
    """Compare on every section of every table."""
    grids: list[Part] = []
    for table in run.tables.values():
        for section in table.sections:
            if compared := compare(table, section)[0]:
                grids.append(_grid(table, section, compared))
    return Chapter("comparisons", "Differences", (Prose(_ABOUT), *grids) if grids else ())


def _grid(table: Table, section: Section, compared: list[Compared]) -> Grid:
    base = next(line.title for line in table.lines if line.is_trained)
    name = table.title.partition(":")[0]
    return Grid(
        f"{name}. {section.title}: accuracy against {base}, in points",
        HEADINGS,
        tuple(_line(one) for one in compared),
    )


def _line(one: Compared) -> tuple[Cell, ...]:
    low, high = one.interval
    numbers = [(points(value), value) for value in (one.mean, low, high)]
    numbers += [
        (size(one.needed), one.needed),
        (p_value(one.p), one.p),
        (str(one.folds), float(one.folds)),
    ]
    return (Cell(one.line.title, is_best=one.differs), *(Cell(text, value) for text, value in numbers))
