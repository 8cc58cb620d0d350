"""Figures that need records alone: mean ranks, and of every row confusion, reliability and loss curves."""

import math
from collections.abc import Iterator, Sequence

import numpy as np
from jaxtyping import Int

from benchmark.metrics import confusion_matrix, decide
from benchmark.ranks import ranking
from benchmark.records import FitRecord
from benchmark.report import svg
from benchmark.report.gather import Gathered
from benchmark.report.parts import Chapter, Figure, Heading, More, Part, Prose
from benchmark.scores import Section
from benchmark.tables import Line, Table, cells, fold_ratio

BINS = 10
_ABOUT = (
    "Pooled over folds and seeds, so a nodule counts once for each seed. Confidence is the probability of the most "
    "probable class; on the dashed diagonal it would be right as often as it says. Dots are larger where there are "
    "more predictions. Losses are means over the fits, of every term as the trainer adds it."
)


def chapter(run: Gathered) -> Chapter:
    """Draw what the records allow."""
    tag = run.origin.tag()
    parts: list[Part] = [
        figure
        for table in [run.tables[name] for name in ("table1", "table2") if name in run.tables]
        for section in table.sections
        if section in run.first_sections and (figure := rank_figure(table, section, tag))
    ]
    rows = [More(line.title, drawn) for line in run.lines if (drawn := tuple(_of_row(run, line, tag)))]
    if rows:
        parts += [Heading("Row by row"), Prose(_ABOUT), *rows]
    return Chapter("figures", "Figures", tuple(parts))


def rank_figure(table: Table, section: Section, tag: str) -> Figure | None:
    """Draw the mean ranks of the methods that have every fold; None for fewer than two."""
    reached = {line.title: cells(line, section).get("accuracy") for line in table.lines if line.is_trained}
    whole = {title: score.folds for title, score in reached.items() if score and len(score.folds) == table.folds}
    if len(whole) < 2:
        return None
    ranked = ranking(np.array(list(whole.values())).T, fold_ratio(table, section))
    rows = sorted(zip(whole, ranked.mean_ranks.tolist(), strict=True), key=lambda pair: pair[1])
    span = len(rows) - 1
    little = ", so this test can show almost nothing here" * (ranked.critical_difference > 0.75 * span)
    caption = (
        f"{section.title}: mean rank by accuracy over {table.folds} folds, 1 is the best ({tag}). Ranks less than "
        f"{ranked.critical_difference:.1f} apart cannot be told apart (Nemenyi's critical difference, with folds "
        f"counted for what they are worth, since they share training data); ranks can be {span} apart at most{little}. "
        "A rank says nothing of how far apart two rows are; the verdict does."
    )
    return Figure(caption, svg.ranks(rows, len(rows), f"Mean ranks of {len(rows)} methods on {section.title}"))


def _of_row(run: Gathered, line: Line, tag: str) -> Iterator[Figure]:
    for section in run.first_sections:
        records = [record for record in line.records.get(section.protocol.label_set, ()) if record.status == "done"]
        if not records:
            continue
        protocol, where = section.protocol, f"{line.title}, {section.title} ({tag})"
        folds = len({record.spec.fold for record in records})
        short = f"; {folds} of {run.folds} folds" if folds < run.folds else ""
        counts, columns = confusion(records, section)
        rows = [protocol.class_names[k] for k in protocol.test_classes]
        label = f"Confusion matrix of {line.title} on {section.title}"
        yield Figure(f"Confusion: {where}{short}", svg.confusion(counts, rows, columns, label))
        if len(protocol.test_classes) == len(protocol.class_names):
            label = f"Reliability diagram of {line.title} on {section.title}"
            yield Figure(f"Reliability: {where}{short}", svg.reliability(reliability(records), label))
    for label_set, of_set in line.records.items():
        if terms := losses([record for record in of_set if record.status == "done"]):
            label = f"Training losses of {line.title} on {label_set} classes"
            yield Figure(f"Losses: {line.title}, {label_set} classes ({tag})", svg.curves(terms, label))


def confusion(records: Sequence[FitRecord], section: Section) -> tuple[list[list[int]], list[str]]:
    """Return pooled counts by true class and decision, and the names of the decisions.

    Only classes that may be decided for have a column: the tested ones, or all under an open decision.
    """
    protocol = section.protocol
    among = list(protocol.test_classes if section.decision == "restricted" else range(len(protocol.class_names)))
    total: Int[np.ndarray, "classes classes"] = np.zeros((len(protocol.class_names),) * 2, dtype=np.int64)
    for record in records:
        tested = np.isin(record.labels, protocol.test_classes)
        decisions = np.array(among)[decide(record.proba[tested][:, among], record.decoder)]
        total += confusion_matrix(record.labels[tested], decisions, len(total))
    counts = total[np.ix_(list(protocol.test_classes), among)]
    return counts.tolist(), [protocol.class_names[k] for k in among]


def reliability(records: Sequence[FitRecord]) -> list[tuple[float, float, int]]:
    """Return mean confidence, share that is right, and number of predictions for each tenth that has any."""
    proba = np.concatenate([record.proba for record in records])
    labels = np.concatenate([record.labels for record in records])
    confidence, right = proba.max(axis=1), proba.argmax(axis=1) == labels
    place = np.minimum((confidence * BINS).astype(int), BINS - 1)
    return [
        (float(confidence[here].mean()), float(right[here].mean()), int(here.sum()))
        for here in (place == number for number in range(BINS))
        if here.any()
    ]


def losses(records: Sequence[FitRecord]) -> dict[str, list[float]]:
    """Return the mean of every loss term by epoch, over the fits that have it, up to the first that is not finite."""
    epochs = max((len(record.metadata.history) for record in records), default=0)
    terms: dict[str, list[float]] = {}
    for epoch in range(epochs):
        of_epoch: dict[str, list[float]] = {}
        for record in records:
            for name, value in record.metadata.history[epoch].items() if epoch < len(record.metadata.history) else ():
                of_epoch.setdefault(name, []).append(value)
        for name, values in of_epoch.items():
            mean = float(np.mean(values))
            if math.isfinite(mean) and len(terms.get(name, [])) == epoch:
                terms.setdefault(name, []).append(mean)
    return terms
