"""The cohort that a command line of run_all.py names, prepared with its progress on the screen."""

import argparse
from functools import partial
from itertools import chain
from pathlib import Path

from rich.console import Console

import datasets
from benchmark import commandline, files, places, screen
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
    work, tell = places.work_folder(args.work) / "cohorts", partial(screen.say, err)
    files.sweep(chain(work.glob(files.PASSING), work.glob(f"*/{files.PASSING}")))  # what was killed left of gigabytes
    with progress(err, "Looking for series", "folders and archives") as advance:
        given = commandline.source_options(args) | {"workers": workers, "progress": advance}
        collection = datasets.open_any(args.collection, args.source, work, **given)
    with progress(err, f"Preparing the {collection.source} cohort", collection.unit) as advance:
        return cohort.prepare(collection, work, preset.nodules, refuse, workers=workers, progress=advance, tell=tell)
