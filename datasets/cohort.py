"""Cohort: all nodules of a source, prepared once into one file."""

import hashlib
import json
import multiprocessing
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, replace
from itertools import groupby
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Int16

from benchmark.contracts import Cohort, InputError
from datasets import phantom, readings, store
from datasets.nodules import Nodule, cluster
from datasets.store import load, write_csv

__all__ = ["SOURCES", "Source", "load", "prepare", "write_csv"]

GOLDEN = (5**0.5 - 1) / 2
NODULES_PER_WORKER = 500  # fewer are done before another process has started

Progress = Callable[[int, int], None]
Volumes = Int16[np.ndarray, "nodules slices rows columns"]


@dataclass(frozen=True)
class Source:
    """Where voxels come from.

    Attributes:
        volumes: Crops of nodules of one scan; runs in worker processes, so a function of a module.
        modules: Those of this package whose code decides what the voxels are.
        note: What the voxels are, in one sentence for the head of every table.
    """

    volumes: Callable[[Sequence[Nodule]], Volumes]
    modules: tuple[str, ...]
    note: str


SOURCES: dict[str, Source] = {
    "phantom": Source(
        phantom.volumes,
        ("readings", "nodules", "crops", "masks", "anatomy", "phantom"),
        "Phantom: rendered from the radiologists' outlines and ratings, not CT; a rank of methods here is no "
        "evidence of their rank on CT.",
    ),
}


def prepare(
    source: str,
    folder: Path,
    *,
    nodules: int | None = None,
    workers: int = 1,
    progress: Progress | None = None,
) -> Path:
    """Return the prepared file of a cohort, which is made if it is not there.

    The file's name carries a hash of all that makes it, so other settings or other code make another file. It
    appears in one step, and its bytes do not depend on the number of workers.

    Args:
        source: A key of `SOURCES`.
        folder: Where prepared files are kept; made if missing.
        nodules: Take whole patients, spread evenly over all, until they have so many nodules; None takes all.
        workers: Processes that make voxels.
        progress: Called with the number of nodules done and their total.

    Raises:
        InputError: An unknown source, or less than one nodule or worker.
    """
    if source not in SOURCES:
        raise InputError(f"unknown source {source!r}: choose from {', '.join(SOURCES)}")
    if workers < 1 or (nodules is not None and nodules < 1):
        raise InputError(f"a cohort needs at least one worker and one nodule, not {workers} and {nodules}")
    provenance = {
        "source": source,
        "nodules": nodules,
        "database": readings.database_hash(),
        "code": _code_hash(SOURCES[source].modules),
    }
    size = "all" if nodules is None else nodules
    path = folder / f"{source}-{size}-{_hash([store.FORMAT, provenance])[:16]}.npz"
    if not path.is_file():
        chosen = choose(nodules)
        with _mapping(min(workers, 1 + len(chosen) // NODULES_PER_WORKER)) as mapped:
            volumes = _collect(mapped(SOURCES[source].volumes, _by_scan(chosen)), len(chosen), progress)
        folder.mkdir(parents=True, exist_ok=True)
        store.write(_cohort(source, chosen, volumes, provenance), path)
    return path


def choose(count: int | None = None) -> list[Nodule]:
    """Return all nodules, ascending by patient, scan and height; or those of a fixed sample of patients.

    Args:
        count: Take patients, spread evenly over all, until they have so many nodules.
    """
    of_patient = {patient: list(scans) for patient, scans in groupby(readings.load(), key=lambda scan: scan.patient_id)}
    order = list(of_patient)
    if count is not None:  # any first part of this order is spread evenly over the patients
        order = [order[index] for index in np.argsort(np.arange(len(order)) * GOLDEN % 1)]
    found: dict[str, list[Nodule]] = {}
    for patient in order:
        found[patient] = [nodule for scan in of_patient[patient] for nodule in cluster(scan)]
        if count is not None and sum(map(len, found.values())) >= count:
            break
    return [nodule for patient in sorted(found) for nodule in found[patient]]


def _by_scan(nodules: Iterable[Nodule]) -> list[list[Nodule]]:
    """Cut a list of nodules where the scan changes."""
    return [list(group) for _, group in groupby(nodules, key=lambda nodule: nodule.scan.series_uid)]


@contextmanager
def _mapping(workers: int) -> Iterator[Callable[..., Iterator[Volumes]]]:
    """Give `map` in this process, or over some worker processes."""
    if workers == 1:
        yield map
    else:
        with ProcessPoolExecutor(workers, mp_context=multiprocessing.get_context("spawn")) as pool:
            yield pool.map


def _collect(parts: Iterator[Volumes], total: int, progress: Progress | None) -> Volumes:
    """Put the parts together as they come."""
    collected: list[Volumes] = []
    for part in parts:
        collected.append(part)
        if progress is not None:
            progress(sum(map(len, collected)), total)
    return np.concatenate(collected)


def _cohort(source: str, nodules: Sequence[Nodule], volumes: Volumes, provenance: dict[str, Any]) -> Cohort:
    """Put a row per nodule together, and seal it."""
    cohort = Cohort(
        source=source,
        volumes=volumes,
        nodule_ids=tuple(nodule.id for nodule in nodules),
        scan_ids=tuple(nodule.scan.series_uid for nodule in nodules),
        patient_ids=tuple(nodule.scan.patient_id for nodule in nodules),
        reading_ids=tuple(tuple(reading.id for reading in nodule.readings) for nodule in nodules),
        malignancy=np.array([nodule.malignancy for nodule in nodules]),
        ratings=np.array([[nodule.rating(name) for name in readings.ATTRIBUTES] for nodule in nodules]),
        attribute_names=readings.ATTRIBUTES,
        diameter_mm=np.array([nodule.diameter_mm for nodule in nodules]),
        content_hash="",
        provenance=provenance,
    )
    return replace(cohort, content_hash=store.content_hash(cohort))


def _code_hash(modules: Sequence[str]) -> str:
    """Return a hash of modules' source, the same for every line ending."""
    return _hash([Path(__file__).with_name(f"{name}.py").read_text(encoding="utf-8") for name in modules])


def _hash(content: Any) -> str:
    """Return the SHA-256 of JSON-able content."""
    return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()
