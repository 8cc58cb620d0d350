"""What is tried before hours of work, so that nothing is missed only after them: folder, text tower, cluster."""

from collections.abc import Callable, Iterable
from pathlib import Path

from benchmark.contracts import InputError, Row, TextTowerSpec
from benchmark.executor import probe
from benchmark.places import writable
from benchmark.recipe import Preset
from benchmark.runfile import load as load_run


def require_one_width(rows: Iterable[Row], preset: Preset) -> None:
    """See that image and text features can be compared, if a row will do so; a plugin's may have a way of its own.

    Raises:
        InputError: They differ in number.
    """
    readers = [row.title for row in rows if row.reads_text and row.kind != "plugin"]
    image, text = preset.encoder.width, preset.text_tower.width
    if readers and image != text:
        raise InputError(
            f"the image encoder gives {image} features and the text tower {text}, so {readers[0]} and all rows that "
            "read text have nothing to compare: choose --preset and --text-tower of one width (paper with openai or "
            "a file, smoke and quick with random), or name other rows with --methods"
        )


def look(
    folder: Path,
    rows: Iterable[Row],
    tower: TextTowerSpec,
    load: Callable[[TextTowerSpec], object],
    scheduler: str | None,
) -> None:
    """Try what the fits of a run will need. A finished run needs only its folder: its tables are made of records.

    Args:
        folder: The run's.
        rows: What is made.
        tower: The text tower.
        load: Loads it, or raises InputError.
        scheduler: Address of a dask scheduler, if the work goes there.

    Raises:
        InputError: What is missing, and what to do.
    """
    writable(folder)
    file = folder / "run.json"
    if file.exists() and load_run(file).finished:
        return
    if tower.name == "openai" and any(row.reads_text for row in rows):
        load(tower)
    if scheduler is not None:
        probe(scheduler)
