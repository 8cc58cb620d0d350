"""Where prepared cohorts and runs are kept: as asked for, else beside the code, else in the user's cache folder."""

import os
from pathlib import Path
from tempfile import TemporaryFile

import platformdirs

from benchmark.contracts import InputError
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


def writable(folder: Path, instead: str = f"--work, or in the environment variable {VARIABLE}") -> Path:
    """Return a folder that can be written to, or made: tried by a file, in it or in the nearest folder above it.

    The file has no name where the system can make such, so that not even a folder's time of change tells of it.

    Args:
        folder: That, or what is to be made.
        instead: How another one is given.

    Raises:
        InputError: It cannot be written to; said before any work is done, not after.
    """
    try:
        with TemporaryFile(dir=next(place for place in (folder, *folder.absolute().parents) if place.exists())):
            return folder
    except OSError as error:
        raise InputError(
            f"nothing can be written to {folder} ({error.strerror}): give another folder with {instead}"
        ) from error


def writable_file(path: Path, option: str, example: str) -> Path:
    """Return a file that can be written, seen before there is anything to write.

    Args:
        path: The file.
        option: How it was given.
        example: A name that it might have.

    Raises:
        InputError: It is a folder, or cannot be written.
    """
    if path.is_dir():
        raise InputError(f"{option} {path} is a folder: give the name of a file, such as {path / example}")
    writable(path.parent, option)
    return path
