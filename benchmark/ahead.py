"""What is tried before hours of work, so that nothing is missed only after them: folder, text tower, cluster."""

from collections.abc import Callable, Iterable
from pathlib import Path

from benchmark.contracts import Row, TextTowerSpec
from benchmark.executor import probe
from benchmark.places import writable
from benchmark.runfile import load as load_run
from benchmark.scheduler import Scheduler


def look(
    folder: Path,
    rows: Iterable[Row],
    tower: TextTowerSpec,
    load: Callable[[TextTowerSpec], object],
    scheduler: Scheduler | None,
) -> list[str]:
    """Try what the fits of a run will need; return what to warn of.

    A finished run needs only its folder: its tables are made of records.

    Args:
        folder: The run's.
        rows: What is made.
        tower: The text tower.
        load: Loads it, or raises InputError.
        scheduler: If the work goes there.

    Raises:
        InputError: What is missing, and what to do.
    """
    writable(folder)
    file = folder / "run.json"
    if file.exists() and load_run(file).finished:
        return []
    if tower.name != "random" and any(row.reads_text for row in rows):
        load(tower)
    if scheduler is None:
        return []
    probe(scheduler)
    return [warning] if (warning := scheduler.warning()) else []
