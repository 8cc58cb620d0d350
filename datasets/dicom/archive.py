"""Archive: the files below a root, in folders, zips and tars alike. Nothing is ever unpacked to disk.

Whatever is found there may be broken or hostile: each file that cannot be used becomes a `Fault` with its name and a
reason, and nothing is read past stated limits.
"""

import os
import stat
from collections.abc import Collection, Iterator
from pathlib import Path

from datasets.dicom.files import Fault, File, Refused, Unit, is_archive, label
from datasets.dicom.members import members

FILES_PER_UNIT = 2048


def units(root: Path) -> tuple[list[Unit], list[Fault]]:
    """Find every file below the root, which may itself be an archive; links are followed, each folder once."""
    found: list[Unit] = []
    faults: list[Fault] = []
    if root.is_file():
        return [Unit(root.name, (("", _stamp(root.stat())),))], faults
    folders, seen = [root], {_identity(root.stat())}
    while folders:
        folder = folders.pop()
        place = str(folder.relative_to(root))
        files: list[tuple[str, str]] = []
        try:
            names = sorted(os.listdir(folder))
        except OSError as error:
            faults.append(Fault(place, f"unreadable: {error.strerror}"))
            continue
        for name in names:
            path = folder / name
            try:
                status = path.stat()
            except OSError as error:
                faults.append(Fault(label(place, name), f"unreadable: {error.strerror}"))
                continue
            if stat.S_ISDIR(status.st_mode):
                if _identity(status) in seen:
                    faults.append(Fault(label(place, name), "a link to a folder that is read already"))
                else:
                    seen.add(_identity(status))
                    folders.append(path)
            elif not stat.S_ISREG(status.st_mode):
                faults.append(Fault(label(place, name), "neither a file nor a folder"))
            elif is_archive(name):
                found.append(Unit(str(path.relative_to(root)), (("", _stamp(status)),)))
            else:
                files.append((name, _stamp(status)))
        for start in range(0, len(files), FILES_PER_UNIT):
            found.append(Unit(place, tuple(files[start : start + FILES_PER_UNIT])))
    return sorted(found, key=lambda unit: unit.place), faults


def read(root: Path, unit: Unit, wanted: Collection[str] | None = None) -> Iterator[File | Fault]:
    """Open a unit's files one after the other; each is closed when the next is asked for.

    Args:
        root: As given to `units`.
        unit: One of them.
        wanted: Only files of these names; None takes all.
    """
    if not is_archive(unit.place):
        for name, stamp in unit.stamps:
            if wanted is None or name in wanted:
                path = root / unit.place / name
                try:
                    with path.open("rb", buffering=0) as stream:
                        yield File(unit.place, name, os.fstat(stream.fileno()).st_size, stamp, stream.read)
                except OSError as error:
                    yield Fault(label(unit.place, name), f"unreadable: {error.strerror}")
        return
    path = root if root.is_file() else root / unit.place
    try:
        yield from members(path, unit, wanted)
    except Exception as error:  # damage can surface in any layer below
        reason = str(error) if isinstance(error, Refused) else f"damaged archive ({type(error).__name__}: {error})"
        yield Fault(unit.place, reason)


def _stamp(status: os.stat_result) -> str:
    return f"{status.st_size}-{status.st_mtime_ns}"


def _identity(status: os.stat_result) -> tuple[int, int]:
    return status.st_dev, status.st_ino
