"""The verdict in sentences: which rows differ from the first, and which cannot be told apart from it."""

import math
from collections.abc import Iterator, Mapping, Sequence
from types import MappingProxyType

from benchmark.against_base import ALPHA, Compared, compare, in_common, p_value, points
from benchmark.footnotes import same_models
from benchmark.report import habits, heading, limits, pooled
from benchmark.report.gather import Gathered
from benchmark.report.parts import Chapter, Heading, More, Part, Points, Prose
from benchmark.scores import Section
from benchmark.statistics import corrected_interval
from benchmark.tables import Line, Table, cells, fold_ratio

GIVEN = "given the readers' diameter of each test nodule"
_ALONE: Mapping[str, float] = MappingProxyType({})
_HOW = (
    "A row is called better or worse only where the corrected resampled t-test on the folds (Nadeau and Bengio 2003), "
    "adjusted by Holm, gives p below 0.05. Else the two cannot be told apart, which does not mean that they are equal. "
    "Holm's adjustment is over the rows of one protocol under one decision; nothing is adjusted over the protocols of "
    "this page. The p-value nodule by nodule is that of the pooled predictions, and speaks of these fitted models "
    "alone. Intervals are 95 % for each row by itself. The smallest observed difference that would be significant is "
    "that of Holm's first step: a true difference of that size is missed about half the time."
)


def chapter(run: Gathered) -> Chapter:
    """Judge every protocol by the decision of the paper's tables, and in short by its others."""
    parts: list[Part] = []
    for table in [run.tables[name] for name in ("table1", "table2") if name in run.tables]:
        for section in [section for section in table.sections if section in run.first_sections]:
            beside = [*limits.in_short(run, section.protocol), *habits.in_short(run, section.protocol)]
            parts += _judged(run, table, section, beside)
    return Chapter("verdict", "The verdict", (*parts, Prose(_HOW)) if parts else ())


def _judged(run: Gathered, table: Table, section: Section, beside: Sequence[str]) -> list[Part]:
    """Return what is said of one protocol: in short, of the paper's own method, of references; all rows on a click."""
    title, trained = section.title, [line for line in table.lines if line.is_trained]
    top = Heading(title + heading.mark(run))
    if not trained:
        return [top, Prose("Only references were made: there is no method to judge.")]
    base, (compared, left) = trained[0].title, compare(table, section)
    whole = [one for one in compared if one.complete]
    left = [*left, *(one.line for one in compared if not one.complete)]
    by_nodule = _by_nodule(run, table, section)
    said = [f"{base} is the only method of this run."]
    if len(trained) > 1:
        said = [in_short(base, title, whole, by_nodule), *nodule_by_nodule(base, whole, by_nodule)]
        said += list(_otherwise(run, table, section, base))
    if len(section.protocol.class_names) == 2:
        said += [f"{note}; the counts above take each for a row." for note in same_models(table)]
    own = [one for one in whole if one.differs or _is_the_papers(one.line) or _p(one, by_nodule) < ALPHA]
    said += [sentence(one, base, title, by_nodule) for one in own]
    if left:
        names = ", ".join(line.title for line in left)
        said.append(f"Not judged, since folds are missing there or in {base}: {names}.")
    said += [*_means(table, section), *beside]
    parts: list[Part] = [top, Points(tuple(said))]
    if others := tuple(sentence(one, base, title, by_nodule) for one in whole if one not in own):
        rows = f"{len(others)} rows" if len(others) > 1 else "row"
        parts.append(More(f"The other {rows} on {title}", (Points(others),)))
    return parts


def _is_the_papers(line: Line) -> bool:
    return line.row.kind == "paper" and bool(line.row.losses)


def _otherwise(run: Gathered, table: Table, section: Section, base: str) -> Iterator[str]:
    """Say in short what comes of the other decisions of a protocol."""
    for other in table.sections:
        if other.protocol == section.protocol and other != section:
            whole, by_nodule = [one for one in compare(table, other)[0] if one.complete], _by_nodule(run, table, other)
            yield in_short(base, other.title, whole, by_nodule)
            yield from (sentence(one, base, other.title, by_nodule) for one in whole if one.differs)


def _by_nodule(run: Gathered, table: Table, section: Section) -> dict[str, float]:
    """Return Holm's p-values on the pooled predictions by the rows' keys."""
    return {line.row.key: p for line, _, p in pooled.compared(run, table, section)[1]}


def _p(one: Compared, by_nodule: Mapping[str, float]) -> float:
    return by_nodule.get(one.line.row.key, math.nan)


def _equals(p: float) -> str:
    said = p_value(p)
    return said if said.startswith("<") else f"= {said}"


def in_short(base: str, where: str, compared: Sequence[Compared], by_nodule: Mapping[str, float] = _ALONE) -> str:
    """Say how many rows differ from the first; those that are given a diameter at test are named apart."""
    if not compared:
        return f"No row can be compared with {base} on {where}: it needs two rows with every fold."
    given = [one for one in compared if one.line.row.reads_diameter]
    of_crops = [one for one in compared if one not in given]
    said = [_counted(base, where, of_crops, bool(given))] if of_crops else []
    for one in given:
        how = f"is {_how(one)} than {base}" if one.differs else f"cannot be told apart from {base}"
        if math.isnan(one.p):
            how = _in_every_fold(one, base)
        at = "" if of_crops else f" on {where}"
        p_values = f" ({said_p})" if (said_p := _p_values(one, by_nodule)) else ""
        said.append(f"{one.line.title}, {GIVEN}, {how}{at}{p_values}")
    return f"{'; '.join(said)}."


def _counted(base: str, where: str, compared: Sequence[Compared], beside_given: bool) -> str:
    better, worse = (sum(one.differs and _how(one) == how for one in compared) for how in ("better", "worse"))
    alike = len(compared) - better - worse
    what = "rows that see only the crop" if beside_given else "other rows"
    if alike == len(compared):
        one_row = "The one row that sees only the crop" if beside_given else "The one other row"
        rows = one_row if alike == 1 else f"None of the {alike} {what}"
        return f"{rows} can{'not' * (alike == 1)} be told apart from {base} on {where}"
    counts = [
        f"{n} {'is' if n == 1 else 'are'} {how} than {base}" for n, how in ((better, "better"), (worse, "worse")) if n
    ]
    of = f"{len(compared)} {what}" if beside_given else f"{len(compared)} rows"
    return f"Of {of} on {where}, {' and '.join(counts)}; {alike} cannot be told apart from it"


def nodule_by_nodule(base: str, compared: Sequence[Compared], by_nodule: Mapping[str, float]) -> list[str]:
    """Say which rows differ on the pooled predictions; nothing where none could be compared on them."""
    known = [one for one in compared if one.line.row.key in by_nodule]
    if not known:
        return []
    differ = ", ".join(
        f"{_named(one.line)} (p {_equals(_p(one, by_nodule))})" for one in known if _p(one, by_nodule) < ALPHA
    )
    found = f"these differ from {base}: {differ}" if differ else f"no row differs from {base}"
    return [f"Nodule by nodule, of these fitted models alone, {found}."]


def sentence(one: Compared, base: str, where: str, by_nodule: Mapping[str, float] = _ALONE) -> str:
    """Say of one row what these folds show.

    The words "better" and "worse" are kept for what is significant on the folds.
    """
    if math.isnan(one.p):
        return f"{_named(one.line)} {_in_every_fold(one, base)} of {where}, which says nothing of other folds."
    low, high = one.interval
    numbers = (
        f"{points(one.mean)} points (95 % interval {points(low)} to {points(high)}, unadjusted), Holm's "
        f"{_p_values(one, by_nodule)}; {one.needed:.1f} points are the least that would be significant"
    )
    if one.differs:
        return f"{_named(one.line)} is {_how(one)} than {base} on {where}: {numbers}."
    return f"{_named(one.line)} and {base} cannot be told apart on {where}: {numbers}."


def _in_every_fold(one: Compared, base: str) -> str:
    mean = points(one.mean)
    how = f"has the accuracy of {base}" if mean == "+0.0" else f"is {mean} points from {base}"
    return f"{how} in every fold"


def _how(one: Compared) -> str:
    return "better" if one.mean > 0 else "worse"


def _named(line: Line) -> str:
    return f"{line.title} ({GIVEN})" if line.row.reads_diameter else line.title


def _p_values(one: Compared, by_nodule: Mapping[str, float]) -> str:
    """Return those that there are."""
    found = ((one.p, "on the folds"), (_p(one, by_nodule), "nodule by nodule"))
    said = ", ".join(f"{p_value(p)} {where}" for p, where in found if not math.isnan(p))
    return f"p {'' if said.startswith('<') else '= '}{said}" if said else ""


def _means(table: Table, section: Section) -> Iterator[str]:
    """Say what the highest means are, of methods and of every reference; only over all folds."""
    reached = [(line, _mean(line, section, table.folds)) for line in table.lines]
    known = sorted((pair for pair in reached if not math.isnan(pair[1])), key=lambda pair: -pair[1])
    given = [(line, mean) for line, mean in known if line.row.reads_diameter]
    methods = [pair for pair in known if pair[0].is_trained and pair not in given]
    references = [line for line, _ in known if not line.is_trained]
    if methods:
        of = "row that sees only the crop" if given else "method"
        beside = "".join(f"; {line.title}, {GIVEN}, has {mean:.1f} %" for line, mean in given)
        yield f"The highest mean accuracy of a {of} is {methods[0][1]:.1f} % ({methods[0][0].title}){beside}."
    if references:
        named = ", ".join(f"{line.title} {_mean(line, section, table.folds):.1f} %" for line in references)
        yield f"Beside it the references: {named}."
    base = next(line for line in table.lines if line.is_trained)
    if less := [said for line in references if (said := less_base(line, base, table, section))]:
        yield f"Less {base.title}, in points on the folds, not adjusted for how many there are: {', '.join(less)}."


def less_base(line: Line, base: Line, table: Table, section: Section) -> str:
    """Say how far a reference is from the first row, with its 95 % interval; nothing unless both have every fold."""
    delta = in_common(line, base, section)
    if len(delta) < max(2, table.folds):
        return ""
    low, high = corrected_interval(delta, fold_ratio(table, section), ALPHA)
    where = "in every fold" if math.isnan(low) else f"({points(low)} to {points(high)})"
    return f"{line.title} {points(float(delta.mean()))} {where}"


def _mean(line: Line, section: Section, folds: int) -> float:
    score = cells(line, section).get("accuracy")
    return 100 * score.mean if score and len(score.folds) == folds else math.nan
