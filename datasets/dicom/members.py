"""Members: the files inside a zip or tar, one after the other, read within stated limits."""

import bz2
import gzip
import io
import lzma
import os
import tarfile
import zipfile
from collections.abc import Collection, Iterator
from contextlib import closing
from pathlib import Path, PurePosixPath, PureWindowsPath

from datasets.dicom.files import MAX_FILE, ZIP, Fault, File, Refused, Unit, label

MAX_GROWTH = 50  # an archive that unpacks to more than so many times its size is a bomb; CT shrinks to a half


def members(path: Path, unit: Unit, wanted: Collection[str] | None) -> Iterator[File | Fault]:
    """Open an archive's members in their order.

    Args:
        path: The archive.
        unit: Stands for it.
        wanted: Only members of these names; None takes all.

    Raises:
        Exception: Damage, of whatever kind the layers below raise.
    """
    return (_zip_members if unit.place.lower().endswith(ZIP) else _tar_members)(path, unit, wanted)


def _open_tar(path: Path) -> io.BufferedIOBase:
    """Open a tar for reading, unpacked as its name says."""
    name = path.name.lower()
    if name.endswith((".gz", ".tgz")):
        return gzip.GzipFile(path)
    if name.endswith(".bz2"):
        return bz2.BZ2File(path)
    return lzma.LZMAFile(path) if name.endswith(".xz") else path.open("rb")


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
    with closing(_open_tar(path)) as raw:
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
