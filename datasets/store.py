"""Store: a cohort in one file that knows its own hash, and the cohort as a table.

The file is an uncompressed .npz. Its voxels stay in it: they are mapped into memory, so that a process holds of them
only what it has just read, however many there are.
"""

import csv
import hashlib
import io
import itertools
import json
import math
import mmap
import struct
from collections.abc import Iterable
from functools import lru_cache
from pathlib import Path
from typing import IO, NamedTuple, get_type_hints
from zipfile import ZIP_STORED, ZipFile, ZipInfo

import msgspec
import numpy as np
from jaxtyping import Float, Int
from numpy.lib import format as npy

from benchmark.contracts import Cohort, InputError, Volumes
from benchmark.files import is_cell, promised, replacing
from datasets.protocols import LABEL_SETS, labels

FORMAT = 2
_INSTEAD = "if this suite made it, delete it and run again; else give another file"
ARRAYS = (
    *("volumes", "n_readers", "reader_malignancy", "malignancy", "given_labels", "ratings", "trusted"),
    *("diameter_mm", "slice_thickness_mm"),
)


def content_hash(cohort: Cohort) -> str:
    """Return the SHA-256 over all of a cohort but its provenance and the hash itself."""
    digest = hashlib.sha256()
    for name, value in vars(cohort).items():
        if name in ARRAYS:
            digest.update(f"{name} {value.dtype.str} {value.shape}".encode())
            for start in range(0, len(value), 512):
                digest.update(np.ascontiguousarray(value[start : start + 512]).data)
                if isinstance(value.base, mmap.mmap) and hasattr(mmap, "MADV_DONTNEED"):
                    value.base.madvise(mmap.MADV_DONTNEED)  # what was read of a map stays in the system's cache alone
        elif name not in ("content_hash", "provenance"):
            digest.update(json.dumps([name, value]).encode())
    return digest.hexdigest()


def write(cohort: Cohort, path: Path) -> None:
    """Write a cohort; the same cohort gives the same bytes."""
    arrays = {name: getattr(cohort, name) for name in ARRAYS}
    others = {name: msgspec.to_builtins(value) for name, value in vars(cohort).items() if name not in ARRAYS}
    meta = np.array(json.dumps({"format": FORMAT, **others}))
    with replacing(path) as file, ZipFile(file, "w") as archive:
        for name, array in {**arrays, "meta": meta}.items():
            member = ZipInfo(f"{name}.npy")
            member.extra = _padding(file.tell() + len(member.filename))
            with archive.open(member, "w", force_zip64=True) as content:
                npy.write_array(content, array, allow_pickle=False)


def _padding(before: int) -> bytes:
    """Return an extra field of a zip's local header after which an array begins at a multiple of 64 bytes.

    As zipalign does, so that a map of it is aligned. The header has 30 bytes, zip64's field 20 and this one's head 4.
    """
    empty = -(before + 30 + 20 + 4) % npy.ARRAY_ALIGN
    return struct.pack("<HH", 0xD935, empty) + bytes(empty)


class Stamp(NamedTuple):
    """What the system says of a file that was not written to since.

    Attributes:
        size: In bytes.
        modified_ns: When it was last written to.
    """

    size: int
    modified_ns: int


def stamp_of(path: Path) -> Stamp:
    """Return the stamp of a prepared file.

    Raises:
        InputError: The file is missing.
    """
    if not path.is_file():
        raise InputError(f"there is no prepared cohort {path}: give another; run_all.py without --cohort prepares one")
    status = path.stat()
    return Stamp(status.st_size, status.st_mtime_ns)


def load(path: Path) -> Cohort:
    """Open a prepared file and check all of it against its content hash, voxels included.

    Raises:
        InputError: The file is missing, is no prepared cohort, or is damaged.
    """
    stamp_of(path)
    return _verified(_opened(path), path)


def open_once(path: Path, verified: Stamp | None = None) -> Cohort:
    """Do as `load`, once per process: the same file gives the same object.

    Args:
        path: The prepared file.
        verified: Its stamp when another process had checked it. While that is its stamp, its voxels are not read again.

    Raises:
        InputError: As `load`.
    """
    now, path = stamp_of(path), path.resolve()
    return _mapped_once(path, now) if now == verified else _verified_once(path, now)


def may_grow(path: Path) -> bool:
    """Return whether a prepared file's cohort lacks nodules that another preparation may make.

    Raises:
        InputError: It is no prepared cohort, or damaged.
    """
    preparation = _opened(path).provenance.preparation
    return preparation is not None and bool(preparation.again)


def find(folder: Path, wanted: str) -> Path | None:
    """Return the prepared file in a folder whose cohort says that it has the wanted content hash; None if none does.

    Voxels are not read, so the hash is what the file says: `load` and `open_once` check it. What is no prepared file
    of this version is passed over, since it cannot be the one.
    """
    for path in sorted(folder.glob("*.npz")):
        try:
            if _opened(path).content_hash == wanted:
                return path
        except InputError:
            continue
    return None


@lru_cache(maxsize=1)
def _mapped_once(path: Path, stamp: Stamp) -> Cohort:
    return _opened(path)


@lru_cache(maxsize=1)
def _verified_once(path: Path, stamp: Stamp) -> Cohort:
    return _verified(_mapped_once(path, stamp), path)


def _verified(cohort: Cohort, path: Path) -> Cohort:
    if content_hash(cohort) != cohort.content_hash:
        raise InputError(f"the prepared cohort {path} does not match its own hash: {_INSTEAD}")
    return cohort


def _opened(path: Path) -> Cohort:
    """Read all but the voxels, which are mapped."""
    try:
        if promised(path) > path.stat().st_size:  # it is not compressed, so what says this is a bomb
            raise InputError(
                f"{path} is no prepared cohort, or a damaged one (it unpacks to more than its own size): {_INSTEAD}"
            )
        with path.open("rb") as file, np.load(file, allow_pickle=False) as stored:
            meta = json.loads(str(stored["meta"]))
            if meta.pop("format") != FORMAT:
                raise InputError(f"the prepared cohort {path} is written in another format: {_INSTEAD}")
            arrays = {name: stored[name] for name in ARRAYS if name != "volumes"}
            arrays["volumes"] = _map(file, stored.zip.getinfo("volumes.npy"))
        types = get_type_hints(Cohort)
        return Cohort(**arrays, **{name: msgspec.convert(value, types[name]) for name, value in meta.items()})
    except InputError:
        raise
    except Exception as error:  # damage can surface in any layer below
        raise InputError(
            f"{path} is no prepared cohort, or a damaged one ({type(error).__name__}): {_INSTEAD}"
        ) from error


def _map(file: IO[bytes], member: ZipInfo) -> Volumes:
    """Map an array of a .npz, which numpy itself would read: behind a zip's local header lies an .npy file.

    Raises:
        ValueError: It is compressed, or no array of int16 in C order, or reaches beyond the file.
    """
    file.seek(member.header_offset + 26)
    file.seek(sum(struct.unpack("<HH", file.read(4))), io.SEEK_CUR)  # the member's name, and what else zip says of it
    version = npy.read_magic(file)
    shape, by_column, kind = npy.read_array_header_1_0(file)
    if member.compress_type != ZIP_STORED or version != (1, 0) or by_column or kind != np.int16:
        raise ValueError("its voxels cannot be mapped")
    return np.memmap(file, kind, "r", file.tell(), shape)


def csv_of(cohort: Cohort, rule: str, fold_of: Int[np.ndarray, " nodules"]) -> bytes:
    """Return the cohort as a table, a row per nodule: all that a report needs to know of it.

    These are ids, the readers' scores and means, which ratings are not to be relied on, sizes, strata, class indices
    (empty where left out) and fold. `benchmark.nodules` reads it.

    Raises:
        InputError: A text that came with them is a formula to a spreadsheet, or more than one line.
    """
    columns: dict[str, Iterable[object]] = {
        "nodule_id": cohort.nodule_ids,
        "scan_id": cohort.scan_ids,
        "patient_id": cohort.patient_ids,
        "reading_ids": ["|".join(map(str, ids)) for ids in cohort.reading_ids],
        "n_readers": cohort.n_readers.tolist(),
        "malignancy_scores": [_scores(of_readers) for of_readers in cohort.reader_malignancy],
        "malignancy_mean": _numbers(cohort.malignancy),
    }
    attributes = [name.replace(" ", "_") for name in cohort.attribute_names]
    for name, values in zip(attributes, cohort.ratings.T, strict=True):
        columns[f"{name}_mean"] = _numbers(values)
    columns["untrusted"] = ["|".join(itertools.compress(attributes, ~trusted)) for trusted in cohort.trusted]
    columns["diameter_mm"] = _numbers(cohort.diameter_mm)
    columns["slice_thickness_mm"] = _numbers(cohort.slice_thickness_mm)
    columns |= {f"stratum_{name}": values for name, values in cohort.strata.items()}
    for label_set in LABEL_SETS:
        classes = labels(cohort, label_set, rule).tolist()
        columns[f"label_{label_set}"] = ["" if label < 0 else label for label in classes]
    columns["fold"] = fold_of.tolist()
    words = ("nodule_id", "scan_id", "patient_id", *(name for name in columns if name.startswith("stratum_")))
    for name, texts in [("name of a column", columns), *((name, columns[name]) for name in words)]:
        if unfit := [text for text in map(str, texts) if not is_cell(text)]:
            culprit = f"the {name} {unfit[0]!r}"
            raise InputError(f"{culprit} is a formula to a spreadsheet, or more than one line: write it otherwise")
    text = io.StringIO(newline="")
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(columns)
    writer.writerows(zip(*columns.values(), strict=True))
    return text.getvalue().encode()


def _scores(of_readers: Float[np.ndarray, " readers"]) -> str:
    """Write the scores that there are as a user's table has them, e.g. `"4|5|3"`."""
    return "|".join(np.format_float_positional(score, trim="-") for score in of_readers if not math.isnan(score))


def _numbers(values: np.ndarray) -> list[float | str]:
    """Return numbers, and nothing in the place of NaN."""
    return ["" if math.isnan(value) else value for value in values.tolist()]
