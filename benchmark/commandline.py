"""The command line's grammar, and names checked: what is wrong, what there is to choose from, what is nearest."""

import argparse
import difflib
import importlib.util
import os
import sys
from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace
from functools import cache
from pathlib import Path
from typing import NoReturn

import torch

from benchmark.contracts import InputError, TextTowerSpec
from benchmark.recipe import PRESETS, Preset


class Parser(argparse.ArgumentParser):
    """An argument parser that says what is wrong in one sentence."""

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


def parser() -> Parser:
    """Return the command line's grammar; names are checked afterwards, against the registries."""
    p = Parser(prog="run_all.py", description="Tables 1-3 of the CLIP-Lung paper on LIDC-IDRI nodules, in one command.")
    p.add_argument("--datasets", nargs="+", metavar="KEY", help="A, B, C (default: all)")
    p.add_argument("--methods", nargs="+", metavar="KEY", help="default: all; see --list")
    p.add_argument("--preset", default="auto", help="smoke, quick, paper or auto: paper where CUDA is, else quick")
    p.add_argument("--folds", type=at_least(2), metavar="N", help="number of patient-disjoint folds (default: 5)")
    p.add_argument("--seeds", type=at_least(1), default=1, metavar="N", help="trainings per fold (default: 1)")
    p.add_argument("--source", default="phantom", help="where the voxels come from (default: phantom)")
    p.add_argument(
        "--dicom-root",
        type=Path,
        metavar="PATH",
        help="a LIDC-IDRI download: folder, zip or tar (default: ~/.pylidcrc)",
    )
    p.add_argument("--verify", action="store_true", help="read every slice of the download again that was read before")
    p.add_argument("--cohort", type=Path, metavar="FILE", help="use this prepared cohort instead of preparing one")
    p.add_argument("--label-rule", default="published", help="published: <=2.5 / >=3.5; text: <2.5 / >3.5")
    p.add_argument("--text-tower", metavar="NAME|FILE", help="openai, random, or a file of OpenAI's ViT-B-16 weights")
    p.add_argument("--device", default="auto", help="cpu, cuda, cuda:N, mps or auto (default)")
    p.add_argument(
        "--workers", type=at_least(0), metavar="N", help="processes (default: one a core, or one a GPU; 0: in-process)"
    )
    p.add_argument("--scheduler", metavar="ADDRESS", help="a running dask scheduler to work on, instead of processes")
    p.add_argument("--out", type=Path, metavar="FOLDER", help="the run folder (default: results/runs/...)")
    p.add_argument("--plugin", type=Path, action="append", default=[], metavar="FILE", help="a file that adds methods")
    p.add_argument("--list", action="store_true", help="say what there is to choose from, and stop")
    p.add_argument("--dry-run", action="store_true", help="say what would be done, and stop")
    return p


def choose(kind: str, name: str, choices: Iterable[str]) -> str:
    """Return the name if it is one of the choices.

    Raises:
        InputError: It is not; the sentence names the choices and the nearest one.
    """
    known = list(choices)
    if name in known:
        return name
    near = difflib.get_close_matches(name, known, n=1, cutoff=0.5) or [k for k in known if k.lower() == name.lower()]
    hint = f"; did you mean {near[0]!r}?" if near else ""
    raise InputError(f"there is no {kind} {name!r}: choose from {', '.join(known)}{hint}")


def choose_all(kind: str, names: Sequence[str] | None, choices: Iterable[str]) -> list[str]:
    """Return the chosen names, each once and in the order of the choices; all of them for None."""
    known = list(choices)
    chosen = {choose(kind, name, known) for name in (known if names is None else names)}
    return [name for name in known if name in chosen]


def choose_device(name: str) -> str:
    """Return a device that torch has.

    Raises:
        InputError: The name is unknown or the device is not there.
    """
    there = ["cpu"]
    if torch.cuda.is_available():
        there += ["cuda", *(f"cuda:{i}" for i in range(torch.cuda.device_count()))]
    if torch.backends.mps.is_available():
        there.append("mps")
    if name == "auto":
        return "cuda" if "cuda" in there else "cpu"
    if name not in there and name.split(":")[0] in ("cuda", "mps"):
        raise InputError(f"the device {name!r} is not on this machine: choose from {', '.join(there)}")
    return choose("device", name, there)


def choose_preset(args: argparse.Namespace, device: str) -> tuple[str, Preset]:
    """Return the preset's name and the preset with the command line's changes to it."""
    name = args.preset
    if name == "auto":
        name = "paper" if device.startswith("cuda") else "quick"
    preset = PRESETS[choose("preset", name, PRESETS)]
    if args.folds is not None:
        preset = replace(preset, folds=args.folds)
    if args.text_tower == "openai":
        preset = replace(preset, text_tower=TextTowerSpec(name="openai"))
    elif args.text_tower == "random":
        width = preset.encoder.width
        tower = preset.text_tower if preset.text_tower.name == "random" else TextTowerSpec(name="random", width=width)
        preset = replace(preset, text_tower=tower)
    elif args.text_tower is not None:
        if not Path(args.text_tower).is_file():
            raise InputError(f"--text-tower {args.text_tower!r} is neither 'openai', 'random' nor a file")
        preset = replace(preset, text_tower=TextTowerSpec(name="openai", path=str(Path(args.text_tower).resolve())))
    return name, preset


def choose_workers(number: int | None, device: str) -> int:
    """Return the number of worker processes: as asked for, or one a core, or one a GPU."""
    if number is not None:
        return number
    if device == "cuda":
        return torch.cuda.device_count()
    if device != "cpu":
        return 1
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


@cache
def load_plugins(files: tuple[Path, ...]) -> None:
    """Run each plugin file once a process; it calls `methods.register`."""
    for file in files:
        spec = importlib.util.spec_from_file_location(file.stem, file) if file.is_file() else None
        if spec is None or spec.loader is None:
            raise InputError(f"the plugin {file} is no Python file; --plugin takes the path of one")
        module = importlib.util.module_from_spec(spec)
        sys.modules[file.stem] = module
        try:
            spec.loader.exec_module(module)
        except Exception as error:
            raise InputError(f"the plugin {file} does not load: {type(error).__name__}: {error}") from error
