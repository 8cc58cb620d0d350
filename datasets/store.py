"""Store: a cohort in one file that knows its own hash, and the cohort as a table."""

import csv
import hashlib
import io
import json
import math
from collections.abc import Iterable
from functools import lru_cache
from pathlib import Path
from typing import get_type_hints

import msgspec
import numpy as np
from jaxtyping import Int

from benchmark.contracts import Cohort, InputError
from benchmark.files import replacing, write_atomically
from datasets.protocols import LABEL_SETS, labels

FORMAT = 2
_INSTEAD = "if this suite made it, delete it and run again; else give another file with --cohort"
ARRAYS = (
    *("volumes", "n_readers", "reader_malignancy", "malignancy", "given_labels", "ratings", "trusted"),
    *("diameter_mm", "slice_thickness_mm"),
)


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
    arrays = {name: getattr(cohort, name) for name in ARRAYS}
    others = {name: msgspec.to_builtins(value) for name, value in vars(cohort).items() if name not in ARRAYS}
    meta = np.array(json.dumps({"format": FORMAT, **others}))
    with replacing(path) as file:
        np.savez(file, allow_pickle=False, **arrays, meta=meta)


def load(path: Path) -> Cohort:
    """Read a prepared file and check it against its content hash.

    Raises:
        InputError: The file is missing, is no prepared cohort, or is damaged.
    """
    if not path.is_file():
        raise InputError(f"there is no prepared cohort {path}: give another file, or leave --cohort out to prepare one")
    try:
        with path.open("rb") as file, np.load(file, allow_pickle=False) as stored:
            meta = json.loads(str(stored["meta"]))
            if meta.pop("format") != FORMAT:
                raise InputError(f"the prepared cohort {path} is written in another format: {_INSTEAD}")
            arrays = {name: stored[name] for name in ARRAYS}
        types = get_type_hints(Cohort)
        cohort = Cohort(**arrays, **{name: msgspec.convert(value, types[name]) for name, value in meta.items()})
        whole = content_hash(cohort) == cohort.content_hash
    except InputError:
        raise
    except Exception as error:  # damage can surface in any layer below
        raise InputError(
            f"{path} is no prepared cohort, or a damaged one ({type(error).__name__}): {_INSTEAD}"
        ) from error
    if not whole:
        raise InputError(f"the prepared cohort {path} does not match its own hash: {_INSTEAD}")
    return cohort


@lru_cache(maxsize=1)
def open_once(path: Path) -> Cohort:
    """Do as `load`, once per process: the same file gives the same object.

    Raises:
        InputError: As `load`.
    """
    return load(path)


def write_csv(cohort: Cohort, path: Path, rule: str, fold_of: Int[np.ndarray, " nodules"]) -> None:
    """Write a row per nodule: ids, means, sizes, strata, class indices (empty where left out) and fold."""
    columns: dict[str, Iterable[object]] = {
        "nodule_id": cohort.nodule_ids,
        "scan_id": cohort.scan_ids,
        "patient_id": cohort.patient_ids,
        "reading_ids": ["|".join(map(str, ids)) for ids in cohort.reading_ids],
        "n_readers": cohort.n_readers.tolist(),
        "malignancy_mean": _numbers(cohort.malignancy),
    }
    for name, values in zip(cohort.attribute_names, cohort.ratings.T, strict=True):
        columns[f"{name.replace(' ', '_')}_mean"] = _numbers(values)
    columns["diameter_mm"] = _numbers(cohort.diameter_mm)
    columns["slice_thickness_mm"] = _numbers(cohort.slice_thickness_mm)
    columns |= {f"stratum_{name}": values for name, values in cohort.strata.items()}
    for label_set in LABEL_SETS:
        classes = labels(cohort, label_set, rule).tolist()
        columns[f"label_{label_set}"] = ["" if label < 0 else label for label in classes]
    columns["fold"] = fold_of.tolist()

    text = io.StringIO(newline="")
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(columns)
    writer.writerows(zip(*columns.values(), strict=True))
    write_atomically(path, text.getvalue())


def _numbers(values: np.ndarray) -> list[float | str]:
    """Return numbers, and nothing in the place of NaN."""
    return ["" if math.isnan(value) else value for value in values.tolist()]
