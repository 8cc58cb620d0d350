"""How far a run folder has come, as far as can be told before there is a cohort; nothing is changed."""

from collections.abc import Collection, Mapping, Sequence
from pathlib import Path

import msgspec

from benchmark.contracts import Row
from benchmark.experiment import hash_of
from benchmark.identity import Identity, fit_key, without_file
from benchmark.recipe import Preset
from benchmark.records import FitRecord, FitSpec, Unusable
from benchmark.run import Run
from benchmark.runfile import load, refuse


def done_fits(
    folder: Path, specs: Sequence[FitSpec], rows: Mapping[str, Row], preset: Preset, asked: Mapping[str, object]
) -> set[FitSpec]:
    """Return the fits whose results a folder holds, as far as can be told without the cohort; nothing is changed.

    Args:
        folder: Of the run.
        specs: Which fits.
        rows: What they are made of.
        preset: How they would be made.
        asked: What else the run's identity must be: source, label rule, preset's name, settings.

    Raises:
        InputError: The folder holds another run.
    """
    stored = Run.open(folder).identity if (folder / "run.json").exists() else _identity_in(folder)
    if stored is None:
        return set()
    parts = {"recipe": preset.recipe, "encoder": preset.encoder, "folds": preset.folds}
    tower = without_file(preset.text_tower)
    run = Run(folder, msgspec.convert(vars(stored) | parts | {"text_tower": tower} | dict(asked), Identity))
    keys = {key: fit_key(run.identity, row, weights=hash_of(run.text_weights())) for key, row in rows.items()}
    done = set()
    for spec in specs:
        try:
            record = run.read(spec, keys[spec.method])
        except Unusable:
            continue
        if record is not None and record.status != "failed":
            done.add(spec)
    return done


def rows_to_make(
    folder: Path, specs: Sequence[FitSpec], done: Collection[FitSpec], rows: Mapping[str, Row], is_all: bool
) -> list[Row]:
    """Return the rows that have a fit to be made, as far as can be told without the cohort.

    Args:
        folder: Of the run.
        specs: Every fit that is wanted.
        done: Those that it has.
        rows: What they are made of.
        is_all: Whether no dataset was named: a finished run then has all whose classes its nodules have.
    """
    file = folder / "run.json"
    run = load(file) if file.exists() else None
    there = {protocol.label_set for protocol in run.protocols} if run and run.finished and is_all else None
    todo = {spec.method for spec in specs if spec not in done and (there is None or spec.label_set in there)}
    return [row for key, row in rows.items() if key in todo]


def _identity_in(folder: Path) -> Identity | None:
    """Return the identity of a first record that can be read, in a folder whose run.json was lost; None without one.

    Raises:
        InputError: The folder of the fits cannot be read.
    """
    for path in sorted((folder / "fits").glob("*/*/fold*-seed*.json")):
        try:
            return FitRecord.from_bytes(path.read_bytes()).identity
        except Unusable:
            continue
        except OSError as error:
            refuse(error)
    return None
