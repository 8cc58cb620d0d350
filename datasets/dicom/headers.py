"""Headers: what a CT slice says of itself, and whether its pixels can be used."""

from dataclasses import dataclass

import numpy as np
import pydicom
from pydicom.pixels.decoders.base import get_decoder

from datasets.dicom.elements import Header, parse
from datasets.dicom.files import File, Refused, label

TILT_TOLERANCE = 1e-3  # sine of the angle
MAX_PIXELS = 2048  # rows or columns
HEAD_BYTES, LONG_HEAD_BYTES = 16 << 10, 512 << 10


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
        header = parse(file.head(HEAD_BYTES))
        if header.start < 0 and file.size > HEAD_BYTES:
            header = parse(file.head(LONG_HEAD_BYTES))
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


def _not_dicom(file: File) -> str:
    """Return a reason where a file does not even claim to be DICOM."""
    if file.size == 0:
        return "empty"
    return "" if file.head(132)[128:] == b"DICM" else "not DICOM"


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
        expected = rows * columns * allocated // 8
        if not expected <= header.length <= expected + 1:  # an odd length is padded
            raise Refused(f"damaged: {header.length} bytes of pixels for {rows} x {columns} of {allocated} bits")
        if header.start + header.length > size:
            raise Refused(f"truncated: {size} bytes of {header.start + header.length}")
