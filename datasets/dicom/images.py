"""Images: a CT slice as Hounsfield units."""

import io
from collections.abc import Iterable, Iterator
from itertools import groupby
from pathlib import Path

import numpy as np
from jaxtyping import Float
from pydicom.filereader import read_partial

from benchmark.files import sha256
from datasets.dicom import archive, headers
from datasets.dicom.elements import PIXEL_DATA, Stop, lacking, parse, silence
from datasets.dicom.files import Fault, File, Refused
from datasets.dicom.headers import LONG_HEAD_BYTES, Slice

PADDING_HU = -1000.0  # below it there is no body, only the scanner's padding
HIGHEST_HU = 32767.0

Image = Float[np.ndarray, "rows columns"]


def read_image(file: File, expected: Slice) -> Image:
    """Return a slice in Hounsfield units, padding clipped.

    Raises:
        Refused: Its pixels cannot be had, or its header is not what it was.
    """
    data = file.whole()
    if headers.read_header(file) != expected:
        raise Refused("its header has changed")
    if expected.problem:
        raise Refused(expected.problem)
    header = parse(data[:LONG_HEAD_BYTES])
    try:
        with silence():
            stream = io.BytesIO((lacking(data) or b"") + data)
            stored = read_partial(stream, stop_when=Stop(PIXEL_DATA + 1)).pixel_array
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
    return sha256(f"{image.shape}".encode() + np.ascontiguousarray(image, dtype="<f4").tobytes())


def read_images(root: Path, slices: Iterable[Slice]) -> Iterator[tuple[Slice, Image | str]]:
    """Read slices in the order in which they are stored; in place of one that cannot be read, say why."""
    base = archive.base_of(root)
    ordered = sorted(slices, key=lambda one: (one.path, one.member))
    for path, group in groupby(ordered, key=lambda one: one.path):
        of_member = {one.member: one for one in group}
        reasons: dict[str, str] = {}
        for file in archive.opened(base, path, next(iter(of_member.values())).stamp, set(of_member)):
            if isinstance(file, Fault):
                reasons[file.name] = file.reason
                continue
            one = of_member.pop(file.member)
            try:
                yield one, read_image(file, one)
            except Refused as refused:
                yield one, str(refused)
            except Exception as error:  # whatever is wrong with one file, the others are read
                yield one, f"damaged ({type(error).__name__}: {error})"
        for one in of_member.values():
            yield one, reasons.get(one.label, reasons.get(path, "no longer there"))
