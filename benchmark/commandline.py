"""The command line's grammar; names are checked afterwards, against the registries."""

import argparse
import shlex
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, NoReturn

from benchmark.contracts import InputError
from benchmark.extras import CHECKPOINT_S
from benchmark.places import expanded
from benchmark.scheduler import Scheduler

OF_SOURCE = {  # an option of real CT: its name among the arguments, and the source that takes it
    "--dicom-root": ("dicom_root", "dicom"),
    "--verify": ("verify", "dicom"),
    "--keep-dicom": ("keep_dicom", "idc"),
    "--connections": ("connections", "idc"),
    "--idc-endpoint": ("endpoint", "idc"),
    "--idc-timeout": ("timeout_s", "idc"),
}


class Parser(argparse.ArgumentParser):
    """An argument parser that says what is wrong in one sentence."""

    def parse_args(  # type: ignore[override]  # argparse has overloads for a namespace of one's own
        self, args: Sequence[str] | None = None, namespace: argparse.Namespace | None = None
    ) -> argparse.Namespace:
        """Parse; `--name=--` names no value, for which older versions of argparse would give an empty list."""
        words = sys.argv[1:] if args is None else list(args)
        if empty := [word for word in words if word.startswith("--") and word.endswith("=--")]:
            self.error(f"argument {empty[0].removesuffix('=--')}: expected one argument")
        return super().parse_args(words, namespace)

    def error(self, message: str) -> NoReturn:
        """Hand the message on as bad input."""
        raise InputError(f"{message} (see --help)")


def at_least(least: int) -> Callable[[str], int]:
    """Return a converter for argparse that takes whole numbers from `least` on."""

    def convert(text: str) -> int:
        try:
            number = int(text)
        except ValueError:
            number = least - 1
        if number < least:
            raise argparse.ArgumentTypeError(f"{text!r} is no whole number of {least} or more")
        return number

    return convert


def positive(text: str) -> float:
    """Convert a finite number above zero, for argparse."""
    try:
        number = float(text)
    except ValueError:
        number = 0.0
    if not 0 < number < float("inf"):
        raise argparse.ArgumentTypeError(f"{text!r} is no number above zero")
    return number


def path(text: str) -> Path:
    """Convert a path, for argparse; `~` is the user's home.

    Raises:
        argparse.ArgumentTypeError: It is empty: a variable of the shell was not set, most likely.
    """
    return expanded(_given(text))


def key_or_path(text: str) -> str:
    """Convert a key, or a path that may begin with `~`, for argparse."""
    return str(expanded(text)) if _given(text).startswith("~") else text


def _given(text: str) -> str:
    if not text.strip():
        raise argparse.ArgumentTypeError("it is empty: give a path, or . for the folder that you are in")
    return text


def parse(command: Sequence[str]) -> argparse.Namespace:
    """Return what a command line of run_all.py says.

    Raises:
        InputError: It makes no sense.
    """
    args = checked(parser().parse_args(command))
    credentials = args.tls_ca, args.tls_cert, args.tls_key
    if args.scheduler is None and any(credentials):
        raise InputError("--tls-ca, --tls-cert and --tls-key are for --scheduler: give it too, or leave them out")
    args.scheduler = None if args.scheduler is None else Scheduler(args.scheduler, *credentials)
    return args


def as_typed(command: Sequence[str]) -> str:
    """Return a command line of run_all.py as a shell takes it."""
    return f"python run_all.py {shlex.join(command)}"


def checked(args: argparse.Namespace) -> argparse.Namespace:
    """Return options of `add_grid`, and of real CT, that go together; the source is the phantom if none is named.

    Raises:
        InputError: They do not go together.
    """
    others = {"--source": args.source} | {option: getattr(args, name, None) for option, (name, _) in OF_SOURCE.items()}
    beside_a_file = {"--collection": args.collection, "--nodules": args.nodules}
    for option, given, beside in (
        ("--collection brings its own nodules", args.collection is not None, others),
        ("--cohort is prepared already", args.cohort, others | beside_a_file),
    ):
        if given and (wrong := [name for name, value in beside.items() if value not in (None, False)]):
            raise InputError(f"{option} and takes no {wrong[0]}: leave one of the two out")
    args.source = "phantom" if args.source is None else args.source
    for option, (_, source) in OF_SOURCE.items():
        if others[option] not in (None, False) and args.source != source:
            raise InputError(f"{option} is for --source {source}, not for {args.source}: leave one of the two out")
    return args


def source_options(args: argparse.Namespace) -> dict[str, Any]:
    """Return what a command line says of real CT, by the names that `datasets.open_source` has for it."""
    return {name: value for name, _ in OF_SOURCE.values() if (value := getattr(args, name)) not in (None, False)}


def parser() -> Parser:
    """Return the grammar of run_all.py."""
    p = Parser(prog="run_all.py", description="Tables 1-3 of the CLIP-Lung paper on LIDC-IDRI nodules, in one command.")
    add_grid(p)
    add = p.add_argument
    add("--dicom-root", type=path, metavar="PATH", help="a LIDC-IDRI download: folder, zip, tar (default: ~/.pylidcrc)")
    add("--verify", action="store_true", help="read every slice of the download again that was read before")
    add(
        "--keep-dicom",
        type=path,
        metavar="FOLDER",
        help="where slices that --source idc fetches stay, as --dicom-root takes them (default: they are dropped)",
    )
    add("--connections", type=at_least(1), metavar="N", help="of --source idc: requests at once (default: 32)")
    add(
        "--idc-endpoint",
        dest="endpoint",
        metavar="URL",
        help="of --source idc: an object store with the bucket (default: the Imaging Data Commons' own)",
    )
    add(
        "--idc-timeout",
        dest="timeout_s",
        type=positive,
        metavar="SECONDS",
        help="of --source idc: how long a connection may be silent (default: 30)",
    )
    add("--scheduler", metavar="ADDRESS", help="a running dask scheduler to work on, instead of processes")
    add("--tls-ca", type=path, metavar="FILE", help="certificates that the scheduler's is signed by (tls:// address)")
    add("--tls-cert", type=path, metavar="FILE", help="our certificate, which scheduler and workers must trust")
    add("--tls-key", type=path, metavar="FILE", help="its key (default: in the certificate's file)")
    add("--slurm", type=path, metavar="FILE.toml", help="start workers as Slurm's jobs, as this file says")
    late = "replace a worker whose fit took no step for so long (default: 10; nothing replaces --workers 0)"
    add("--patience", type=positive, default=10.0, metavar="MINUTES", help=late)
    add("--out", type=path, metavar="FOLDER", help="the run folder (default: results/runs/...)")
    add(
        "--keep-weights", action="store_true", help="keep every fit's weights (default: where a run's are under 500 MB)"
    )
    every = "seconds of training after which a fit leaves what it can go on from if it is interrupted (default: 60)"
    add("--checkpoint-every", type=positive, default=CHECKPOINT_S, metavar="SECONDS", help=every)
    add("--test-curve", action="store_true", help="note the test accuracy after each epoch, which chooses nothing")
    habits = "measure two habits: the best epoch on the test fold, and (all fits once more) folds that ignore patients"
    add("--habits", action="store_true", help=habits)
    add("--list", action="store_true", help="say what there is to choose from, and stop")
    add("--dry-run", action="store_true", help="say what would be done, and stop")
    return p


def add_grid(p: Parser) -> None:
    """Add the options that say which fits there are and how they are made."""
    add = p.add_argument
    add("--datasets", nargs="+", metavar="KEY", help="A, B, C (default: all)")
    groups = "rows, or the groups paper, controls and all (default: paper, controls and a plugin's rows)"
    add("--methods", nargs="+", metavar="KEY", help=groups)
    add(
        "--set", action="append", default=[], metavar="ROW.NAME=VALUE", help="change a row's hyperparameter; repeatable"
    )
    add("--preset", default="auto", help="smoke, quick, paper, auto (paper where CUDA is, else quick) or a .toml file")
    add("--epochs", type=at_least(1), metavar="N", help="instead of the preset's")
    add("--batch-size", type=at_least(2), metavar="N", help="instead of the preset's")
    add("--lr", type=positive, metavar="RATE", help="learning rate instead of the preset's")
    add("--folds", type=at_least(2), metavar="N", help="number of patient-disjoint folds (default: 5)")
    add("--seeds", type=at_least(1), default=1, metavar="N", help="trainings per fold (default: 1)")
    add("--source", help="where LIDC-IDRI's voxels come from (default: phantom)")
    add(
        "--collection",
        type=key_or_path,
        metavar="FOLDER",
        help="your own nodules instead: a folder with nodules.csv, or a plugin's key",
    )
    sample = "a sample of whole patients, spread evenly over all, that holds so many nodules or a few more"
    add("--nodules", type=at_least(1), metavar="N", help=f"{sample} (default: the preset's, which is all but in smoke)")
    add("--cohort", type=path, metavar="FILE", help="use this prepared cohort instead of preparing one")
    add("--label-rule", default="published", help="published: <=2.5 / >=3.5; text: <2.5 / >3.5")
    towers = "openai, random, a name of --list, hf-hub:OWNER/NAME[@REVISION], local-dir:PATH, or a file of ViT-B-16"
    add("--text-tower", metavar="TOWER", help=towers)
    add("--device", default="auto", help="cpu, cuda, cuda:N, mps or auto (default)")
    add(
        "--workers",
        type=at_least(0),
        metavar="N",
        help="processes here (default: one a core or GPU; 0: this one)",
    )
    add("--work", type=path, metavar="FOLDER", help="holds cohorts and runs (default: results/, or your cache folder)")
    add("--plugin", type=path, action="append", default=[], metavar="FILE", help="a file that adds rows or collections")
