"""The verdict in sentences: which rows differ from the first, and which cannot be told apart from it."""

import math
from collections.abc import Sequence

from benchmark.against_base import Compared, compare, points
from benchmark.report import habits, limits
from benchmark.report.gather import Gathered
from benchmark.report.parts import Chapter, Heading, More, Part, Points, Prose
from benchmark.scores import Section
from benchmark.tables import Line, Table, cells

_HOW = (
    "A row is called better or worse only where the corrected resampled t-test (Nadeau and Bengio 2003), adjusted by "
    "Holm over all rows of the table, gives p below 0.05. Else the two cannot be told apart, which does not mean that "
    "they are equal. Intervals are 95 % for each row by itself; the smallest difference that could have shown is that "
    "of Holm's first step."
)


def chapter(run: Gathered) -> Chapter:
    """Judge every protocol by the decision of the paper's tables."""
    parts: list[Part] = []
    for table in [run.tables[name] for name in ("table1", "table2") if name in run.tables]:
        for section in [section for section in table.sections if section in run.first_sections]:
            limit = limits.in_short(run, section.protocol)
            parts += _judged(table, section, [*[limit] * bool(limit), *habits.in_short(run, section.protocol)])
    return Chapter("verdict", "The verdict", (*parts, Prose(_HOW)) if parts else ())


def _judged(table: Table, section: Section, beside: Sequence[str]) -> list[Part]:
    """Return what is said of one protocol: in short, of the paper's own method, of references; all rows on a click."""
    title, trained = section.protocol.title, [line for line in table.lines if line.is_trained]
    if not trained:
        return [Heading(title), Prose("Only references were made: there is no method to judge.")]
    base, (compared, left) = trained[0], compare(table, section)
    whole = [one for one in compared if one.complete]
    left = [*left, *(one.line for one in compared if not one.complete)]
    said = (
        [in_short(base.title, title, whole)] if len(trained) > 1 else [f"{base.title} is the only method of this run."]
    )
    own = [one for one in whole if one.differs or (one.line.row.kind == "paper" and one.line.row.losses)]
    said += [sentence(one, base.title, title) for one in own]
    if left:
        names = ", ".join(line.title for line in left)
        said.append(f"Not judged, since folds are missing there or in {base.title}: {names}.")
    said += [*_means(table, section), *beside]
    parts: list[Part] = [Heading(title), Points(tuple(said))]
    if others := tuple(sentence(one, base.title, title) for one in whole if one not in own):
        rows = f"{len(others)} rows" if len(others) > 1 else "row"
        parts.append(More(f"The other {rows} on {title}", (Points(others),)))
    return parts


def in_short(base: str, where: str, compared: Sequence[Compared]) -> str:
    """Say how many rows differ from the first."""
    if not compared:
        return f"No row can be compared with {base} on {where}: it needs two rows with every fold."
    better = sum(one.differs and one.mean > 0 for one in compared)
    worse = sum(one.differs and one.mean < 0 for one in compared)
    alike = len(compared) - better - worse
    if alike == len(compared):
        rows = "The one other row" if alike == 1 else f"None of the {alike} other rows"
        return f"{rows} can{'not' * (alike == 1)} be told apart from {base} on {where}."
    counted = [(better, "better"), (worse, "worse")]
    counts = [f"{n} {'is' if n == 1 else 'are'} {how} than {base}" for n, how in counted if n]
    return f"Of {len(compared)} rows on {where}, {' and '.join(counts)}; {alike} cannot be told apart from it."


def sentence(one: Compared, base: str, where: str) -> str:
    """Say of one row what these folds show.

    The words "better" and "worse" are kept for what is significant.
    """
    low, high = one.interval
    numbers = (
        f"{points(one.mean)} points, 95 % interval {points(low)} to {points(high)}, smallest difference that could "
        f"have shown {one.needed:.1f}, p = {one.p:.3f} (Holm)"
    )
    if one.differs:
        return f"{one.line.title} is {'better' if one.mean > 0 else 'worse'} than {base} on {where}: {numbers}."
    return f"{one.line.title} and {base} cannot be told apart on {where}: {numbers}."


def _means(table: Table, section: Section) -> list[str]:
    """Say what the highest means are, of methods and of every reference; only over all folds."""
    reached = [(line, _mean(line, section, table.folds)) for line in table.lines]
    known = [(line, mean) for line, mean in reached if not math.isnan(mean)]
    methods = sorted((pair for pair in known if pair[0].is_trained), key=lambda pair: -pair[1])
    references = sorted((pair for pair in known if not pair[0].is_trained), key=lambda pair: -pair[1])
    said = []
    if methods:
        line, mean = methods[0]
        said.append(f"The highest mean accuracy of a method is {mean:.1f} % ({line.title}).")
    if references:
        named = ", ".join(f"{line.title} {mean:.1f} %" for line, mean in references)
        said.append(f"Beside it the references: {named}.")
    return [" ".join(said)] if said else []


def _mean(line: Line, section: Section, folds: int) -> float:
    score = cells(line, section).get("accuracy")
    return 100 * score.mean if score and len(score.folds) == folds else math.nan
