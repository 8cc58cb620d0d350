"""Series: what a CT slice's header says, the slice as Hounsfield units, and where it stands in a scan."""

import hashlib
import io
import math
import warnings
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import numpy as np
import pydicom
from jaxtyping import Float
from pydicom.filereader import read_partial
from pydicom.pixels.decoders.base import get_decoder
from pydicom.tag import Tag

from datasets.archive import File, Refused, label
from datasets.readings import Scan

PADDING_HU = -1000.0  # below it there is no body, only the scanner's padding
HIGHEST_HU = 32767.0
Z_TOLERANCE_MM = 0.05  # slices of LIDC-IDRI are at least 0.45 mm apart
SPACING_TOLERANCE = 1e-3  # of a pixel: half a millimetre across the image
TILT_TOLERANCE = 1e-3  # sine of the angle
MAX_PIXELS = 2048  # rows or columns
HEAD_BYTES, LONG_HEAD_BYTES = 16 << 10, 512 << 10
MAX_ELEMENTS = 4096

_PIXEL_DATA = 0x7FE00010
_KEYWORDS = (
    *("ImageType", "SOPInstanceUID", "Modality", "SeriesInstanceUID", "ImagePositionPatient"),
    *("ImageOrientationPatient", "SamplesPerPixel", "PhotometricInterpretation", "NumberOfFrames", "Rows", "Columns"),
    *("PixelSpacing", "BitsAllocated", "BitsStored", "HighBit", "PixelRepresentation", "RescaleIntercept"),
    "RescaleSlope",
)
_TAGS: list[Any] = [Tag(keyword) for keyword in _KEYWORDS]

Image = Float[np.ndarray, "rows columns"]


@dataclass(frozen=True)
class Slice:
    """A CT slice as its header describes it.

    Attributes:
        place: The folder or archive that holds its file.
        name: The file's name there.
        stamp: The file's (or archive's) size and time of change.
        series_uid: Series instance UID.
        sop_uid: SOP instance UID.
        position_mm: ImagePositionPatient: x, y, z of the first pixel's centre.
        spacing_mm: Between rows, between columns.
        shape: Rows and columns.
        syntax: Transfer syntax UID.
        localizer: Whether it is a scout view, which belongs to no volume.
        problem: Why it cannot be used, or nothing.
    """

    place: str
    name: str
    stamp: str
    series_uid: str
    sop_uid: str
    position_mm: tuple[float, float, float]
    spacing_mm: tuple[float, float]
    shape: tuple[int, int]
    syntax: str
    localizer: bool
    problem: str

    @property
    def label(self) -> str:
        """How reports name it."""
        return label(self.place, self.name)


def read_header(file: File) -> Slice:
    """Return what a file's header says.

    Raises:
        Refused: It is no CT slice, or too damaged to say where it belongs.
    """
    try:
        header = _parse(file.head(HEAD_BYTES))
        if header.start < 0 and file.size > HEAD_BYTES:
            header = _parse(file.head(LONG_HEAD_BYTES))
    except Refused:
        raise
    except Exception as error:  # pydicom raises many kinds on damaged headers, archives on damaged members
        reason = f"unreadable: {error.strerror}" if isinstance(error, OSError) and error.strerror else _not_dicom(file)
        raise Refused(reason or f"damaged header ({type(error).__name__}: {error})") from error
    modality = header.text("Modality")
    if modality != "CT":
        raise Refused(f"no CT slice: its modality is {modality!r}")
    series, sop = header.text("SeriesInstanceUID"), header.text("SOPInstanceUID")
    x, y, z = header.numbers("ImagePositionPatient", 3)
    localizer = "LOCALIZER" in header.values.get("ImageType", ())
    spacing, shape, problem = (0.0, 0.0), (0, 0), ""
    try:
        row_mm, column_mm = header.numbers("PixelSpacing", 2)
        spacing, shape = (row_mm, column_mm), (header.whole("Rows"), header.whole("Columns"))
        _check_image(header, file.size)
    except Refused as refused:
        problem = str(refused)
    place = file.place, file.name, file.stamp
    return Slice(*place, series, sop, (x, y, z), spacing, shape, header.syntax, localizer, problem)


def read_image(file: File, expected: Slice) -> Image:
    """Return a slice in Hounsfield units, padding clipped.

    Raises:
        Refused: Its pixels cannot be had, or its header is not what it was.
    """
    data = file.whole()
    if read_header(file) != expected:
        raise Refused("its header has changed")
    if expected.problem:
        raise Refused(expected.problem)
    header = _parse(data[:LONG_HEAD_BYTES])
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            stored = read_partial(io.BytesIO(data), stop_when=_Stop(_PIXEL_DATA + 1)).pixel_array
    except Exception as error:  # a decoder's complaints are of many kinds
        raise Refused(f"damaged pixels ({type(error).__name__}: {error})") from error
    if stored.shape != expected.shape:
        raise Refused(f"damaged: its pixels are {stored.shape}, its header says {expected.shape}")
    unused = stored.dtype.itemsize * 8 - header.whole("BitsStored")
    if unused > 0:  # what stands in the bits above is no part of the value
        stored = (stored << unused) >> unused
    (slope,), (intercept,) = header.numbers("RescaleSlope", 1), header.numbers("RescaleIntercept", 1)
    hu = stored * slope + intercept
    if hu.max() > HIGHEST_HU:
        raise Refused(f"damaged: {hu.max():.0f} HU is no density of anything")
    return np.asarray(np.maximum(hu, PADDING_HU), dtype=np.float32)


def image_hash(image: Image) -> str:
    """Return the SHA-256 of a slice as it is used."""
    return hashlib.sha256(f"{image.shape}".encode() + np.ascontiguousarray(image, dtype="<f4").tobytes()).hexdigest()


def missing_decoder(syntax: str) -> str:
    """Return what must be installed to read a transfer syntax, or nothing."""
    try:
        decoder = get_decoder(pydicom.uid.UID(syntax))
    except NotImplementedError:
        return "none that pydicom knows"
    return "" if decoder.is_available else "; or ".join(decoder.missing_dependencies)


def decoders() -> list[str]:
    """Return the transfer syntaxes that can be read here: another package more, and more slices can be used."""
    return [str(syntax) for syntax in pydicom.uid.AllTransferSyntaxes if not missing_decoder(syntax)]


def levels(slices: Iterable[Slice], scan: Scan) -> tuple[dict[int, list[Slice]], list[Slice]]:
    """Match slices to a scan's slices by z alone.

    Returns:
        The slices at each index into `scan.slice_z_mm`, and those that lie at none of them.
    """
    at: dict[int, list[Slice]] = {}
    astray = []
    for one in slices:
        level = int(np.abs(scan.slice_z_mm - one.position_mm[2]).argmin())
        if one.localizer:
            continue
        if abs(scan.slice_z_mm[level] - one.position_mm[2]) <= Z_TOLERANCE_MM:
            at.setdefault(level, []).append(one)
        else:
            astray.append(one)
    return at, astray


class _Stop:
    """Tell pydicom to stop reading at a tag, which it notes with its length, or when there is no end of tags."""

    def __init__(self, tag: int) -> None:
        self.tag, self.length, self.count = tag, -1, 0

    def __call__(self, tag: int, vr: str | None, length: int) -> bool:
        self.count += 1
        if self.count > MAX_ELEMENTS:
            raise Refused(f"damaged header: more than {MAX_ELEMENTS} elements")
        if tag == self.tag:
            self.length = length
        return tag >= self.tag


@dataclass(frozen=True)
class _Header:
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


def _parse(data: bytes) -> _Header:
    """Return what stands before the pixels."""
    _check_syntax(data)
    stream, stop, values = io.BytesIO(data), _Stop(_PIXEL_DATA), {}
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
    return _Header(values, syntax, start, stop.length)


def _check_syntax(data: bytes) -> None:
    """Refuse what pydicom would inflate without a limit."""
    deflated = pydicom.uid.DeflatedExplicitVRLittleEndian.encode()
    if data[128:132] == b"DICM" and b"UI" + len(deflated).to_bytes(2, "little") + deflated in data[:1024]:
        raise Refused("deflated transfer syntax, which is not read: convert it to explicit VR little endian")


def _not_dicom(file: File) -> str:
    """Return a reason where a file does not even claim to be DICOM."""
    if file.size == 0:
        return "empty"
    return "" if file.head(132)[128:] == b"DICM" else "not DICOM"


def _check_image(header: _Header, size: int) -> None:
    """Refuse a slice that is not one whole grey image across z, in a syntax that can be decoded."""
    orientation = header.numbers("ImageOrientationPatient", 6)
    along_row, along_column = np.array(orientation).reshape(2, 3)
    if max(abs(along_row[2]), abs(along_column[2])) > TILT_TOLERANCE:
        raise Refused(f"oblique: its rows and columns (ImageOrientationPatient {orientation}) do not lie across z")
    if max(abs(along_row @ along_row - 1), abs(along_column @ along_column - 1), abs(along_row @ along_column)) > 0.01:
        raise Refused(f"damaged: ImageOrientationPatient {orientation} is no pair of axes")
    if min(header.numbers("PixelSpacing", 2)) <= 0:
        raise Refused("damaged: its PixelSpacing is not positive")
    rows, columns = header.whole("Rows"), header.whole("Columns")
    if not (0 < rows <= MAX_PIXELS and 0 < columns <= MAX_PIXELS):
        raise Refused(f"damaged: {rows} rows and {columns} columns")
    single = header.values.get("NumberOfFrames", ("1",)) == header.values.get("SamplesPerPixel", ("1",)) == ("1",)
    if not single or header.text("PhotometricInterpretation") != "MONOCHROME2":
        raise Refused("no single grey image")
    allocated, stored, high = map(header.whole, ("BitsAllocated", "BitsStored", "HighBit"))
    if allocated not in (8, 16) or not 0 < stored <= allocated or high != stored - 1:
        raise Refused(f"damaged: {stored} bits stored up to bit {high} of {allocated}")
    if header.whole("PixelRepresentation") not in (0, 1):
        raise Refused(f"damaged: PixelRepresentation {header.whole('PixelRepresentation')}")
    (slope,), _ = header.numbers("RescaleSlope", 1), header.numbers("RescaleIntercept", 1)
    if slope <= 0:
        raise Refused(f"damaged: a rescale slope of {slope:g}")
    if header.start < 0:
        raise Refused("truncated: it ends before its pixels")
    if header.syntax not in pydicom.uid.AllTransferSyntaxes:
        raise Refused(f"damaged: there is no transfer syntax {header.syntax!r}")
    syntax = pydicom.uid.UID(header.syntax)
    if missing := missing_decoder(syntax):
        raise Refused(f"compressed as {syntax.name}, which wants another package: {missing}")
    if not syntax.is_compressed:
        expected = rows * columns * allocated // 8
        if not expected <= header.length <= expected + 1:  # an odd length is padded
            raise Refused(f"damaged: {header.length} bytes of pixels for {rows} x {columns} of {allocated} bits")
        if header.start + header.length > size:
            raise Refused(f"truncated: {size} bytes of {header.start + header.length}")
