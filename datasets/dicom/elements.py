"""Elements: what stands before the pixels of a DICOM file, as text, without pydicom's lazy parts."""

import io
import math
import warnings
from dataclasses import dataclass

import pydicom
from pydicom.filereader import read_partial
from pydicom.tag import BaseTag, Tag

from datasets.dicom.files import Refused

MAX_ELEMENTS = 4096
PIXEL_DATA = 0x7FE00010
_KEYWORDS = (
    *("ImageType", "SOPInstanceUID", "Modality", "SeriesInstanceUID", "ImagePositionPatient"),
    *("ImageOrientationPatient", "SamplesPerPixel", "PhotometricInterpretation", "NumberOfFrames", "Rows", "Columns"),
    *("PixelSpacing", "BitsAllocated", "BitsStored", "HighBit", "PixelRepresentation", "RescaleIntercept"),
    "RescaleSlope",
)
_TAGS: list[BaseTag | int] = [Tag(keyword) for keyword in _KEYWORDS]


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
        start: Where the pixels start; negative where the header's end was not reached.
        length: Bytes of pixels that the header announces.
    """

    values: dict[str, tuple[str, ...]]
    syntax: str
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


def parse(data: bytes) -> Header:
    """Return what stands before the pixels."""
    _check_syntax(data)
    stream, stop, values = io.BytesIO(data), Stop(PIXEL_DATA), {}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        header = read_partial(stream, stop_when=stop, specific_tags=_TAGS)
        for keyword in _KEYWORDS:
            value = header.get(keyword)
            if isinstance(value, pydicom.multival.MultiValue):
                values[keyword] = tuple(map(str, value))
            elif isinstance(value, str | int | float):
                values[keyword] = (str(value),)
        syntax = str(header.file_meta.get("TransferSyntaxUID", ""))
    implicit, _ = header.original_encoding
    start = stream.tell() + (8 if implicit else 12) if stop.length >= 0 else -1
    return Header(values, syntax, start, stop.length)


def _check_syntax(data: bytes) -> None:
    """Refuse what pydicom would inflate without a limit."""
    deflated = pydicom.uid.DeflatedExplicitVRLittleEndian.encode()
    if data[128:132] == b"DICM" and b"UI" + len(deflated).to_bytes(2, "little") + deflated in data[:1024]:
        raise Refused("deflated transfer syntax, which is not read: convert it to explicit VR little endian")
