"""Where prepared cohorts and runs are kept: as asked for, else beside the code, else in the user's cache folder."""

import os
from pathlib import Path

import platformdirs

from benchmark import owners
from benchmark.contracts import InputError
from benchmark.files import PASSING, sweep, write_atomically
from benchmark.identity import ROOT

VARIABLE = "LUNG_NODULE_BENCHMARK_WORK"


def work_folder(asked: Path | None) -> Path:
    """Return the folder that holds `cohorts` and `runs`.

    Args:
        asked: By `--work`; None takes that of the environment variable, else the checkout's `results`, else, where
            the user may not write there, a folder of the user's cache.

    Raises:
        InputError: Nothing can be written to what was asked for.
    """
    named = asked or (expanded(os.environ[VARIABLE]) if os.environ.get(VARIABLE) else None)
    if named is not None:
        return writable(named)
    try:
        return writable(ROOT / "results")
    except InputError:
        return writable(platformdirs.user_cache_path("lung-nodule-benchmark"))


def expanded(text: str) -> Path:
    """Return a path; `~` is the user's home, `~somebody` somebody's.

    Raises:
        InputError: There is no such user.
    """
    try:
        return Path(text).expanduser()
    except RuntimeError as error:
        raise InputError(f"the path {text!r} begins with the home of a user who is not known here") from error


def writable(folder: Path) -> Path:
    """Return a folder that can be written to, or made: tried by a file, in it or in the nearest folder above it.

    Files that processes which were killed left half written there are removed.

    Raises:
        InputError: It cannot be written to; said before any work is done, not after.
    """
    there = next(place for place in (folder, *folder.absolute().parents) if place.exists())
    trial = there / f".trial.{owners.mark()}.tmp"  # a killed process' is swept like what it had half written
    try:
        sweep(there.glob(PASSING))
        write_atomically(trial, "")
        trial.unlink(missing_ok=True)
    except OSError as error:
        raise InputError(
            f"nothing can be written to {folder} ({error.strerror}): give another folder with --work, or in the "
            f"environment variable {VARIABLE}; --out names a run's own folder"
        ) from error
    return folder
