"""Which fits of a plan are done already: what can be told before there is a cohort."""

from collections.abc import Mapping, Sequence
from pathlib import Path

import msgspec

from benchmark.contracts import Row
from benchmark.experiment import hash_of
from benchmark.identity import Identity, fit_key, without_file
from benchmark.recipe import Preset
from benchmark.records import FitSpec, Unusable
from benchmark.run import Run


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
    if not (folder / "run.json").exists():
        return set()
    stored = Run.open(folder).identity
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
