"""Headers: what a CT slice says of itself, and whether its pixels can be used."""

from dataclasses import dataclass, replace

import numpy as np
import pydicom
from pydicom.pixels.decoders.base import get_decoder

from datasets.dicom.elements import Header, lacking, parse
from datasets.dicom.files import DICM, HEAD_BYTES, File, Foreign, Refused, beginning, kind, label, packing, unread

TILT_TOLERANCE = 1e-3  # sine of the angle
MAX_PIXELS = 2048  # rows or columns
LONG_HEAD_BYTES = 512 << 10
UNDEFINED = 0xFFFFFFFF  # a length
_SIDE_FILE = b"\0\5\x16\7"  # AppleDouble
_BARE = "has no DICOM preamble"


@dataclass(frozen=True)
class Slice:
    """A CT slice as its header describes it.

    Attributes:
        path: The file on disk that holds it, relative to the root.
        member: Its file's name in there, where that is an archive; else empty.
        stamp: Size and time of change of the file on disk.
        series_uid: Series instance UID.
        sop_uid: SOP instance UID.
        position_mm: ImagePositionPatient: x, y, z of the first pixel's centre.
        spacing_mm: Between rows, between columns.
        shape: Rows and columns.
        syntax: Transfer syntax UID.
        localizer: Whether it is a scout view, which belongs to no volume.
        problem: Why it cannot be used, or nothing.
    """

    path: str
    member: str
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
        return label(self.path, self.member)


def read_header(file: File) -> Slice:
    """Return what a file's header says.

    Raises:
        Foreign: It is no CT slice.
        Refused: It may be one, and is too damaged or packed to say where it belongs.
    """
    before = lacking(file.head(HEAD_BYTES))
    if before is None:
        raise _other(file)
    if not before:
        return _slice(file, _header(file))
    try:
        header = _header(file)
        if header.text("SOPClassUID") != pydicom.uid.CTImageStorage:
            raise Foreign(f"no CT slice: its SOP class is {header.text('SOPClassUID')!r}")
        one = _slice(file, header)
    except Refused as refused:
        raise type(refused)(f"{_BARE}; read without one: {refused}") from refused
    return replace(one, problem=f"{_BARE}; read without one: {one.problem}") if one.problem else one


def _header(file: File) -> Header:
    """Return the header, from as little of the file as holds it."""
    try:
        header = parse(file.head(HEAD_BYTES))
        return header if header.start >= 0 or file.size <= HEAD_BYTES else parse(file.head(LONG_HEAD_BYTES))
    except Refused:
        raise
    except Exception as error:  # pydicom raises many kinds on damaged headers
        raise Refused(f"damaged header ({type(error).__name__}: {error})") from error


def _slice(file: File, header: Header) -> Slice:
    """Return the slice that a header describes."""
    if header.storage == pydicom.uid.MediaStorageDirectoryStorage:
        raise Foreign("a DICOMDIR, which lists files and holds no image")
    modality = header.text("Modality")
    if modality != "CT":
        raise Foreign(f"no CT slice: its modality is {modality!r}")
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
    where = file.path, file.member, file.stamp
    return Slice(*where, series, sop, (x, y, z), spacing, shape, header.syntax, localizer, problem)


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


def _other(file: File) -> Refused:
    """Return what to say of a file that does not begin as DICOM does."""
    head, lost = file.head(HEAD_BYTES), ".dcm" in file.name.lower()
    if head.startswith(_SIDE_FILE):
        return Foreign("a side file of macOS, which holds no image")
    if file.member and kind(file) != "file":
        return Refused(f"an archive within an archive: unpack {file.path} once")
    if packed := packing(head):
        reason, lost = f"{packed.told}: unpack it with {packed.undo}", lost or beginning(file)[DICM] == b"DICM"
    elif reason := unread(head):
        lost = lost or not reason.startswith("a web page")
    elif not head:
        reason = "empty"
    else:
        reason = "not DICOM, though its name says so: download it again" if lost else "not DICOM"
    return Refused(reason) if lost else Foreign(reason)


def _check_image(header: Header, size: int) -> None:
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
        if header.length == UNDEFINED:
            raise Refused("damaged: its pixels are compressed, and its transfer syntax says that they are not")
        expected = rows * columns * allocated // 8
        if not expected <= header.length <= expected + 1:  # an odd length is padded
            raise Refused(f"damaged: {header.length} bytes of pixels for {rows} x {columns} of {allocated} bits")
        if header.start + header.length > size:
            raise Refused(f"truncated: {size} bytes of {header.start + header.length}")
