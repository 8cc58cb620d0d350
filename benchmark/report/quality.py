"""Beyond accuracy: how good the probabilities are, for whom, and what the choice of labels and nodules does."""

from collections.abc import Iterator, Sequence

from benchmark.estimates import TITLES, estimates
from benchmark.intervals import Interval
from benchmark.nodules import NoduleTable
from benchmark.report.gather import Gathered
from benchmark.report.judged import Judged, judged
from benchmark.report.parts import Cell, Chapter, Grid, Heading, More, Part, Points, Prose
from benchmark.scores import Section
from benchmark.sensitivity import sensitivities
from benchmark.strata import by_stratum

PERCENT = ("accuracy",)
_ABOUT = (
    "Predictions of all folds are pooled, seeds judged apart and their numbers averaged. Intervals are 95 % over "
    "patients drawn anew: they speak of these fitted models on other patients, not of new trainings. Lower is better "
    "for the error in ranks, the ranked probability score, the Brier score and the calibration error; the last has "
    "beside it what perfectly calibrated probabilities would show by chance. Weighted kappa has quadratic weights. AUC "
    "is that of one class against the rest, averaged over the classes, and sets only nodules of one fold against each "
    "other."
)
_OTHERWISE = (
    "The same predictions, scored under the labels and selections of earlier papers (Baltatzis et al. 2021, arXiv "
    "2108.05386). No model is trained anew. What naming the largest class for every nodule would reach stands beside."
)


def chapter(run: Gathered) -> Chapter:
    """Judge every row on every protocol; nothing where cohort.csv cannot be read."""
    table = run.nodules
    if table is None:
        return Chapter("quality", "Beyond accuracy")
    parts: list[Part] = [Prose(_ABOUT)]
    for section in run.first_sections:
        rows, left_out = judged(run, section.protocol.label_set)
        if not rows:
            continue
        parts += [Heading(section.title), _numbers(rows, section)]
        parts += [Points(left_out)] if left_out else []
        parts.append(
            More(f"Groups of nodules on {section.protocol.title}, row by row", tuple(_groups(rows, section, table)))
        )
        told: list[Part] = [Prose(_OTHERWISE), *_otherwise(run, rows, section, table)]
        parts.append(More(f"Other labels and selections on {section.protocol.title}, row by row", tuple(told)))
    return Chapter("quality", "Beyond accuracy", tuple(parts) if len(parts) > 1 else ())


def _numbers(rows: Sequence[Judged], section: Section) -> Grid:
    body = []
    for row in rows:
        found = estimates(row.predictions, section, row.weights)
        body.append((Cell(row.line.title), *(_figure(found[name], name in PERCENT) for name in TITLES)))
    caption = f"{section.title}: all nodules, accuracy in percent"
    return Grid(caption, ("Method", *TITLES.values()), tuple(body))


def _groups(rows: Sequence[Judged], section: Section, table: NoduleTable) -> Iterator[Grid]:
    headings = ("Group", "By", "Nodules", "Patients", "Largest class", "Accuracy")
    for row in rows:
        yield Grid(
            f"{row.line.title} on {section.title}, by group of nodules, in percent",
            headings,
            tuple(
                (
                    Cell(one.group),
                    Cell(one.stratum),
                    Cell(f"{one.nodules:,}", float(one.nodules)),
                    Cell(f"{one.patients:,}", float(one.patients)),
                    _share(one.largest_class),
                    _figure(one.accuracy, True),
                )
                for one in by_stratum(row.predictions, section, table, row.weights)
            ),
        )


def _otherwise(run: Gathered, rows: Sequence[Judged], section: Section, table: NoduleTable) -> Iterator[Grid]:
    headings = ("Labels or selection", "Nodules", "Of another class", "Without prediction", "Largest class", "Accuracy")
    rule = run.file.identity.label_rule
    for row in rows:
        yield Grid(
            f"{row.line.title} on {section.title}, under other labels and selections, in percent",
            headings,
            tuple(
                (
                    Cell(one.title),
                    Cell(f"{one.nodules:,}", float(one.nodules)),
                    Cell(f"{one.changed:,}", float(one.changed)),
                    Cell(f"{one.unpredicted:,}", float(one.unpredicted)),
                    _share(one.largest_class),
                    _figure(one.accuracy, True),
                )
                for one in sensitivities(row.predictions, section, table, rule, row.weights)
            ),
        )


def _figure(found: Interval, percent: bool) -> Cell:
    return Cell((found.text(".1f", 100) if percent else found.text(".3f")).removesuffix(" (-)"), found.value)


def _share(share: float) -> Cell:
    return Cell(f"{100 * share:.1f}", share)
