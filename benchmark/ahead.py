"""What is tried before hours of work, so that nothing is missed only after them: folder, text tower, cluster."""

from collections.abc import Callable, Iterable
from pathlib import Path

from benchmark import claims, files, slurm
from benchmark.contracts import Row, TextTowerSpec
from benchmark.executor import judge as judge_scheduler
from benchmark.executor import probe
from benchmark.experiment import is_at_hand
from benchmark.means import Means
from benchmark.places import writable


def judge(
    folder: Path,
    rows: Iterable[Row],
    tower: TextTowerSpec,
    load: Callable[[TextTowerSpec], object],
    means: Means,
) -> None:
    """Refuse what can be seen to be wrong without asking anybody over a network, and without writing anything.

    Args:
        folder: The run's.
        rows: What it is asked for.
        tower: The text tower.
        load: Loads it, or raises InputError.
        means: By what fits are made.

    Raises:
        InputError: What is wrong, and what to do.
    """
    writable(folder, "--out")
    if means.slurm is not None:
        slurm.check(means.slurm)
    if means.scheduler is not None:
        judge_scheduler(means.scheduler)
    if is_at_hand(tower) and any(row.reads_text for row in rows):
        load(tower)


def look(
    folder: Path,
    rows: Iterable[Row],
    tower: TextTowerSpec,
    load: Callable[[TextTowerSpec], object],
    means: Means,
) -> list[str]:
    """Try what the fits of a run will need that `judge` cannot know; return what to warn of.

    What commands that were killed have left of their claims and half-written files is removed.

    Args:
        folder: The run's.
        rows: What is to be made; a finished run needs none, since its tables are made of records.
        tower: The text tower.
        load: Loads it, or raises InputError.
        means: By what fits are made.

    Raises:
        InputError: What is missing, and what to do.
    """
    claims.sweep(folder)
    files.sweep(folder.rglob(files.PASSING))
    if not (wanted := list(rows)):
        return []
    if tower.name != "random" and any(row.reads_text for row in wanted):
        load(tower)
    if means.scheduler is None:
        return []
    probe(means.scheduler)
    return [warning] if (warning := means.scheduler.warning()) else []
