"""What the labels themselves allow: one radiologist against the others, two against two, and ratings at fault."""

from collections.abc import Sequence
from functools import lru_cache, partial

import numpy as np
from jaxtyping import Int

from benchmark import fault, limit, limittables
from benchmark.bootstrap import patient_weights
from benchmark.contracts import Protocol
from benchmark.nodules import NoduleTable
from benchmark.report.gather import Gathered
from benchmark.report.judged import judged
from benchmark.report.parts import Cell, Chapter, Grid, Heading, Part, Points, Prose

REPLICATES = 1000
_FLAG = "is_from_initial"
_LEFT_OUT = (
    "What it changes for a row to leave such ratings out in marked scans stands under What a setting changes, where a "
    "run has such a row (--methods all)."
)
_ABOUT = (
    "Each reader of a nodule with three or more is judged as a model is, by the class of the mean of the others. Rows "
    "are scored on the same reads. Intervals are 95 % over patients drawn anew."
)


def chapter(run: Gathered) -> Chapter:
    """Say it for every label set, and of every attribute; nothing where single scores are not known."""
    table = run.nodules
    if table is None or run.known.classify is None:
        return Chapter("limits", "What the labels allow")
    if not table.knows_scores:
        why = "cohort.csv does not hold the readers' single scores: a run made anew in another folder does."
        return Chapter("limits", "What the labels allow", (Prose(why),))
    weights = weights_of(table)
    parts: list[Part] = [Prose(_ABOUT)]
    for protocol in whole_protocols(run):
        classify, names = rule_of(run, protocol), protocol.class_names
        rows, _ = judged(run, protocol.label_set)  # only those whose nodules are those of cohort.csv
        models = {
            row.line.title: limit.decisions_of(row.line.records[protocol.label_set], table.nodule_ids) for row in rows
        }
        lines = limittables.one_radiologist(table.reader_malignancy, classify, names, models, weights)
        paired = limittables.readers_in_pairs(table.reader_malignancy, classify, names, weights)
        parts += [
            Heading(protocol.title),
            _grid(f"{protocol.title}: one radiologist and the rows, on the same reads, in percent", lines),
            _grid(f"{protocol.title}: two readers against two, in percent", paired),
        ]
    parts.append(Points(limit.CAVEATS))
    if _FLAG in table.strata and table.attribute_names:
        flagged = np.array(table.strata[_FLAG]) == "yes"
        found = fault.correlations(table.ratings, table.malignancy, flagged, table.attribute_names, weights)
        caption = "Correlation of each mean rating with mean malignancy, in scans of the first release and elsewhere"
        parts += [Heading("Ratings at fault"), _grid(caption, fault.table(found)), Points((*fault.CAVEATS, _LEFT_OUT))]
    return Chapter("limits", "What the labels allow", tuple(parts))


def whole_protocols(run: Gathered) -> list[Protocol]:
    """Return the protocols that test every class of their label set: the reads have all of them."""
    return [p for p in run.file.protocols if set(p.test_classes) == set(range(len(p.class_names)))]


def rule_of(run: Gathered, protocol: Protocol) -> limit.Classify:
    """Return how means become classes in this run."""
    assert run.known.classify is not None
    return partial(run.known.classify, label_set=protocol.label_set, rule=run.file.identity.label_rule)


def in_short(run: Gathered, protocol: Protocol) -> str:
    """Say in a sentence what one radiologist reaches; nothing where it is not known."""
    table = run.nodules
    if table is None or run.known.classify is None or not table.knows_scores or protocol not in whole_protocols(run):
        return ""
    reads = limit.against_others(table.reader_malignancy, rule_of(run, protocol), len(protocol.class_names))
    if not len(reads):
        return ""
    reached = limit.scored(reads, protocol.class_names, weights_of(table))["accuracy"].text(".1f", 100)
    return (
        f"One radiologist, judged by the mean of the others, reaches {reached} % of {len(reads):,} reads; "
        "what that is not stands under What the labels allow."
    )


@lru_cache(maxsize=1)
def weights_of(table: NoduleTable) -> Int[np.ndarray, "replicates nodules"]:
    """Return how often each replicate draws each nodule of a run."""
    return patient_weights(table.patient_ids, REPLICATES, seed=0)


def _grid(caption: str, lines: Sequence[Sequence[str]]) -> Grid:
    header, *body = lines
    return Grid(caption, tuple(header), tuple(tuple(map(_cell, line)) for line in body))


def _cell(text: str) -> Cell:
    """Return a cell that sorts by the number that it begins with."""
    first = text.partition(" ")[0].replace(",", "")
    try:
        return Cell(text, float(first))
    except ValueError:
        return Cell(text)
