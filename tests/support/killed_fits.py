"""Fits in processes of their own, which die at one moment of a fit; run by test_kill.py.

Argument: a folder in which to make the fit unharmed. For each line of standard input, `FOLDER MOMENT NUMBER`, a fork
makes it in that folder and kills itself at the NUMBERth time that the moment comes; `-` never comes. Prints what became
of each fork.
"""

import os
import signal
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import torch

from benchmark.contracts import Provenance
from benchmark.extras import Extras
from benchmark.records import FitSpec
from benchmark.run import Run
from benchmark.runfile import RunMetadata
from benchmark.runner import Setup, run_fit
from benchmark.step import Step
from fakes import IDENTITY, LINEAR, PRESET, fold_data, make_cohort

SPEC = FitSpec("three", "linear", 0, 0)
PLACES: dict[str, tuple[object, str]] = {
    "step": (Step, "__call__"),
    "write": (os, "fsync"),  # the bytes are given to the system, and the file has its passing name
    "rename": (Path, "replace"),
}


def killing(moment: Callable, number: int) -> Callable:
    """Return what dies when it is called for the `number`th time, half of its work done."""
    left = [number]

    def called(*arguments, **named):
        left[0] -= 1
        if left[0] == 0:
            os.kill(os.getpid(), signal.SIGKILL)
        return moment(*arguments, **named)

    return called


def begin(folder: Path) -> None:
    """Begin a run, if it has not begun."""
    if not (folder / "run.json").exists():
        Run(folder, IDENTITY).start("command", RunMetadata({}, "cpu", "", Provenance(None, "f", None)))


def make(folder: Path, moment: str, number: int) -> None:
    """Make the fit."""
    if moment in PLACES:
        owner, name = PLACES[moment]
        setattr(owner, name, killing(getattr(owner, name), number))
    preset = replace(PRESET, recipe=replace(PRESET.recipe, epochs=14))  # of two steps each
    setup = Setup(preset, torch.device("cpu"), "key", Extras(weights=True, checkpoint_s=0.0))
    run_fit(Run(folder, IDENTITY), SPEC, LINEAR, fold_data(make_cohort()), setup)


def main() -> None:
    """Fork for each line."""
    begin(Path(sys.argv[1]))
    make(Path(sys.argv[1]), "-", 0)  # here, so that no fork need do again what a process does once
    for line in sys.stdin:
        folder, moment, number = line.split()
        begin(Path(folder))
        if (child := os.fork()) == 0:
            make(Path(folder), moment, int(number))
            os._exit(0)
        print(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]), flush=True)


if __name__ == "__main__":
    main()
