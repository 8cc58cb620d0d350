"""Heads: what the beginnings of a series' objects say, asked for once and noted as they come."""

import io
import json
import threading
from collections.abc import Iterable
from pathlib import Path
from types import TracebackType

import msgspec

from benchmark.files import sha256
from datasets.dicom import elements, headers
from datasets.dicom.files import DICM, File
from datasets.dicom.headers import LONG_HEAD_BYTES, Slice
from datasets.idc.bucket import Bucket, Lacking, Object

FIRST_BYTES = 4 << 10  # the longest header that was seen has 2,172
GROWTH = 4


def read(bucket: Bucket, one: Object, path: str) -> Slice:
    """Return what an object's header says, from as little of it as holds the header.

    Args:
        bucket: Where it is.
        one: The object.
        path: Where it will lie.

    Raises:
        Refused: It is no CT slice, or damaged, or cannot be had.
    """
    wanted, data = FIRST_BYTES, b""
    while True:
        end = min(wanted, one.size)
        if end > len(data):
            data += bucket.part(one, len(data), end)
        if end == one.size and not one.holds(data):
            raise Lacking("its bytes are not those that the store lists (another MD5)")
        if end == one.size or wanted >= LONG_HEAD_BYTES or not _goes_on(data):
            break
        wanted *= GROWTH
    return headers.read_header(File(path, "", one.size, stamp(one), io.BytesIO(data).read))


def stamp(one: Object) -> str:
    """Return what stands for size and time of change of an object's file."""
    return f"{one.size}-{one.tag}"


def _goes_on(data: bytes) -> bool:
    """Return whether this is the beginning of a DICOM file whose pixels come later."""
    if data[DICM] != b"DICM":
        return False
    try:
        return elements.parse(data).start < 0
    except Exception:  # an element that is cut off raises many kinds
        return True


class Notes:
    """A file that remembers the heads of a series' objects, a line each behind its hash, written as they come.

    What was noted before the process died is there for the next one; a torn or damaged line is passed over.
    """

    def __init__(self, path: Path) -> None:
        self._path, self._lock = path, threading.Lock()
        self._known: dict[Object, Slice | None] = {}
        if path.is_file():
            self._known = dict(_lines(path.read_bytes().splitlines()))

    def __enter__(self) -> "Notes":
        self._path.parent.mkdir(parents=True, exist_ok=True)
        self._file = self._path.open("ab")
        self._file.write(b"\n")  # ends a line that is torn
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self._file.close()

    def of(self, one: Object) -> Slice | None:
        """Return the head of an object, or None where it is not known."""
        return self._known.get(one)

    def note(self, one: Object, head: Slice | None) -> None:
        """Remember a head; None forgets it."""
        line = json.dumps([msgspec.to_builtins(one), msgspec.to_builtins(head)]).encode()
        with self._lock:
            self._known[one] = head
            self._file.write(b"%s %s\n" % (sha256(line).encode(), line))
            self._file.flush()


def _lines(lines: Iterable[bytes]) -> Iterable[tuple[Object, Slice | None]]:
    for whole in lines:
        seal, _, line = whole.partition(b" ")
        if seal != sha256(line).encode():
            continue
        try:
            yield msgspec.convert(json.loads(line), tuple[Object, Slice | None])
        except (ValueError, msgspec.ValidationError):
            continue
