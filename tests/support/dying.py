"""Processes that die by `kill -9` at a named event, and that tell in which phase they are.

Nothing of it is known to the product: the launcher (`zygote.py`) replaces functions from without, in the command itself
and in each worker, since a process that is spawned runs its launcher's file too. Two environment variables ask for it:
`DEATHS` names a folder in which a file `EVENT NUMBER` wants the death of whoever meets the event for the NUMBERth time
in its life (the file is taken away first, so that one process dies of it and no other); `PHASES` names a file that gets
a line with the phase and the processor's seconds whenever a phase begins.
"""

import os
import re
import signal
import time
from collections.abc import Callable
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path

DEATHS, PHASES = "DEATHS", "PHASES"


@dataclass(frozen=True)
class Event:
    """Some calls of a function.

    Attributes:
        place: Of the function, as `module:name` or `module:class.name`.
        counts: Says of a call's arguments whether it is one of them.
    """

    place: str
    counts: Callable[..., bool] = lambda *_: True


def synced(pattern: str) -> Event:
    """A file is half way: the system has its bytes, and it has its passing name."""
    return Event("os:fsync", lambda file: bool(re.search(pattern, os.readlink(f"/proc/self/fd/{file}"))))


def renamed(pattern: str) -> Event:
    """A file is whole, and is about to get its name."""
    return Event("pathlib:Path.replace", lambda _, target: bool(re.search(pattern, str(target))))


RECORD = r"fold\d+-seed\d+\.json"
EVENTS = {
    "begin": synced(r"run\.json"),
    "cohort": renamed(r"cohort\.csv"),
    "claim": Event("os:link"),  # it is written, and not made yet
    "step": Event("benchmark.step:Step.__call__"),
    "checkpoint": synced(r"\.checkpoint"),
    "checkpoint's rename": renamed(r"\.checkpoint"),
    "weights": synced(r"\.safetensors"),
    "record": synced(RECORD),
    "record's rename": renamed(RECORD),
    "checkpoint's end": Event("benchmark.checkpoint:Checkpoints.remove", lambda its: its.path.exists()),
    "claim's end": Event("pathlib:Path.rename", lambda path, _: path.parent.name == "claims"),
    "times": synced(r"timings\.json"),
    "table": synced(r"table\d"),
    "table's rename": renamed(r"table\d"),
    "report": synced(r"report\.html"),
    "report's rename": renamed(r"report\.html"),
}
STARTS = {  # what begins a phase, and the phase that is on when it is over
    "training": ("benchmark.experiment:Experiment.train", "tables"),
    "recording": ("benchmark.run:Run.write", "training"),
    "tables": ("benchmark.completion:tables_of", "tables"),
    "report": ("benchmark.report:write", "ending"),
}


def arrange() -> None:
    """Replace what the environment asks for, in this process."""
    if PHASES in os.environ:
        file = os.open(os.environ[PHASES], os.O_WRONLY | os.O_CREAT | os.O_APPEND)
        _note(file, "planning")
        for phase, (place, after) in STARTS.items():
            _replace(place, _telling, file, phase, after)
    if DEATHS in os.environ:
        for wanted in Path(os.environ[DEATHS]).iterdir():
            name, _, number = wanted.name.rpartition(" ")
            event = EVENTS[name]
            _replace(event.place, _dying, event, wanted, int(number))


def wish(folder: Path, event: str, number: int = 1) -> dict[str, str]:
    """Ask for a death; return the environment that hears of it."""
    folder.mkdir(exist_ok=True)
    (folder / f"{event} {number}").touch()
    return {DEATHS: str(folder)}


def phases(file: Path) -> list[tuple[str, float]]:
    """Return the phases that a process was in, in turn, and its processor's seconds at their beginnings."""
    lines = [line.rpartition(" ") for line in file.read_text().splitlines()]
    return [(phase, float(seconds)) for phase, _, seconds in lines]


def _note(file: int, phase: str) -> None:
    os.write(file, f"{phase} {time.process_time()}\n".encode())


def _replace(place: str, make: Callable[..., Callable], *more: object) -> None:
    module, _, names = place.partition(":")
    *owners, name = names.split(".")
    owner = import_module(module)
    for one in owners:
        owner = getattr(owner, one)
    setattr(owner, name, make(getattr(owner, name), *more))


def _telling(inner: Callable, file: int, phase: str, after: str) -> Callable:
    def told(*arguments, **named):
        _note(file, phase)
        try:
            return inner(*arguments, **named)
        finally:
            _note(file, after)

    return told


def _dying(inner: Callable, event: Event, wanted: Path, number: int) -> Callable:
    """Return what kills its process just before it is called for the `number`th time."""
    left = number

    def called(*arguments, **named):
        nonlocal left
        if event.counts(*arguments):
            left -= 1
            if left == 0 and _is_first(wanted):
                os.kill(os.getpid(), signal.SIGKILL)
        return inner(*arguments, **named)

    return called


def _is_first(wanted: Path) -> bool:
    try:
        wanted.unlink()
    except FileNotFoundError:
        return False
    return True
