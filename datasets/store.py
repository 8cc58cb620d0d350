"""Store: a cohort in one file that knows its own hash, and the cohort as a table."""

import csv
import hashlib
import io
import json
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any

import numpy as np
from jaxtyping import Int

from benchmark.contracts import Cohort, InputError
from datasets.protocols import LABEL_SETS, labels

FORMAT = 1
ARRAYS = ("volumes", "malignancy", "ratings", "diameter_mm")


def content_hash(cohort: Cohort) -> str:
    """Return the SHA-256 over all of a cohort but its provenance and the hash itself."""
    digest = hashlib.sha256()
    for name, value in vars(cohort).items():
        if name in ARRAYS:
            array = np.ascontiguousarray(value)
            digest.update(f"{name} {array.dtype.str} {array.shape}".encode())
            digest.update(array.data)
        elif name not in ("content_hash", "provenance"):
            digest.update(json.dumps([name, value]).encode())
    return digest.hexdigest()


def write(cohort: Cohort, path: Path) -> None:
    """Write a cohort; the same cohort gives the same bytes."""
    meta = {name: value for name, value in vars(cohort).items() if name not in ARRAYS}
    arrays: dict[str, Any] = {name: getattr(cohort, name) for name in ARRAYS}
    with replacing(path) as file:
        np.savez(file, **arrays, meta=np.array(json.dumps({"format": FORMAT, **meta})))


def load(path: Path) -> Cohort:
    """Read a prepared file and check it against its content hash.

    Raises:
        InputError: The file is missing, is no prepared cohort, or is damaged.
    """
    if not path.is_file():
        raise InputError(f"there is no prepared cohort {path}: run the command again to prepare it")
    try:
        with path.open("rb") as file, np.load(file, allow_pickle=False) as stored:
            fields: dict[str, Any] = {name: stored[name] for name in ARRAYS}
            fields |= json.loads(str(stored["meta"]))
        if fields.pop("format") != FORMAT:
            raise ValueError("written in another format")
        for name in ("nodule_ids", "scan_ids", "patient_ids", "attribute_names"):
            fields[name] = tuple(fields[name])
        fields["reading_ids"] = tuple(map(tuple, fields["reading_ids"]))
        cohort = Cohort(**fields)
        whole = content_hash(cohort) == cohort.content_hash
    except Exception as error:  # damage can surface in any layer below
        raise InputError(f"cannot read the prepared cohort {path} ({error}): delete it and run again") from error
    if not whole:
        raise InputError(f"the prepared cohort {path} does not match its own hash: delete it and run again")
    return cohort


def write_csv(cohort: Cohort, path: Path, rule: str, fold_of: Int[np.ndarray, " nodules"]) -> None:
    """Write a row per nodule: ids, mean ratings, diameter, class indices (empty where left out) and fold."""
    columns: dict[str, Any] = {
        "nodule_id": cohort.nodule_ids,
        "scan_id": cohort.scan_ids,
        "patient_id": cohort.patient_ids,
        "reading_ids": ["|".join(map(str, ids)) for ids in cohort.reading_ids],
        "n_readers": list(map(len, cohort.reading_ids)),
        "malignancy_mean": cohort.malignancy.tolist(),
    }
    for name, values in zip(cohort.attribute_names, cohort.ratings.T, strict=True):
        columns[f"{name.replace(' ', '_')}_mean"] = values.tolist()
    columns["diameter_mm"] = cohort.diameter_mm.tolist()
    for label_set in LABEL_SETS:
        classes = labels(cohort.malignancy, label_set, rule).tolist()
        columns[f"label_{label_set}"] = ["" if label < 0 else label for label in classes]
    columns["fold"] = fold_of.tolist()

    text = io.StringIO(newline="")
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(columns)
    writer.writerows(zip(*columns.values(), strict=True))
    with replacing(path) as file:
        file.write(text.getvalue().encode())


@contextmanager
def replacing(path: Path) -> Iterator[IO[bytes]]:
    """Open a file that takes the place of `path` when it is whole and on disk, or never."""
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    try:
        with temporary.open("wb") as file:
            yield file
            file.flush()
            os.fsync(file.fileno())
        os.replace(temporary, path)
    finally:
        temporary.unlink(missing_ok=True)
