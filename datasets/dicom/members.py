"""Members: the files inside a zip or tar, one after the other, read within stated limits."""

import io
import os
import stat
import tarfile
import zipfile
from collections.abc import Callable, Collection, Iterator
from contextlib import AbstractContextManager, closing
from dataclasses import dataclass
from functools import partial
from pathlib import Path, PurePosixPath, PureWindowsPath
from typing import IO

from datasets.dicom.files import MAX_FILE, Fault, File, Kind, Refused, label, packing

MAX_GROWTH = 50  # an archive that unpacks to more than so many times its size is a bomb; CT shrinks to a half
_LINK = "refused: a link or a special file within an archive"


@dataclass(frozen=True)
class _Member:
    """A file inside an archive.

    Attributes:
        name: In the archive.
        size: Unpacked.
        refusal: Why it is not opened, or nothing.
        open: Opens it.
    """

    name: str
    size: int
    refusal: str
    open: Callable[[], AbstractContextManager[IO[bytes] | None]]


def members(
    path: Path, name: str, kind: Kind, stamp: str, wanted: Collection[str] | None = None
) -> Iterator[File | Fault]:
    """Open an archive's members in their order.

    Args:
        path: The archive.
        name: What it is called in reports.
        kind: Whether it is a zip or a tar.
        stamp: Its size and time of change.
        wanted: Only members of these names; None takes all.

    Raises:
        Exception: Damage, of whatever kind the layers below raise.
    """
    seen: set[str] = set()
    for member in (_of_zip if kind == "zip" else _of_tar)(path):
        refusal = _refusal(member, seen)
        seen.add(member.name)
        if wanted is not None and member.name not in wanted:
            continue
        if refusal:
            yield Fault(label(name, member.name), refusal)
            continue
        try:
            with member.open() as stream:
                assert stream is not None  # tarfile gives nothing for what is no file, and those are refused
                yield File(name, member.name, member.size, stamp, stream.read)
        except NotImplementedError as error:
            yield Fault(label(name, member.name), f"packed in a way that Python does not read ({error}): unpack it")
        except Exception as error:  # the member's own header is damaged; the next one's may not be
            yield Fault(label(name, member.name), f"damaged ({type(error).__name__}: {error})")
    if not seen:
        raise Refused("an archive without a file: download it again if there should be any")


def _of_zip(path: Path) -> Iterator[_Member]:
    """Yield a zip's members; nothing of them is read."""
    if not zipfile.is_zipfile(path):
        raise Refused(
            "cut off or damaged: a zip's list of files stands at its end, and is not there: download it again"
        )
    with zipfile.ZipFile(path) as archive:
        for info in archive.infolist():
            if not info.filename.endswith("/"):
                linked = stat.S_IFMT(info.external_attr >> 16) not in (0, stat.S_IFREG)
                refusal = _LINK if linked else "encrypted" if info.flag_bits & 1 else ""
                yield _Member(info.filename, info.file_size, refusal, partial(archive.open, info))


def _of_tar(path: Path) -> Iterator[_Member]:
    """Yield a tar's members; each is read before the next is asked for, so that a compressed tar is unpacked once."""
    with closing(_open_tar(path)) as raw:
        bounded = _Bounded(raw, MAX_GROWTH * (path.stat().st_size + 4096))
        with tarfile.open(fileobj=bounded, mode="r:") as archive:  # type: ignore[call-overload]  # it only reads
            for member in archive:
                if not member.isdir():
                    refusal = "" if member.isreg() and not member.issparse() else _LINK
                    yield _Member(member.name, member.size, refusal, partial(archive.extractfile, member))
            if bounded.last != bytes(tarfile.BLOCKSIZE):  # tarfile takes any other end for the end as well
                raise Refused("cut off or damaged: it has no end, so that files may be missing: download it again")


def _open_tar(path: Path) -> io.BufferedIOBase:
    """Open a tar for reading, unpacked."""
    with path.open("rb") as file:
        packed = packing(file.read(tarfile.BLOCKSIZE))
    return packed.open(path) if packed else path.open("rb")


class _Bounded:
    """A stream that refuses to be read far beyond what an honest archive holds.

    Attributes:
        last: What was read last.
    """

    def __init__(self, stream: io.BufferedIOBase, limit: int) -> None:
        self._stream, self._limit, self.last = stream, limit, b""

    def read(self, count: int = -1) -> bytes:
        if not 0 <= count <= MAX_FILE + tarfile.RECORDSIZE:
            raise Refused("refused: a header in the archive claims an absurd length")
        self._check(count)
        self.last = self._stream.read(count)
        return self.last

    def seek(self, offset: int, whence: int = 0) -> int:
        if whence == os.SEEK_SET:
            self._check(offset - self._stream.tell())
        return self._stream.seek(offset, whence)

    def tell(self) -> int:
        return self._stream.tell()

    def _check(self, ahead: int) -> None:
        if self._stream.tell() + ahead > self._limit + tarfile.RECORDSIZE:
            raise Refused(f"refused: it unpacks to more than {MAX_GROWTH} times its size")


def _refusal(member: _Member, seen: Collection[str]) -> str:
    """Return why a member is not opened, or nothing."""
    if not member.name:
        return "refused: it has no name"
    if _points_outside(member.name):
        return "refused: its name points outside the archive"
    if member.name in seen:
        return "refused: another file in the archive has its name, and was read: give each its own"
    return member.refusal or (f"larger than {MAX_FILE >> 20} MiB" if member.size > MAX_FILE else "")


def _points_outside(name: str) -> bool:
    """Return whether a member's name, taken as a path on any system, leaves the folder it is unpacked to."""
    windows = PureWindowsPath(name)
    return ".." in windows.parts or bool(windows.drive or windows.root) or PurePosixPath(name).is_absolute()
