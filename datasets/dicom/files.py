"""Files as they are found: one that is read in part, one that cannot be used, and the unit they are found in.

What a file is, is decided by its content and in one place, `kind`, when it is first opened. Its name counts only where
the content says nothing: a file that is called an archive, and is none, is a damaged one.
"""

import bz2
import gzip
import io
import lzma
import tarfile
import zlib
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from tarfile import BLOCKSIZE
from typing import Literal

from benchmark.files import sha256

MAX_FILE = 64 << 20  # bytes; a slice has half a million
ZIP = (".zip",)
TAR = (".tar", ".tar.gz", ".tgz", ".tar.bz2", ".tbz2", ".tar.xz", ".txz")
DICM = slice(128, 132)  # where a DICOM file says that it is one
HEAD_BYTES = 16 << 10  # hold the header of most slices, and are read at once
FIRST_BLOCK = 1 << 20  # bytes, of which a bzip2 needs 900,000 to give its first
_UNREADABLE = "unreadable: "
_ZIP_MAGIC = (b"PK\3\4", b"PK\5\6", b"PK\7\x08")

Kind = Literal["file", "zip", "tar"]


class Refused(Exception):
    """A file or archive that is not read on, and why."""


class Foreign(Refused):
    """A file that never was a CT slice, so that nothing is lost without it."""


@dataclass(frozen=True)
class Fault:
    """A file that could not be used.

    Attributes:
        name: Where it is; a member of an archive as `archive::member`.
        reason: What is wrong with it.
    """

    name: str
    reason: str

    @property
    def passing(self) -> bool:
        """Whether the system refused the file, and so may give it another time, unchanged as it is."""
        return self.reason.startswith(_UNREADABLE)


@dataclass(frozen=True)
class Unit:
    """Files that are looked through in one go: some files of one folder, or one that is called an archive.

    Attributes:
        place: The folder, relative to the root.
        stamps: Size and time of change of each file by its name.
    """

    place: str
    stamps: tuple[tuple[str, str], ...]

    @property
    def key(self) -> str:
        """Hash of what it holds, as far as names, sizes and times tell."""
        return sha256(repr((self.place, self.stamps)).encode(errors="surrogateescape"))


class File:
    """An opened file of which only the beginning is read.

    Attributes:
        path: The file on disk, relative to the root.
        member: The file's name in it, where that is an archive; else empty.
        size: In bytes.
        stamp: Size and time of change of the file on disk.
    """

    def __init__(self, path: str, member: str, size: int, stamp: str, read: Callable[[int], bytes]) -> None:
        self.path, self.member, self.size, self.stamp = path, member, size, stamp
        self._read, self._data = read, b""

    @property
    def label(self) -> str:
        """How reports name it."""
        return label(self.path, self.member)

    @property
    def name(self) -> str:
        """Its own name, without folders."""
        return PurePosixPath(self.member).name if self.member else Path(self.path).name

    def head(self, count: int) -> bytes:
        """Return the first `count` bytes, or all where there are fewer.

        Raises:
            Refused: They cannot be had.
        """
        try:
            while len(self._data) < count and (more := self._read(count - len(self._data))):
                self._data += more
        except Refused:
            raise
        except OSError as error:
            raise Refused(unreadable(error)) from error
        except Exception as error:  # a damaged archive raises many kinds
            raise Refused(f"damaged ({type(error).__name__}: {error})") from error
        return self._data[:count]

    def whole(self) -> bytes:
        """Return all bytes.

        Raises:
            Refused: There are too many, or they cannot be had.
        """
        if self.size > MAX_FILE:
            raise Refused(f"larger than {MAX_FILE >> 20} MiB")
        return self.head(self.size)


@dataclass(frozen=True)
class Packing:
    """A way to compress one file.

    Attributes:
        told: What reports call such a file.
        magic: What it begins with.
        undo: The command that unpacks it.
        begin: Returns the first `BLOCKSIZE` bytes of what is packed, or fewer, from the packed file's beginning.
        open: Opens it to be read unpacked.
    """

    told: str
    magic: bytes
    undo: str
    begin: Callable[[bytes], bytes]
    open: Callable[[Path], io.BufferedIOBase]


def _inflate(data: bytes) -> bytes:
    return zlib.decompressobj(zlib.MAX_WBITS | 16).decompress(data, BLOCKSIZE)


def _unpack_bzip2(data: bytes) -> bytes:
    return bz2.BZ2Decompressor().decompress(data, BLOCKSIZE)


def _unpack_xz(data: bytes) -> bytes:
    return lzma.LZMADecompressor().decompress(data, BLOCKSIZE)


PACKINGS = (
    Packing("gzipped", b"\x1f\x8b\x08", "gunzip", _inflate, gzip.GzipFile),
    Packing("packed with bzip2", b"BZh", "bunzip2", _unpack_bzip2, bz2.BZ2File),
    Packing("packed with xz", b"\xfd7zXZ\0", "unxz", _unpack_xz, lzma.LZMAFile),
)
UNREAD = {  # what begins a file that is not read, and what to say of it
    b"7z\xbc\xaf\x27\x1c": "a 7z archive, which is not read: unpack it with 7z x",
    b"Rar!\x1a\x07": "a RAR archive, which is not read: unpack it with unrar x",
    b"\x28\xb5\x2f\xfd": "packed with zstd, which is not read: unpack it with unzstd",
    b"\x1f\x9d": "packed with compress, which is not read: unpack it with uncompress",
}
_WEB_PAGES = (b"<!doctype html", b"<html")


def packing(head: bytes) -> Packing | None:
    """Return how a file of this beginning is compressed, if it is."""
    return next((one for one in PACKINGS if head.startswith(one.magic)), None)


def unread(head: bytes) -> str:
    """Return what to say of a file of this beginning that may hold slices and is not read, or nothing."""
    if head.lstrip(b"\xef\xbb\xbf\r\n\t ")[:16].lower().startswith(_WEB_PAGES):
        return "a web page, as a failed download leaves: download it again"
    return next((told for magic, told in UNREAD.items() if head.startswith(magic)), "")


def beginning(file: File) -> bytes:
    """Return the first `BLOCKSIZE` bytes of a file, unpacked; none where they cannot be.

    Raises:
        Refused: The file cannot be read.
    """
    head = file.head(HEAD_BYTES)
    if (packed := packing(head)) is None:
        return head[:BLOCKSIZE]
    try:
        return packed.begin(file.head(FIRST_BLOCK))
    except (OSError, ValueError, EOFError, zlib.error, lzma.LZMAError):
        return b""


def kind(file: File) -> Kind:
    """Return whether a file is an archive, and of which kind.

    Raises:
        Refused: It cannot be read.
    """
    head = file.head(HEAD_BYTES)
    if not head or head[DICM] == b"DICM" or unread(head):
        return "file"
    if head.startswith(_ZIP_MAGIC):
        return "zip"
    try:
        tarfile.TarInfo.frombuf(beginning(file), "utf-8", "surrogateescape")
        return "tar"
    except tarfile.HeaderError:
        name = file.name.lower()
        if name.endswith(ZIP) and not packing(head):
            return "zip"
        return "tar" if name.endswith(TAR) else "file"


def seems_archive(name: str) -> bool:
    """Return whether a file is called an archive, and so is worth a unit of its own."""
    return name.lower().endswith((*ZIP, *TAR))


def unreadable(error: OSError) -> str:
    """Return what is said of a file that the system refuses."""
    return f"{_UNREADABLE}{error.strerror or error}"


def label(path: str, member: str) -> str:
    """Return how a file is named in reports."""
    return f"{path}::{member}" if member else path
