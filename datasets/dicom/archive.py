"""Archive: the files below a root, in folders, zips and tars alike. Nothing is ever unpacked to disk.

Whatever is found there may be broken or hostile: each file that cannot be used becomes a `Fault` with its name and a
reason, and nothing is read past stated limits.
"""

import os
import stat
from collections.abc import Collection, Iterator
from contextlib import contextmanager
from pathlib import Path

from datasets.dicom.files import Fault, File, Kind, Refused, Unit, kind, seems_archive, unreadable
from datasets.dicom.members import members

FILES_PER_UNIT = 2048


def units(root: Path) -> tuple[list[Unit], list[Fault]]:
    """Find every file below the root, which may itself be an archive; links are followed, each folder once.

    No file is opened here: the walk is made at every start, and a download has 250,000 of them.
    """
    found: list[Unit] = []
    faults: list[Fault] = []
    if root.is_file():
        return [Unit(".", ((root.name, _stamp(root.stat())),))], faults
    folders, seen = [root], {_identity(root.stat())}
    while folders:
        folder = folders.pop()
        place = str(folder.relative_to(root))
        files: list[tuple[str, str]] = []
        try:
            names = sorted(os.listdir(folder))
        except OSError as error:
            faults.append(Fault(place, unreadable(error)))
            continue
        for name in names:
            path = folder / name
            try:
                status = path.stat()
            except OSError as error:
                faults.append(Fault(_path(place, name), unreadable(error)))
                continue
            if stat.S_ISDIR(status.st_mode):
                if _identity(status) in seen:
                    faults.append(Fault(_path(place, name), "a link to a folder that is read already"))
                else:
                    seen.add(_identity(status))
                    folders.append(path)
            elif not stat.S_ISREG(status.st_mode):
                faults.append(Fault(_path(place, name), "neither a file nor a folder"))
            elif seems_archive(name):
                found.append(Unit(place, ((name, _stamp(status)),)))
            else:
                files.append((name, _stamp(status)))
        for start in range(0, len(files), FILES_PER_UNIT):
            found.append(Unit(place, tuple(files[start : start + FILES_PER_UNIT])))
    return sorted(found, key=lambda unit: (unit.place, unit.stamps)), faults


def read(root: Path, unit: Unit) -> Iterator[File | Fault]:
    """Open a unit's files, and those within its archives; each is closed when the next is asked for.

    Args:
        root: As given to `units`.
        unit: One of them.
    """
    base = base_of(root)
    for name, stamp in unit.stamps:
        yield from opened(base, _path(unit.place, name), stamp)


def base_of(root: Path) -> Path:
    """Return the folder that paths are relative to: a root that is an archive lies in it."""
    return root.parent if root.is_file() else root


def opened(base: Path, path: str, stamp: str, wanted: Collection[str] | None = None) -> Iterator[File | Fault]:
    """Open a file or, if it is an archive, each file in it. What it is, is decided here and by nothing but this.

    Args:
        base: What the path is relative to.
        path: The file on disk.
        stamp: Its size and time of change.
        wanted: Only members of these names, of which the empty one stands for a file that is no archive; None takes
            all.
    """
    try:
        with _opened(base, path, stamp) as file:
            found = kind(file)
            if found == "file":
                if wanted is None or "" in wanted:
                    yield file
                return
    except OSError as error:
        yield Fault(path, unreadable(error))
        return
    except Refused as refused:
        yield Fault(path, str(refused))
        return
    try:
        yield from members(base / path, path, found, stamp, wanted)
    except Exception as error:  # damage can surface in any layer below
        damage = f"damaged archive ({type(error).__name__}: {error}): download it again"
        yield Fault(path, str(error) if isinstance(error, Refused) else damage)


def kind_of(path: Path) -> Kind:
    """Return whether a file is an archive, and of which kind.

    Raises:
        OSError: It cannot be opened.
        Refused: It cannot be read.
    """
    with _opened(path.parent, path.name, "") as file:
        return kind(file)


@contextmanager
def _opened(base: Path, path: str, stamp: str) -> Iterator[File]:
    with (base / path).open("rb", buffering=0) as stream:
        yield File(path, "", os.fstat(stream.fileno()).st_size, stamp, stream.read)


def _path(place: str, name: str) -> str:
    return os.path.normpath(os.path.join(place, name))


def _stamp(status: os.stat_result) -> str:
    return f"{status.st_size}-{status.st_mtime_ns}"


def _identity(status: os.stat_result) -> tuple[int, int]:
    return status.st_dev, status.st_ino
