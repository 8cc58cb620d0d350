"""Series: what a CT slice's header says, the slice as Hounsfield units, and where it stands in a scan."""

import hashlib
import io
import logging
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
Z_TOLERANCE_MM = 0.1  # slices of LIDC-IDRI are at least 0.45 mm apart
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

logging.getLogger("pydicom").propagate = False  # its remarks on damaged files are ours to make


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
        header, start, length = _parse(file.head(HEAD_BYTES))
        if start is None and file.size > HEAD_BYTES:
            header, start, length = _parse(file.head(LONG_HEAD_BYTES))
    except Refused:
        raise
    except OSError as error:
        raise Refused(f"unreadable: {error.strerror or error}") from error
    except Exception as error:  # pydicom raises many kinds on damaged headers
        raise Refused(_not_dicom(file) or f"damaged header ({type(error).__name__}: {error})") from error
    modality = _text(header, "Modality")
    if modality != "CT":
        raise Refused(f"no CT slice: its modality is {modality!r}")
    series, sop = _text(header, "SeriesInstanceUID"), _text(header, "SOPInstanceUID")
    x, y, z = _numbers(header, "ImagePositionPatient", 3)
    syntax = str(header.file_meta.get("TransferSyntaxUID", ""))
    localizer = "LOCALIZER" in str(header.get("ImageType", ""))
    spacing, shape, problem = (0.0, 0.0), (0, 0), ""
    try:
        row_mm, column_mm = _numbers(header, "PixelSpacing", 2)
        (rows,), (columns,) = _numbers(header, "Rows", 1), _numbers(header, "Columns", 1)
        spacing, shape = (row_mm, column_mm), (int(rows), int(columns))
        _check_image(header, syntax)
        if start is None:
            raise Refused("truncated: it ends before its pixels" if file.size < LONG_HEAD_BYTES else "it has no pixels")
        compressed = pydicom.uid.UID(syntax).is_compressed
        bits = int(header.BitsAllocated)
        if not compressed and not rows * columns * bits <= 8 * length <= rows * columns * bits + 8:
            raise Refused(f"damaged: {length} bytes of pixels for {shape[0]} x {shape[1]} of {bits} bits")
        if not compressed and start + length > file.size:
            raise Refused(f"truncated: {file.size} bytes of {start + length}")
    except Refused as refused:
        problem = str(refused)
    except Exception as error:
        problem = f"damaged header ({type(error).__name__}: {error})"
    return Slice(file.place, file.name, file.stamp, series, sop, (x, y, z), spacing, shape, syntax, localizer, problem)


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
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            dataset = read_partial(io.BytesIO(data), stop_when=_Stop(_PIXEL_DATA + 1))
            stored = dataset.pixel_array
    except Exception as error:  # a decoder's complaints are of many kinds
        raise Refused(f"damaged pixels ({type(error).__name__}: {error})") from error
    if stored.shape != expected.shape:
        raise Refused(f"damaged: its pixels are {stored.shape}, its header says {expected.shape}")
    unused = stored.dtype.itemsize * 8 - int(dataset.BitsStored)
    if unused > 0:  # what stands in the bits above is no part of the value
        stored = (stored << unused) >> unused
    (slope,), (intercept,) = _numbers(dataset, "RescaleSlope", 1), _numbers(dataset, "RescaleIntercept", 1)
    hu = stored * slope + intercept
    if hu.max() > HIGHEST_HU:
        raise Refused(f"damaged: {hu.max():.0f} HU is no density of anything")
    return np.asarray(np.maximum(hu, PADDING_HU), dtype=np.float32)


def image_hash(image: Image) -> str:
    """Return the SHA-256 of a slice as it is used."""
    return hashlib.sha256(f"{image.shape}".encode() + np.ascontiguousarray(image, dtype="<f4").tobytes()).hexdigest()


def missing_decoder(syntax: str) -> str:
    """Return what must be installed to read a transfer syntax, or nothing.

    Raises:
        NotImplementedError: Nothing can read it.
    """
    decoder = get_decoder(pydicom.uid.UID(syntax))
    return "" if decoder.is_available else "; or ".join(decoder.missing_dependencies)


def decoders() -> list[str]:
    """Return the transfer syntaxes that can be read here: another package more, and more slices can be used."""
    found = []
    for syntax in pydicom.uid.AllTransferSyntaxes:
        try:
            found += [] if missing_decoder(syntax) else [str(syntax)]
        except NotImplementedError:
            continue
    return found


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


def _parse(data: bytes) -> tuple[pydicom.FileDataset, int | None, int]:
    """Return a header, and where its pixels start and how long they are; no start where they are not reached."""
    _check_syntax(data)
    stream, stop = io.BytesIO(data), _Stop(_PIXEL_DATA)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        header = read_partial(stream, stop_when=stop, specific_tags=_TAGS)
        for keyword in _KEYWORDS:
            header.get(keyword)  # decodes it
    implicit = header.original_encoding[0]
    return header, (stream.tell() + (8 if implicit else 12) if stop.length >= 0 else None), stop.length


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


def _check_image(header: pydicom.Dataset, syntax: str) -> None:
    """Refuse a slice that is not one grey image across z, in a syntax that can be decoded."""
    orientation = _numbers(header, "ImageOrientationPatient", 6)
    along_row, along_column = np.array(orientation).reshape(2, 3)
    if max(abs(along_row[2]), abs(along_column[2])) > TILT_TOLERANCE:
        raise Refused(f"oblique: its rows and columns (ImageOrientationPatient {orientation}) do not lie across z")
    if max(abs(along_row @ along_row - 1), abs(along_column @ along_column - 1), abs(along_row @ along_column)) > 0.01:
        raise Refused(f"damaged: ImageOrientationPatient {orientation} is no pair of axes")
    if min(_numbers(header, "PixelSpacing", 2)) <= 0:
        raise Refused("damaged: its PixelSpacing is not positive")
    whole = {name: int(_numbers(header, name, 1)[0]) for name in _KEYWORDS[9:11] + _KEYWORDS[12:16]}
    if not (0 < whole["Rows"] <= MAX_PIXELS and 0 < whole["Columns"] <= MAX_PIXELS):
        raise Refused(f"damaged: {whole['Rows']} rows and {whole['Columns']} columns")
    single = int(header.get("NumberOfFrames") or 1) == 1 and header.get("SamplesPerPixel", 1) == 1
    if not single or _text(header, "PhotometricInterpretation") != "MONOCHROME2":
        raise Refused("no single grey image")
    allocated, stored = whole["BitsAllocated"], whole["BitsStored"]
    if allocated not in (8, 16) or not 0 < stored <= allocated or whole["HighBit"] != stored - 1:
        raise Refused(f"damaged: {stored} bits stored up to bit {whole['HighBit']} of {allocated}")
    if whole["PixelRepresentation"] not in (0, 1):
        raise Refused(f"damaged: PixelRepresentation {whole['PixelRepresentation']}")
    (slope,), _ = _numbers(header, "RescaleSlope", 1), _numbers(header, "RescaleIntercept", 1)
    if slope <= 0:
        raise Refused(f"damaged: a rescale slope of {slope:g}")
    try:
        missing = missing_decoder(syntax)
    except NotImplementedError as error:
        raise Refused(f"transfer syntax {syntax!r} is unknown: {error}") from error
    if missing:
        raise Refused(f"compressed as {pydicom.uid.UID(syntax).name}, which wants another package: {missing}")


def _text(header: pydicom.Dataset, keyword: str) -> str:
    """Return a header's text."""
    value = header.get(keyword)
    if not value:
        raise Refused(f"damaged header: no {keyword}")
    return str(value)


def _numbers(header: pydicom.Dataset, keyword: str, count: int) -> tuple[float, ...]:
    """Return so many finite numbers of a header."""
    value = header.get(keyword)
    parts = [value] if count == 1 else value
    try:
        numbers = tuple(float(part) for part in parts)
    except (TypeError, ValueError):
        numbers = ()
    if len(numbers) != count or not all(map(math.isfinite, numbers)):
        raise Refused(f"damaged header: {keyword} is {str(value)[:40]!r}")
    return numbers
