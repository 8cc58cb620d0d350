"""Slices: real central slices as a file keeps them, and rendered ones brought to the same edges."""

import zipfile
import zlib
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from jaxtyping import Bool, Int, Int16

from benchmark.contracts import InputError
from benchmark.files import is_bomb

Slices = Int16[np.ndarray, "nodules 32 32"]
Covered = Bool[np.ndarray, "nodules 2 32"]


@dataclass(frozen=True)
class Real:
    """One real axial slice of each of some nodules.

    Attributes:
        nodule_ids: As the collection names them.
        hu: Hounsfield units, axes (nodule, row, column), on the crop's own geometry.
        covered: Which rows (first) and columns (second) the scan covered; the others repeat the nearest of these.
    """

    nodule_ids: tuple[str, ...]
    hu: Slices
    covered: Covered


def read(path: Path) -> Real:
    """Read the arrays `nodule_id`, `hu` and `covered` of an .npz file.

    Raises:
        InputError: The file is missing, is no such file, or its arrays do not fit each other.
    """
    try:
        if is_bomb(path):
            raise ValueError("it unpacks to hundreds of times its size")
        stored = np.load(path, allow_pickle=False)
        if isinstance(stored, np.ndarray):
            raise ValueError("it is an .npy of one array")
        with stored:
            if missing := [name for name in ("nodule_id", "hu", "covered") if name not in stored]:
                raise ValueError(f"it lacks the array {missing[0]}")
            names, hu, covered = (stored[name] for name in ("nodule_id", "hu", "covered"))
    except (
        OSError,
        ValueError,
        EOFError,
        zipfile.BadZipFile,
        zlib.error,
        RuntimeError,
        MemoryError,
    ) as error:
        raise InputError(
            f"cannot read slices from {path} ({error}): give an .npz file with nodule_id, hu and covered"
        ) from error
    count = len(names)
    shapes = {"nodule_id": (count,), "hu": (count, 32, 32), "covered": (count, 2, 32)}
    for name, array in {"nodule_id": names, "hu": hu, "covered": covered}.items():
        if array.shape != shapes[name]:
            raise InputError(f"{path}: {name} has the shape {array.shape}, not {shapes[name]}")
    if hu.dtype != np.int16 or covered.dtype != np.bool_:
        raise InputError(f"{path}: hu must be int16 and covered bool, not {hu.dtype} and {covered.dtype}")
    if len(set(names.tolist())) != count or not covered.any(axis=2).all():
        raise InputError(f"{path}: a nodule stands there twice, or no row or no column of a slice is covered")
    return Real(tuple(names.tolist()), hu, covered)


def repeat_edges(hu: Slices, covered: Covered) -> Slices:
    """Return the slices with every row and column that is not covered replaced by the nearest covered one."""
    rows, columns = nearest(covered[:, 0]), nearest(covered[:, 1])
    return np.asarray(hu[np.arange(len(hu))[:, None, None], rows[:, :, None], columns[:, None, :]])


def nearest(covered: Bool[np.ndarray, "nodules places"]) -> Int[np.ndarray, "nodules places"]:
    """Return for each place the nearest covered one.

    >>> nearest(np.array([[False, False, True, True, False]]))
    array([[2, 2, 2, 3, 3]])
    """
    places = np.arange(covered.shape[1])
    away = np.abs(places[:, None] - places[None, :]).astype(float)
    return np.asarray(np.where(covered[:, None, :], away[None], np.inf).argmin(axis=2))
