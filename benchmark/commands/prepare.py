"""The cohort that a command line of run_all.py names, prepared with its progress on the screen."""

import argparse
from pathlib import Path

from rich.console import Console

import datasets
from benchmark import places
from benchmark.progress import progress
from benchmark.recipe import Preset
from datasets import cohort, samples


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
    refuse = samples.refusal(args.nodules, args.label_rule, args.datasets, preset.folds)
    work, given = places.work_folder(args.work) / "cohorts", {"dicom_root": args.dicom_root, "verify": args.verify}
    if args.collection is not None:
        collection = datasets.open_collection(args.collection)
    else:
        with progress(err, "Looking for series", "folders and archives") as advance:
            collection = datasets.open_source(args.source, work, **given, workers=workers, progress=advance)
    with progress(err, f"Preparing the {collection.source} cohort", "nodules") as advance:
        return cohort.prepare(collection, work, preset.nodules, refuse, workers=workers, progress=advance)
