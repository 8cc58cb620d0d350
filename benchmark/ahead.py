"""What is tried before hours of work, so that nothing is missed only after them: folder, text tower, cluster."""

from collections.abc import Callable, Iterable
from pathlib import Path

from benchmark import claims, files, slurm
from benchmark.contracts import Row, TextTowerSpec
from benchmark.executor import probe
from benchmark.means import Means
from benchmark.places import writable
from benchmark.runfile import load as load_run


def look(
    folder: Path,
    rows: Iterable[Row],
    tower: TextTowerSpec,
    load: Callable[[TextTowerSpec], object],
    means: Means,
) -> list[str]:
    """Try what the fits of a run will need; return what to warn of.

    A finished run needs only its folder: its tables are made of records.

    What commands that were killed have left of their claims and half-written files is removed.

    Args:
        folder: The run's.
        rows: What is made.
        tower: The text tower.
        load: Loads it, or raises InputError.
        means: By what fits are made.

    Raises:
        InputError: What is missing, and what to do.
    """
    writable(folder)
    claims.sweep(folder)
    files.sweep(folder.rglob(files.PASSING))
    file = folder / "run.json"
    if file.exists() and load_run(file).finished:
        return []
    if tower.name != "random" and any(row.reads_text for row in rows):
        load(tower)
    if means.slurm is not None:
        slurm.check(means.slurm)
    if means.scheduler is None:
        return []
    probe(means.scheduler)
    return [warning] if (warning := means.scheduler.warning()) else []
