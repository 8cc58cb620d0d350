"""The cohort that a command line of run_all.py names: foreseen, prepared with its progress on the screen, and cut."""

import argparse
from collections.abc import Callable, Sequence
from functools import partial
from itertools import chain
from pathlib import Path

import numpy as np
from jaxtyping import Int
from rich.console import Console

import datasets
from benchmark import commandline, files, places, screen
from benchmark.contracts import Cohort, Collection, Protocol
from benchmark.progress import progress
from benchmark.recipe import Preset
from datasets import cohort, folds, protocols, samples
from datasets.lidc import survey


def prepare(args: argparse.Namespace, preset: Preset, workers: int, err: Console) -> Path:
    """Return the prepared file of the collection that a command line names, making it first if it is missing.

    Args:
        args: Of run_all.py.
        preset: Its sample and folds.
        workers: Processes, 1 or more.
        err: Where to show progress.

    Raises:
        InputError: It cannot be made, or a sample makes no sense.
    """
    refuse = _refusal(args, preset)
    work, tell = places.work_folder(args.work) / "cohorts", partial(screen.say, err)
    halves = (place.glob(files.PASSING) for place in (work.parent, work, *work.glob("*/")))
    files.sweep(chain.from_iterable(halves))  # what processes that were killed left, of gigabytes perhaps
    with progress(err, "Looking for series", "folders and archives") as advance:
        given = commandline.source_options(args) | {"workers": workers, "progress": advance}
        collection = datasets.open_any(args.collection, args.source, work, **given)
    with progress(err, f"Preparing the {collection.source} cohort", collection.unit) as advance:
        return cohort.prepare(collection, work, preset.nodules, refuse, workers=workers, progress=advance, tell=tell)


def foresee(args: argparse.Namespace, preset: Preset) -> tuple[Path | None, str]:
    """Return the prepared file if it is there, and a sentence on what preparing would fetch; nothing is written.

    A download is not looked through: that takes minutes, and is kept. Of it is seen only that it is there.

    Raises:
        InputError: As `prepare`, as far as can be told without voxels.
    """
    if args.cohort:
        return args.cohort.resolve(), ""
    if args.collection is None and args.source == "dicom":
        survey.root_of(args.dicom_root)
        return None, ""
    refuse = _refusal(args, preset)
    work = places.work_folder(args.work) / "cohorts"
    collection = datasets.open_any(args.collection, args.source, work, **commandline.source_options(args))
    return cohort.foresee(collection, work, preset.nodules, refuse)


def _refusal(args: argparse.Namespace, preset: Preset) -> Callable[[Collection], None]:
    """Return what refuses a collection of which nothing can be made that was asked for."""
    refuse_sample = samples.refusal(args.nodules, args.label_rule, args.datasets, preset.folds)

    def refuse(collection: Collection) -> None:
        if args.collection is not None:  # of LIDC a download may have part, to which more comes
            samples.refuse_absent(collection, args.label_rule, args.datasets)
        refuse_sample(collection)

    return refuse


def cut(
    nodules: Cohort, folders: Sequence[Path], asked: Sequence[str] | None, rule: str, number: int
) -> tuple[list[Protocol], dict[Path, Int[np.ndarray, " nodules"]]]:
    """Return how nodules are scored, and the fold of each: of whole patients in the first folder, of none in a second.

    Raises:
        InputError: They lack a class, or patients for so many folds.
    """
    chosen = protocols.protocols_of(nodules, asked, rule)
    deals = zip(folders, (folds.assign_cohort, folds.assign_ignoring_patients), strict=False)
    return chosen, {place: deal(nodules, {p.label_set for p in chosen}, rule, number) for place, deal in deals}
