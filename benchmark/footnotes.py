"""What stands below a table: which rows are one model or read more than images, and why cells are missing."""

from collections import Counter
from collections.abc import Sequence

from benchmark.tables import Table

READS_DIAMETER = "reads the diameter that the radiologists' outlines give, of the test nodules too"
MEETS_NARROW = "text features meet theirs through a random projection that nothing trains"
MICRO_BATCH = (
    "nodules at once, since memory held no whole batch; gradients add up to the batch's, but batch normalisation, and "
    "losses that are no plain mean over a batch, see so few"
)


def footnotes(table: Table) -> list[str]:
    """Say which rows are one model or read more than images, and why cells are missing or rest on fewer folds."""
    notes = [*same_models(table), *_seeds(table)]
    for line in table.lines:
        if line.row.reads_diameter:
            notes.append(f"{line.title} {READS_DIAMETER}")
        if (traits := line.row.traits).narrowing != 1:
            narrow = f"{traits.encoders} image encoders, each {traits.narrowing} times narrower than the shared one"
            texts = f"; {MEETS_NARROW}" if traits.reads_text else ""
            notes.append(f"{line.title} trains {narrow}, which together multiply about as often as that does{texts}")
        for label_set in dict.fromkeys(section.protocol.label_set for section in table.sections):
            of_set = (s.protocol.title for s in table.sections if s.protocol.label_set == label_set)
            titles = ", ".join(dict.fromkeys(of_set))
            records = line.records.get(label_set, ())
            if absent := sorted(set(range(table.folds)) - {record.spec.fold for record in records}):
                which = _folds(absent) if len(absent) < table.folds else "every fold"
                notes.append(f"{line.title} on {titles}: {which} still to be made")
            short = [r for r in records if r.status == "done" and r.metadata.micro_batch]
            for size in dict.fromkeys(r.metadata.micro_batch for r in short):
                which = _folds(sorted({r.spec.fold for r in short if r.metadata.micro_batch == size}))
                notes.append(f"{line.title} on {titles}: {which} trained with {size} {MICRO_BATCH}")
            missed = [r for r in records if r.status != "done"]
            for reason in dict.fromkeys(r.reason for r in missed):
                folds = sorted({r.spec.fold for r in missed if r.reason == reason})
                status = next(r.status for r in missed if r.reason == reason)
                what = "does not apply" if status == "unsupported" else f"failed on {_folds(folds)}"
                notes.append(f"{line.title} on {titles} {what}: {reason}")
    return notes


def same_models(table: Table) -> list[str]:
    """Say which rows are one model on two classes, where their differences are no matter of method."""
    titles = list(dict.fromkeys(s.protocol.title for s in table.sections if len(s.protocol.class_names) == 2))
    models: dict[str, list[str]] = {}
    for line in table.lines if titles else ():
        if (model := line.row.traits.on_two_classes) and not line.row.hyperparameters:
            models.setdefault(model, []).append(line.title)
    where = ", ".join(titles)
    return [
        f"On {where}, {', '.join(rows[:-1])} and {rows[-1]} are one model: {model}"
        for model, rows in models.items()
        if len(rows) > 1
    ]


def _seeds(table: Table) -> list[str]:
    """Say how many seeds the folds of each row have, where these are not the same for all; references have one."""
    of_rows: dict[tuple[int, ...], list[str]] = {}
    for line in table.lines:
        done = [record.spec for records in line.records.values() for record in records if record.status == "done"]
        if line.is_trained and done:
            counts = Counter((spec.label_set, spec.fold) for spec in done)
            of_rows.setdefault(tuple(sorted(set(counts.values()))), []).append(line.title)
    if len(of_rows) < 2 and all(len(counts) == 1 for counts in of_rows):
        return []
    said = [f"{_range(counts)} {', '.join(titles)}" for counts, titles in sorted(of_rows.items())]
    return [f"Seeds of a fold differ: {'; '.join(said)}. A mean over more of them is steadier"]


def _range(counts: tuple[int, ...]) -> str:
    many = f"{counts[0]} to {counts[-1]}" if len(counts) > 1 else str(counts[0])
    return f"{many} seed{'s' * (counts[-1] > 1)}:"


def _folds(numbers: Sequence[int]) -> str:
    return f"fold{'s' * (len(numbers) > 1)} {', '.join(map(str, numbers))}"
