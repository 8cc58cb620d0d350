"""Digest: a cohort in a file small enough to mail, by which two cohorts are compared nodule by nodule.

Equal digests of crops mean equal voxels. Different ones need not mean another image: resampling computes in floating
point, and a processor or library that rounds otherwise moves some voxels by 1 HU. So each nodule has means beside its
digest, of the crop and of its first half along each axis: roundings leave them where they are, while another rescale
slope, a shifted or a mirrored crop moves them.
"""

import csv
import io
import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from benchmark.contracts import Cohort, InputError
from benchmark.files import sha256, write_atomically

MEANS = ("mean_hu", "first_slices_hu", "first_rows_hu", "first_columns_hu")
ROUNDING_HU = 0.05
"""Means of one crop that differ by no more can differ by roundings: one voxel in ten or twenty by 1 HU, to one side."""

_COLUMNS = ("nodule_id", "voxels", "told", *MEANS)
_HEAD = re.compile(r"# (.*), source (.*), cohort ([0-9a-f]{64}), lines ([0-9a-f]{16})\. ")
_HOW = "python -m benchmark cohort compares it with another. voxels: SHA-256 of the crop, first 10 digits."


@dataclass(frozen=True)
class Crop:
    """What a digest says of one nodule.

    Attributes:
        voxels: First 10 digits of the SHA-256 of its crop, int16, little-endian, in C order.
        told: First 6 digits of the SHA-256 of its patient, scan, readings, scores, class, ratings and sizes.
        means_hu: Mean of the crop, of its first 16 slices, of its first 16 rows, of its first 16 columns, in Hounsfield
            units, to two decimals.
    """

    voxels: str
    told: str
    means_hu: tuple[float, ...]


@dataclass(frozen=True)
class Digest:
    """A cohort in short.

    Attributes:
        title: Its collection.
        source: Where its voxels come from.
        content_hash: The cohort's.
        crops: What is said of each nodule, by id, in the cohort's order.
    """

    title: str
    source: str
    content_hash: str
    crops: Mapping[str, Crop]


def of(cohort: Cohort) -> Digest:
    """Return a cohort's digest; voxels are read a crop at a time."""
    crops = {name: _crop(cohort, row) for row, name in enumerate(cohort.nodule_ids)}
    return Digest(cohort.collection, cohort.source, cohort.content_hash, crops)


def _crop(cohort: Cohort, row: int) -> Crop:
    hu = np.asarray(cohort.volumes[row], dtype="<i2")
    half = hu.shape[0] // 2
    parts = hu, hu[:half], hu[:, :half], hu[:, :, :half]
    columns = (
        *(cohort.n_readers, cohort.given_labels, cohort.ratings, cohort.trusted),
        *(cohort.diameter_mm, cohort.slice_thickness_mm),
    )
    scores = cohort.reader_malignancy[row]
    scores = scores[~np.isnan(scores)]  # how far the array is filled up depends on the other nodules
    ids = cohort.patient_ids[row], cohort.scan_ids[row], cohort.reading_ids[row]
    strata = {name: of_nodules[row] for name, of_nodules in cohort.strata.items()}
    told = json.dumps([*ids, scores.tolist(), *(column[row].tolist() for column in columns), strata])
    means = tuple(round(float(part.mean(dtype=np.float64)), 2) for part in parts)
    return Crop(sha256(np.ascontiguousarray(hu).tobytes())[:10], sha256(told)[:6], means)


def beside(file: Path) -> Path:
    """Return where the digest of a prepared file stands."""
    return file.with_suffix(".csv")


def write(digest: Digest, path: Path) -> None:
    """Write a digest: a line that says which cohort it is of, then a line a nodule."""
    text = io.StringIO(newline="")
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(_COLUMNS)
    for name, crop in digest.crops.items():
        writer.writerow([name, crop.voxels, crop.told, *(f"{value:.2f}" for value in crop.means_hu)])
    lines = text.getvalue()
    made_of = f"{digest.title}, source {digest.source}, cohort {digest.content_hash}, lines {sha256(lines)[:16]}"
    write_atomically(path, f"# {made_of}. {_HOW}\n{lines}")


def read(path: Path) -> Digest:
    """Read a digest.

    Raises:
        InputError: The file is missing, is none, or the line that is damaged.
    """
    try:
        head, *lines = path.read_text("utf-8").splitlines()
    except (OSError, UnicodeDecodeError, ValueError) as error:
        why = (error.strerror or "") if isinstance(error, OSError) else "it is empty or no text"
        raise InputError(f"{path} cannot be read as a cohort's digest ({why}): give the .csv beside it") from error
    said = _HEAD.match(head)
    if said is None or not lines or lines[0] != ",".join(_COLUMNS):
        raise InputError(f"{path} is no cohort's digest of this version: give the .csv that stands beside a cohort")
    crops: dict[str, Crop] = {}
    for number, cells in enumerate(csv.reader(lines[1:]), start=3):
        try:
            name, voxels, told, *means = cells
            crop = Crop(voxels, told, tuple(map(float, means)))
        except ValueError as error:
            raise InputError(f"{path}, line {number}: not a nodule of a digest; get the file anew") from error
        if len(crop.means_hu) != len(MEANS) or not np.isfinite(crop.means_hu).all() or name in crops:
            raise InputError(f"{path}, line {number}: not a nodule of a digest, or twice the same; get the file anew")
        crops[name] = crop
    if sha256("".join(f"{line}\n" for line in lines))[:16] != said[4]:
        raise InputError(
            f"{path}: its lines are not those that were written, so it was cut or edited; get the file anew"
        )
    return Digest(said[1], said[2], said[3], crops)


@dataclass(frozen=True)
class Difference:
    """How two cohorts differ; ids in the order of the first, or of the second where the first lacks them.

    Attributes:
        is_one: Whether content hashes are equal: all is the same, the order of nodules too.
        only_first: Nodules that the second lacks.
        only_second: Nodules that the first lacks.
        told: Nodules of which other scores, ratings or sizes are said.
        rounded: Nodules whose voxels differ, and no mean by more than `ROUNDING_HU`; the largest difference, in HU.
        another: Nodules whose voxels differ by more than roundings; likewise.
    """

    is_one: bool
    only_first: tuple[str, ...]
    only_second: tuple[str, ...]
    told: tuple[str, ...]
    rounded: Mapping[str, float]
    another: Mapping[str, float]


def compare(first: Digest, second: Digest) -> Difference:
    """Say how two cohorts differ, as far as their digests tell."""
    both = [name for name in first.crops if name in second.crops]
    a, b = first.crops, second.crops
    apart = {
        name: round(max(abs(x - y) for x, y in zip(a[name].means_hu, b[name].means_hu, strict=True)), 2)
        for name in both
        if a[name].voxels != b[name].voxels
    }
    return Difference(
        is_one=first.content_hash == second.content_hash,
        only_first=tuple(name for name in a if name not in b),
        only_second=tuple(name for name in b if name not in a),
        told=tuple(name for name in both if a[name].told != b[name].told),
        rounded={name: hu for name, hu in apart.items() if hu <= ROUNDING_HU},
        another={name: hu for name, hu in apart.items() if hu > ROUNDING_HU},
    )
