"""Elements: what stands before the pixels of a DICOM file, as text, without pydicom's lazy parts."""

import io
import math
import struct
import threading
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import pydicom
from pydicom.filereader import read_partial
from pydicom.tag import BaseTag, Tag

from datasets.dicom.files import DICM, Refused

MAX_ELEMENTS = 4096
PIXEL_DATA = 0x7FE00010
_PREAMBLE = bytes(DICM.start) + b"DICM"
_KEYWORDS = (
    *("ImageType", "SOPInstanceUID", "Modality", "SeriesInstanceUID", "ImagePositionPatient"),
    *("ImageOrientationPatient", "SamplesPerPixel", "PhotometricInterpretation", "NumberOfFrames", "Rows", "Columns"),
    *("PixelSpacing", "BitsAllocated", "BitsStored", "HighBit", "PixelRepresentation", "RescaleIntercept"),
    *("RescaleSlope", "SOPClassUID"),
)
_TAGS: list[BaseTag | int] = [Tag(keyword) for keyword in _KEYWORDS]
_TURN = threading.Lock()


class Stop:
    """Tell pydicom to stop reading at a tag, which it notes with its length, or when there is no end of tags."""

    def __init__(self, tag: int) -> None:
        self.tag, self.length, self.count = tag, -1, 0

    def __call__(self, tag: int, vr: str | None, length: int) -> bool:
        """Return whether to stop before this element."""
        self.count += 1
        if self.count > MAX_ELEMENTS:
            raise Refused(f"damaged header: more than {MAX_ELEMENTS} elements")
        if tag == self.tag:
            self.length = length
        return tag >= self.tag


@dataclass(frozen=True)
class Header:
    """A header without pydicom's lazy parts.

    Attributes:
        values: Each element's value or values, as text.
        syntax: Transfer syntax UID.
        storage: Media storage SOP class UID.
        start: Where the pixels start; negative where the header's end was not reached.
        length: Bytes of pixels that the header announces.
    """

    values: dict[str, tuple[str, ...]]
    syntax: str
    storage: str
    start: int
    length: int

    def text(self, keyword: str) -> str:
        """Return an element's only value."""
        match self.values.get(keyword):
            case (str(value),) if value:
                return value
        raise Refused(f"damaged header: no {keyword}")

    def numbers(self, keyword: str, count: int) -> tuple[float, ...]:
        """Return so many finite numbers."""
        values = self.values.get(keyword, ())
        try:
            numbers = tuple(map(float, values))
        except ValueError:
            numbers = ()
        if len(numbers) != count or not all(map(math.isfinite, numbers)):
            raise Refused(f"damaged header: {keyword} is {' '.join(values)[:40]!r}")
        return numbers

    def whole(self, keyword: str) -> int:
        """Return a whole number."""
        return int(self.numbers(keyword, 1)[0])


def lacking(data: bytes) -> bytes | None:
    """Return what must be put before a file's beginning to make it one of a DICOM file; None where it is no DICOM.

    Some programs leave out the preamble of 128 bytes, or all that precedes the data set, its transfer syntax included.
    A data set of an image then begins with a tag from (0008,0000) to (0008,0018). Its first eight bytes tell little
    endian from big, which has the tag's bytes the other way round, and explicit value representations, two capital
    letters, from implicit ones: as the length of so early an element, letters would stand for more than 16,000 bytes.
    """
    if data[DICM] == b"DICM":
        return b""
    if data.startswith(b"DICM"):
        return _PREAMBLE[:-4]
    if data.startswith(struct.pack("<HH2sH", 0x0002, 0x0000, b"UL", 4)):
        return _PREAMBLE
    if len(data) < 8 or data[:2] != b"\x08\0" or data[2] > 0x18 or data[3]:
        return None
    if data[4:6].isalpha() and data[4:6].isupper():
        syntax = pydicom.uid.ExplicitVRLittleEndian.encode()
    elif data[6:8] == b"\0\0":
        syntax = pydicom.uid.ImplicitVRLittleEndian.encode()
    else:
        return None
    syntax += b"\0" * (len(syntax) % 2)
    element = struct.pack("<HH2sH", 0x0002, 0x0010, b"UI", len(syntax)) + syntax
    return _PREAMBLE + struct.pack("<HH2sHL", 0x0002, 0x0000, b"UL", 4, len(element)) + element


@contextmanager
def silence() -> Iterator[None]:
    """Let pydicom warn of nothing; threads take turns, since Python keeps one list of filters for all of them."""
    with _TURN, warnings.catch_warnings():
        warnings.simplefilter("ignore")
        yield


def parse(data: bytes) -> Header:
    """Return what stands before the pixels.

    Raises:
        Refused: It is no DICOM, or not read for its size or transfer syntax.
        Exception: Damage, of whatever kind pydicom raises.
    """
    if (before := lacking(data)) is None:
        raise Refused("not DICOM")
    data = before + data
    _check_syntax(data)
    stream, stop, values = io.BytesIO(data), Stop(PIXEL_DATA), {}
    with silence():
        header = read_partial(stream, stop_when=stop, specific_tags=_TAGS)
        for keyword in _KEYWORDS:
            value = header.get(keyword)
            if isinstance(value, pydicom.multival.MultiValue):
                values[keyword] = tuple(map(str, value))
            elif isinstance(value, str | int | float):
                values[keyword] = (str(value),)
        syntax, storage = (
            str(header.file_meta.get(keyword, "")) for keyword in ("TransferSyntaxUID", "MediaStorageSOPClassUID")
        )
    implicit, _ = header.original_encoding
    start = stream.tell() + (8 if implicit else 12) - len(before) if stop.length >= 0 else -1
    return Header(values, syntax, storage, start, stop.length)


def _check_syntax(data: bytes) -> None:
    """Refuse what pydicom would inflate without a limit."""
    deflated = pydicom.uid.DeflatedExplicitVRLittleEndian.encode()
    if data[DICM] == b"DICM" and b"UI" + len(deflated).to_bytes(2, "little") + deflated in data[:1024]:
        raise Refused("deflated transfer syntax, which is not read: convert it to explicit VR little endian")
