"""Formats: a volume in a file, or a folder of DICOM slices, opened without reading more than is asked for.

Whatever the file, its axes are brought to those of an axial CT image in DICOM: slices from feet to head, rows from
front to back, columns from the patient's right to left. An .npy is taken to have them.
"""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from jaxtyping import Num

from datasets.crops import Box, Grid
from datasets.dicom import stack
from datasets.dicom.files import Refused
from datasets.dicom.headers import TILT_TOLERANCE

KINDS = "an .npy, .nii or .nii.gz, or a folder of DICOM slices"
_NPY = b"\x93NUMPY"
_NIFTI = (".nii", ".nii.gz")
_TO_DICOM = ((2, 1), (1, -1), (0, -1))  # slice, row, column: their axis and sense in NIfTI's world (right, front, head)


@dataclass(frozen=True)
class Opened:
    """A volume of which only parts are read.

    Attributes:
        shape: Slices, rows and columns.
        grid: Where they lie, in millimetres; None where the file does not say.
        read: Reads a part.
        place: Turns an index into the file's own array, (slice, row, column) in the order in which the file has its
            axes, last first, into an index here.
    """

    shape: tuple[int, ...]
    grid: Grid | None
    read: Callable[[Box], Num[np.ndarray, "_ _ _"]]
    place: Callable[[tuple[float, float, float]], tuple[float, ...]] = lambda index: index


def is_kind(path: Path) -> bool:
    """Return whether there is a way to open it."""
    return path.is_dir() or (path.is_file() and path.name.lower().endswith((".npy", *_NIFTI)))


def open_volume(path: Path) -> Opened:
    """Open a volume by its name.

    Raises:
        Refused: It cannot be used, and why.
        Exception: Damage, of whatever kind the layers below raise.
    """
    if path.is_dir():
        found = stack.find(path)
        return Opened(found.grid.shape, found.grid, found.read)
    return _open_nifti(path) if path.name.lower().endswith(_NIFTI) else _open_npy(path)


def evenly(shape: tuple[int, ...], spacing_mm: tuple[float, ...]) -> Grid:
    """Return a grid of even steps."""
    return Grid(*(step * np.arange(count) for count, step in zip(shape, spacing_mm, strict=True)))


def _open_npy(path: Path) -> Opened:
    with path.open("rb") as file:
        if file.read(len(_NPY)) != _NPY:
            raise Refused(
                "cannot be read, as it is no .npy, or a pickled one: save an array of numbers with numpy.save"
            )
    try:
        array = np.load(path, mmap_mode="r", allow_pickle=False)
    except ValueError as error:
        if "Python objects" not in str(error):
            raise
        raise Refused("holds pickled Python objects, which are not opened: save an array of numbers alone") from error
    if array.dtype.kind not in "iuf":
        raise Refused(f"is no array of numbers but of {array.dtype}: save Hounsfield units, as int16 or float32")
    if array.ndim != 3:
        raise Refused(f"is an array of shape {array.shape}: save one with three axes (slice, row, column)")
    return Opened(array.shape, None, lambda box: np.array(array[box]))


def _open_nifti(path: Path) -> Opened:
    import nibabel  # here: most runs do without
    from nibabel.arrayproxy import ArrayProxy

    image = nibabel.load(path)
    if not (isinstance(image, nibabel.Nifti1Pair) and isinstance(image.dataobj, ArrayProxy)):
        raise Refused("is no NIfTI file")
    shape, dtype = image.shape, image.dataobj.dtype
    if len(shape) < 3 or any(count != 1 for count in shape[3:]) or dtype.kind not in "iuf":
        raise Refused(f"holds {dtype} in shape {shape}, which is no volume of numbers: give three axes")
    if image.header["sform_code"] == image.header["qform_code"] == 0:
        raise Refused("does not say how it lies in space (neither sform nor qform): set one of them")
    spacing = np.sqrt((image.affine[:3, :3] ** 2).sum(axis=0))
    along = image.affine[:3, :3] / np.where(spacing > 0, spacing, np.nan)
    axes = np.abs(along).argmax(axis=0)  # of the world, by axis of the file
    if sorted(axes) != [0, 1, 2] or np.abs(along - np.rint(along)).max() > TILT_TOLERANCE:
        raise Refused("is oblique: its axes are not those of the body; resample it to straight axes first")
    order = [int(np.flatnonzero(axes == axis)[0]) for axis, _ in _TO_DICOM]
    turned = [bool(along[axis, of] * sense < 0) for of, (axis, sense) in zip(order, _TO_DICOM, strict=True)]
    counts = tuple(shape[of] for of in order)

    def read(box: Box) -> Num[np.ndarray, "_ _ _"]:
        sides: list[slice | int] = [0] * len(shape)
        for of, turn, side, count in zip(order, turned, box, counts, strict=True):
            sides[of] = slice(count - side.stop, count - side.start) if turn else side
        part = np.asarray(image.dataobj[tuple(sides)]).transpose(order)
        return np.flip(part, tuple(number for number, turn in enumerate(turned) if turn))

    def place(index: tuple[float, float, float]) -> tuple[float, ...]:
        own = index[::-1]
        return tuple(
            count - 1 - own[of] if turn else own[of] for of, turn, count in zip(order, turned, counts, strict=True)
        )

    return Opened(counts, evenly(counts, tuple(spacing[order].tolist())), read, place)
