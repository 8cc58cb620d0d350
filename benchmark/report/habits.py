"""Two habits measured: what the best epoch on the test fold, and what folds that ignore patients, would have added."""

import math
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np

from benchmark.against_base import points
from benchmark.bootstrap import PairedBootstrap
from benchmark.contracts import Protocol
from benchmark.habits import EpochChoice, epoch_choices
from benchmark.report.gather import Gathered, Known, gather
from benchmark.report.ignoring import Ignoring, ignoring
from benchmark.report.parts import Cell, Chapter, Grid, Heading, Part, Points, Prose
from benchmark.scores import Score, Section
from benchmark.tables import Line, printed

TITLE = "Two habits"
_EPOCHS = (
    "Nothing in this run was chosen by a test fold: the last epoch counts. What choosing the epoch that does best on "
    "the test fold would have added is never below zero, even where epochs differ by chance alone. Beside it stands an "
    "honest choice: the epoch that does best on the other folds. What the first has above the second is bought from "
    "the test fold. Accuracy is that of the most probable class; mean and standard deviation over folds."
)
_FOLDS = (
    "The same rows were trained once more on folds that ignore patients, with the same seeds and the same balance of "
    "classes, so that nodules of one patient stand in training and test. Each nodule is tested once in both runs, and "
    "is compared with itself. Intervals are 95 % over patients drawn anew, for each row by itself; they speak of these "
    "fits, and another seed moves either side."
)
_NO_EPOCHS = (
    "What choosing the best epoch on the test fold would add was not measured: --test-curve notes it, of fits that are "
    "still to be made."
)
_NO_FOLDS = "What folds that ignore patients would add was not measured: --habits trains the same rows on such folds."
_NEITHER = (
    "What choosing the best epoch on the test fold, and what folds that ignore patients, would add was not measured: "
    "--habits does both."
)


def chapter(run: Gathered) -> Chapter:
    """Show what was measured, and say by which option the rest would be; nothing of folds that ignore patients."""
    if run.file.identity.splits_patients or not run.found:
        return Chapter("habits", TITLE)
    epochs = {protocol: _choices(run, protocol) for protocol in _protocols(run)}
    added = {protocol: ignoring(run, protocol) for protocol in _protocols(run)}
    has_epochs, has_folds = any(epochs.values()), any(one.rows for one in added.values())
    if not has_epochs and run.ignoring is None:
        return Chapter("habits", TITLE, (Prose(_NEITHER),))
    parts: list[Part] = [Prose(_EPOCHS if has_epochs else _NO_EPOCHS)]
    parts.append(Prose(_NO_FOLDS if run.ignoring is None else _FOLDS))
    for protocol in _protocols(run):
        found: list[Part] = [Points(said)] if (said := tuple(in_short(run, protocol))) else []
        found += [_epochs(run, protocol, epochs[protocol])] if epochs[protocol] else []
        found += [_folds(protocol, added[protocol])] if added[protocol].rows else []
        found += [Points(added[protocol].left_out)] if added[protocol].left_out else []
        parts += [Heading(protocol.title), *found] if found else []
    if run.ignoring is not None and not has_folds:
        parts.append(Prose("No row has every fold in both runs, so nothing can be said of folds that ignore patients."))
    if run.ignoring is not None and (there := run.ignoring.file.metadata.commit) != run.file.metadata.commit:
        parts.append(Prose(f"The run on folds that ignore patients is of other code: commit {there or 'not known'}."))
    return Chapter("habits", TITLE, tuple(parts))


def sentences(folder: Path, known: Known) -> list[str]:
    """Return what is to be said of a run folder in short, label set by label set: also what it can no longer tell.

    Raises:
        InputError: As `gather`.
    """
    run = gather(folder, known)
    return [
        f"{protocol.title}: {said}"
        for protocol in _protocols(run)
        for said in (*in_short(run, protocol), *_too_late(run, protocol))
    ]


def _too_late(run: Gathered, protocol: Protocol) -> Iterator[str]:
    """Say of which methods no epoch can be chosen any more, since their fits were finished without a curve."""
    there = {
        (spec.label_set, spec.method)
        for spec, record in run.found.items()
        if record is not None and record.status == "done"
    }
    made = [line for line in run.lines if line.is_trained and (protocol.label_set, line.row.key) in there]
    choices = _choices(run, protocol)
    if without := [line.title for line in made if line not in choices]:
        yield (
            f"What the best epoch on the test fold would have added cannot be told of {', '.join(without)}: these fits "
            "were finished without --test-curve (part of --habits), which is noted while a fit is made, and finished "
            "fits are not made again; give another --out to measure it"
        )


def in_short(run: Gathered, protocol: Protocol) -> Iterator[str]:
    """Say of all methods together what was measured, once a label set: with its first protocol."""
    if protocol not in _protocols(run) or run.file.identity.splits_patients:
        return
    if choices := {line: one for line, one in _choices(run, protocol).items() if line.is_trained}:
        yield _of_epochs(list(choices.values()))
    one = ignoring(run, protocol)
    if one.together is not None:
        trained = sum(row.line.is_trained for row in one.rows)
        yield (
            f"Folds that ignore patients would have added {_points(one.together.difference)} points of pooled accuracy "
            f"({_interval(one.together)}; {_counted(trained)}): {100 * one.patients_shared:.0f} % of patients have "
            f"more than one nodule of these classes, and {100 * one.trained_on:.0f} % of the nodules were tested by "
            "fits that had trained on another of the same patient."
        )


def _of_epochs(choices: Sequence[EpochChoice]) -> str:
    gains = [100 * one.on_test.mean for one in choices]
    honest = [100 * one.elsewhere.mean for one in choices if one.elsewhere is not None]
    beside = f"; one chosen on the other folds, {points(float(np.mean(honest)))}" if honest else ""
    return (
        f"The best epoch on the test fold would have added {points(float(np.mean(gains)))} points of accuracy "
        f"({points(min(gains))} to {points(max(gains))}; {_counted(len(gains))}){beside}."
    )


def _counted(rows: int) -> str:
    return "one method" if rows == 1 else f"{rows} methods"


def _protocols(run: Gathered) -> list[Protocol]:
    """Return the first protocol of each label set: protocols that share their fits share these figures."""
    return list({protocol.label_set: protocol for protocol in reversed(run.file.protocols)}.values())[::-1]


def _choices(run: Gathered, protocol: Protocol) -> dict[Line, EpochChoice]:
    found = epoch_choices(run.found.values())
    label_set = protocol.label_set
    return {line: found[label_set, line.row.key] for line in run.lines if (label_set, line.row.key) in found}


def _epochs(run: Gathered, protocol: Protocol, choices: dict[Line, EpochChoice]) -> Grid:
    headings = ("Method", "Last epoch", "Best on the test fold adds", "Best on the other folds adds")
    body = []
    for line, one in choices.items():
        numbers = Cell(printed(one.last, run.folds), one.last.mean), _gain(one.on_test, run.folds)
        body.append((Cell(line.title), *numbers, _gain(one.elsewhere, run.folds) if one.elsewhere else Cell("-")))
    classes = ", ".join(protocol.class_names)
    return Grid(f"Accuracy over {classes}, in percent, and what choosing an epoch adds", headings, tuple(body))


def _gain(gain: Score, folds: int) -> Cell:
    sign = "" if round(100 * gain.mean, 1) < 0 else "+"
    return Cell(sign + printed(gain, folds).replace("-0.0", "0.0", 1), gain.mean)


def _folds(protocol: Protocol, added: Ignoring) -> Grid:
    headings = ("Method", "Whole patients", "Ignoring patients", "Adds", "95 % from", "to")
    body = [
        (
            Cell(one.line.title),
            Cell(f"{100 * one.disjoint:.1f}", one.disjoint),
            Cell(f"{100 * one.ignoring:.1f}", one.ignoring),
            *(Cell(_points(value), value) for value in (one.paired.difference, one.paired.low, one.paired.high)),
        )
        for one in added.rows
    ]
    title = Section(protocol, protocol.decisions[0]).title
    return Grid(f"{title}: pooled accuracy in percent, and what folds that ignore patients add", headings, tuple(body))


def _points(fraction: float) -> str:
    return "-" if math.isnan(fraction) else points(100 * fraction)


def _interval(found: PairedBootstrap) -> str:
    return f"95 % interval {_points(found.low)} to {_points(found.high)}"
