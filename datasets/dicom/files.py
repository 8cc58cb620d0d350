"""Files as they are found: a file that is read in part, one that cannot be used, and the unit they are found in."""

import os
from collections.abc import Callable
from dataclasses import dataclass

from benchmark.files import sha256

MAX_FILE = 64 << 20  # bytes; a slice has half a million
ZIP = (".zip",)
TAR = (".tar", ".tar.gz", ".tgz", ".tar.bz2", ".tar.xz")


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
        return sha256(repr((self.place, self.stamps)).encode(errors="surrogateescape"))


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
    return name.lower().endswith((*ZIP, *TAR))


def label(place: str, name: str) -> str:
    """Return how a file is named in reports."""
    return f"{place}::{name}" if is_archive(place) else os.path.normpath(os.path.join(place, name))
