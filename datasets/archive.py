"""Archive: the files below a root, in folders, zips and tars alike. Nothing is ever unpacked to disk.

Whatever is found there may be broken or hostile: each file that cannot be used becomes a `Fault` with its name and a
reason, and nothing is read past stated limits.
"""

import bz2
import gzip
import hashlib
import io
import lzma
import os
import stat
import tarfile
import zipfile
from collections.abc import Callable, Collection, Iterator
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path, PurePosixPath, PureWindowsPath
from typing import Any

MAX_FILE = 64 << 20  # bytes; a slice has half a million
MAX_GROWTH = 50  # an archive that unpacks to more than so many times its size is a bomb; CT shrinks to a half
FILES_PER_UNIT = 2048

_ZIP = (".zip",)
_TAR: dict[str, Callable[..., Any]] = {
    ".tar": open,
    ".tar.gz": gzip.open,
    ".tgz": gzip.open,
    ".tar.bz2": bz2.open,
    ".tar.xz": lzma.open,
}


class Refused(Exception):
    """A file or archive that is not read on, and why."""


@dataclass(frozen=True)
class Fault:
    """A file that could not be used.

    Attributes:
        name: Where it is; a member of an archive as `archive::member`.
        reason: What is wrong with it.
    """

    name: str
    reason: str


@dataclass(frozen=True)
class Unit:
    """Files that are looked through in one go: some files of one folder, or one archive.

    Attributes:
        place: The folder or the archive, relative to the root.
        stamps: Size and time of change of each file by its name; of an archive under an empty name.
    """

    place: str
    stamps: tuple[tuple[str, str], ...]

    @property
    def key(self) -> str:
        """Hash of what it holds, as far as names, sizes and times tell."""
        return hashlib.sha256(repr((self.place, self.stamps)).encode(errors="surrogateescape")).hexdigest()


class File:
    """An opened file of which only the beginning is read."""

    def __init__(self, place: str, name: str, size: int, stamp: str, read: Callable[[int], bytes]) -> None:
        self.place, self.name, self.size, self.stamp = place, name, size, stamp
        self._read, self._data = read, b""

    def head(self, count: int) -> bytes:
        """Return the first `count` bytes, or all where there are fewer."""
        while len(self._data) < count and (more := self._read(count - len(self._data))):
            self._data += more
        return self._data[:count]

    def whole(self) -> bytes:
        """Return all bytes.

        Raises:
            Refused: There are too many.
        """
        if self.size > MAX_FILE:
            raise Refused(f"larger than {MAX_FILE >> 20} MiB")
        return self.head(self.size)


def is_archive(name: str) -> bool:
    """Return whether a file's name says that it is a zip or tar."""
    return name.lower().endswith((*_ZIP, *_TAR))


def label(place: str, name: str) -> str:
    """Return how a file is named in reports."""
    return f"{place}::{name}" if is_archive(place) else os.path.normpath(os.path.join(place, name))


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
    members = _zip_members if unit.place.lower().endswith(_ZIP) else _tar_members
    try:
        yield from members(path, unit, wanted)
    except Exception as error:  # damage can surface in any layer below
        reason = str(error) if isinstance(error, Refused) else f"damaged archive ({type(error).__name__}: {error})"
        yield Fault(unit.place, reason)


def _zip_members(path: Path, unit: Unit, wanted: Collection[str] | None) -> Iterator[File | Fault]:
    """Open a zip's members; only what a member yields is read."""
    ((_, stamp),) = unit.stamps
    with zipfile.ZipFile(path) as archive:
        for info in archive.infolist():
            if info.is_dir() or (wanted is not None and info.filename not in wanted):
                continue
            name = label(unit.place, info.filename)
            if _points_outside(info.filename):
                yield Fault(name, "refused: its name points outside the archive")
            elif info.flag_bits & 1:
                yield Fault(name, "encrypted")
            elif info.file_size > MAX_FILE:
                yield Fault(name, f"larger than {MAX_FILE >> 20} MiB")
            else:
                try:
                    with archive.open(info) as stream:
                        yield File(unit.place, info.filename, info.file_size, stamp, stream.read)
                except (OSError, NotImplementedError, RuntimeError, zipfile.BadZipFile) as error:
                    yield Fault(name, f"damaged ({error})")


def _tar_members(path: Path, unit: Unit, wanted: Collection[str] | None) -> Iterator[File | Fault]:
    """Open a tar's members in their order, so that a compressed one is unpacked once."""
    ((_, stamp),) = unit.stamps
    opener = next(opener for suffix, opener in _TAR.items() if unit.place.lower().endswith(suffix))
    with closing(opener(path, "rb")) as raw:
        bounded = _Bounded(raw, MAX_GROWTH * (path.stat().st_size + 4096))
        with tarfile.open(fileobj=bounded, mode="r:") as archive:  # type: ignore[call-overload]  # it only reads
            for member in archive:
                name = label(unit.place, member.name)
                if member.isdir() or (wanted is not None and member.name not in wanted):
                    continue
                if _points_outside(member.name):
                    yield Fault(name, "refused: its name points outside the archive")
                elif not member.isreg() or member.issparse():
                    yield Fault(name, "refused: a link or a special file within an archive")
                elif member.size > MAX_FILE:
                    yield Fault(name, f"larger than {MAX_FILE >> 20} MiB")
                elif stream := archive.extractfile(member):
                    yield File(unit.place, member.name, member.size, stamp, stream.read)


class _Bounded:
    """A stream that refuses to be read far beyond what an honest archive holds."""

    def __init__(self, stream: io.BufferedIOBase, limit: int) -> None:
        self._stream, self._limit = stream, limit

    def read(self, count: int = -1) -> bytes:
        if not 0 <= count <= MAX_FILE + tarfile.RECORDSIZE:
            raise Refused("refused: a header in the archive claims an absurd length")
        self._check(count)
        return self._stream.read(count)

    def seek(self, offset: int, whence: int = 0) -> int:
        if whence == os.SEEK_SET:
            self._check(offset - self._stream.tell())
        return self._stream.seek(offset, whence)

    def tell(self) -> int:
        return self._stream.tell()

    def _check(self, ahead: int) -> None:
        if self._stream.tell() + ahead > self._limit + tarfile.RECORDSIZE:
            raise Refused(f"refused: it unpacks to more than {MAX_GROWTH} times its size")


def _points_outside(name: str) -> bool:
    """Return whether a member's name, taken as a path on any system, leaves the folder it is unpacked to."""
    windows = PureWindowsPath(name)
    return ".." in windows.parts or bool(windows.drive or windows.root) or PurePosixPath(name).is_absolute()


def _stamp(status: os.stat_result) -> str:
    return f"{status.st_size}-{status.st_mtime_ns}"


def _identity(status: os.stat_result) -> tuple[int, int]:
    return status.st_dev, status.st_ino
