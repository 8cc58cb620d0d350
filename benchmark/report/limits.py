"""What the labels themselves allow: one radiologist against the others, two against two, and ratings at fault."""

from collections.abc import Iterator, Sequence
from functools import lru_cache, partial

import numpy as np
from jaxtyping import Int

from benchmark import fault, limit, limittables
from benchmark.bootstrap import patient_weights
from benchmark.contracts import Protocol
from benchmark.footnotes import READS_DIAMETER
from benchmark.nodules import NoduleTable
from benchmark.report.gather import Gathered
from benchmark.report.judged import judged
from benchmark.report.parts import Cell, Chapter, Grid, Heading, Part, Points, Prose
from benchmark.tables import Line

REPLICATES = 1000
_FLAG = "is_from_initial"
_LEFT_OUT = (
    "What it changes for a row to leave such ratings out in marked scans stands under What a setting changes, where a "
    "run has such a row (--methods all)."
)
_DRAWN = " The phantom's images are drawn from these ratings, so on it the fault is in the images too."
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
        known = np.isfinite(table.malignancy)
        about = fault.about(int((known & flagged).sum()), int((known & ~flagged).sum()))
        about += _DRAWN * (run.file.identity.source == "phantom")
        parts += [
            Heading("Ratings at fault"),
            Prose(about),
            _grid(caption, fault.table(found)),
            Points((*fault.CAVEATS, _LEFT_OUT)),
        ]
    return Chapter("limits", "What the labels allow", tuple(parts))


def whole_protocols(run: Gathered) -> list[Protocol]:
    """Return the protocols that test every class of their label set: the reads have all of them."""
    return [p for p in run.file.protocols if set(p.test_classes) == set(range(len(p.class_names)))]


def rule_of(run: Gathered, protocol: Protocol) -> limit.Classify:
    """Return how means become classes in this run."""
    assert run.known.classify is not None
    return partial(run.known.classify, label_set=protocol.label_set, rule=run.file.identity.label_rule)


def in_short(run: Gathered, protocol: Protocol) -> Iterator[str]:
    """Say what one radiologist reaches, and rows on the same reads; nothing where it is not known."""
    table = run.nodules
    if table is None or run.known.classify is None or not table.knows_scores or protocol not in whole_protocols(run):
        return
    scores, classify, names = table.reader_malignancy, rule_of(run, protocol), protocol.class_names
    reads, weights = limit.against_others(scores, classify, len(names)), weights_of(table)
    if not len(reads):
        return
    reached = limit.scored(reads, names, weights)["accuracy"].text(".1f", 100)
    yield (
        f"One radiologist, judged by the mean of the others, reaches {reached} % of {len(reads):,} reads"
        f"{halves(reads)}. Its limits stand under What the labels allow."
    )
    rows = [row.line for row in judged(run, protocol.label_set)[0] if row.line.is_trained]
    decided = {line: limit.decisions_of(line.records[protocol.label_set], table.nodule_ids) for line in rows}
    pairs = {line: like_for_like(reads, decisions) for line, decisions in decided.items()}
    if pairs:
        best = max(pairs, key=lambda line: pairs[line][1])
        said = [_beside(line, *pairs[line]) for line in dict.fromkeys((rows[0], best))]
        yield f"Like for like, on the same reads: {'; '.join(said)}."
        yield from why(len(reads), len(limit.against_all(scores, classify, len(names))), pairs[rows[0]][0])


def halves(reads: limit.Reads) -> str:
    """Say what scores that name no class do to the share that is right; nothing where there are none."""
    classes = reads.decided.shape[1]
    shared = reads.decided.max(axis=1) < 1
    if classes != 2 or not shared.any():
        return ""
    right = int((reads.decided[np.arange(len(reads)), reads.labels] == 1).sum())
    named = int((~shared).sum())
    return (
        f", where a score of 3 ({shared.sum():,} reads) counts as half right; of the {named:,} reads that name a class "
        f"{100 * right / max(1, named):.1f} % are right, which is {100 * right / len(reads):.1f} % of all"
    )


def like_for_like(reads: limit.Reads, decisions: Int[np.ndarray, "seeds nodules"]) -> tuple[int, float, float]:
    """Return on how many reads a row has decided, and in percent how often it and one radiologist are right there."""
    theirs, same = limit.model_on(reads, decisions), reads.among(np.any(decisions >= 0, axis=0))
    right = [one.decided[np.arange(len(one)), one.labels].mean() if len(one) else np.nan for one in (theirs, same)]
    return len(same), 100 * float(right[0]), 100 * float(right[1])


def _beside(line: Line, number: int, row: float, reader: float) -> str:
    given = f" ({READS_DIAMETER})" * line.row.reads_diameter
    return f"{line.title}{given} {row:.1f} %, one radiologist {reader:.1f} %, on {number:,} reads"


def why(by_others: int, by_all: int, tested: int) -> Iterator[str]:
    """Say why there are several numbers of reads; nothing where there is one."""
    if len({by_others, by_all, tested}) > 1:
        yield (
            f"Why the numbers of reads differ: on {by_others:,} the mean of the other readers names a class, on "
            f"{by_all:,} the mean of all readers does, and on {tested:,} both do, since the mean of all chooses the "
            "nodules that are tested."
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
