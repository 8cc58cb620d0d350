"""Cohort: all nodules of a source, prepared once into one file."""

import errno
import hashlib
import json
import multiprocessing
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager
from dataclasses import dataclass, replace
from itertools import groupby
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Int16

from benchmark.contracts import Cohort, InputError
from datasets import dicom, phantom, readings, store, survey
from datasets.crops import SIZE
from datasets.nodules import Nodule, cluster
from datasets.store import load, write_csv
from datasets.survey import Survey

__all__ = ["SOURCES", "Source", "find", "load", "prepare", "write_csv"]

GOLDEN = (5**0.5 - 1) / 2
NODULES_PER_WORKER = 500  # fewer are done before another process has started
SERIES_PER_WORKER = 8
WORK = "dicom"  # the folder, beside the prepared files, that keeps what is done of a download

Progress = Callable[[int, int], None]
Volumes = Int16[np.ndarray, "nodules slices rows columns"]


@dataclass(frozen=True)
class Source:
    """Where voxels come from.

    Attributes:
        volumes: Crops of nodules of one scan; runs in worker processes, so a function of a module. Takes the
            nodules, or for a download a `dicom.Job`.
        modules: Those of this package whose code decides what the voxels are.
        note: What the voxels are, in one sentence for the head of every table.
        download: Whether it must be found on disk first (see `find`).
    """

    volumes: Callable[[Any], Volumes]
    modules: tuple[str, ...]
    note: str
    download: bool = False


SOURCES: dict[str, Source] = {
    "phantom": Source(
        phantom.volumes,
        ("readings", "nodules", "crops", "masks", "anatomy", "phantom"),
        "Phantom: rendered from the radiologists' outlines and ratings, not CT; a rank of methods here is no "
        "evidence of their rank on CT.",
    ),
    "dicom": Source(
        dicom.volumes,
        ("readings", "nodules", "crops", "archive", "series", "dicom"),
        "CT: crops of the LIDC-IDRI scans themselves, in Hounsfield units.",
        download=True,
    ),
}


def find(
    folder: Path, root: Path | None = None, *, workers: int = 1, progress: Progress | None = None, verify: bool = False
) -> Survey:
    """Look through a LIDC-IDRI download, whatever its folders and file names are.

    Args:
        folder: Where prepared files are kept; made if missing.
        root: A folder, zip or tar; None asks pylidc's configuration file.
        workers: Processes that read headers.
        progress: Called with the number of folders and archives done and their total.
        verify: Read every slice again that was read before.

    Raises:
        InputError: There is no such root, or the disk is full, or a slice is not what it was at its first reading.
    """
    root = survey.root_of(root)
    with _room(folder), _mapping(workers) as mapped:
        found = survey.find(root, folder / WORK, mapped, progress)
        if verify:
            found.verify()
    return found


def prepare(
    source: str,
    folder: Path,
    *,
    nodules: int | None = None,
    workers: int = 1,
    progress: Progress | None = None,
    download: Survey | None = None,
) -> Path:
    """Return the prepared file of a cohort, which is made if it is not there.

    The file's name carries a hash of all that makes it, so other settings or other code make another file. It
    appears in one step, and its bytes do not depend on the number of workers. Of a download each series is kept as
    soon as it is done, and those that are there make the cohort.

    Args:
        source: A key of `SOURCES`.
        folder: Where prepared files are kept; made if missing.
        nodules: Take whole patients, spread evenly over all, until they have so many nodules; None takes all.
        workers: Processes that make voxels.
        progress: Called with the number of nodules done and their total.
        download: What `find` found; only for a source that is a download.

    Raises:
        InputError: An unknown source, less than one nodule or worker, a full disk, or no nodule in a download.
    """
    if source not in SOURCES:
        raise InputError(f"unknown source {source!r}: choose from {', '.join(SOURCES)}")
    if workers < 1 or (nodules is not None and nodules < 1):
        raise InputError(f"a cohort needs at least one worker and one nodule, not {workers} and {nodules}")
    provenance: dict[str, Any] = {
        "source": source,
        "nodules": nodules,
        "database": readings.database_hash(),
        "code": _code_hash(SOURCES[source].modules),
    }
    if SOURCES[source].download != (download is not None):
        raise InputError(f"the source {source!r} takes {'a' if download is None else 'no'} survey of a download")
    if download is not None:
        provenance["download"] = download.key
    size = "all" if nodules is None else nodules
    path = folder / f"{source}-{size}-{_hash([store.FORMAT, provenance])[:16]}.npz"
    if path.is_file():
        return path
    with _room(folder):
        if download is None:
            chosen = choose(nodules)
            volumes = _make(source, _by_scan(chosen), workers, progress)
        else:
            everything = choose()
            chosen = _sample([one for one in everything if one.scan.series_uid in download.slices], nodules)
            jobs = download.jobs(_by_scan(chosen), provenance["code"] + provenance["database"])
            volumes = _make(source, jobs, workers, progress)
            provenance["preparation"] = survey.report(download, jobs, readings.load(), everything)
            left_out = provenance["preparation"]["left out"]
            chosen = [nodule for nodule in chosen if nodule.id not in left_out]
            if not chosen:
                why = download.work / "prepare.json"
                raise InputError(f"no nodule could be made from what lies below {download.root}: {why} says why")
        folder.mkdir(parents=True, exist_ok=True)
        store.write(_cohort(source, chosen, volumes, provenance), path)
    return path


def choose(count: int | None = None) -> list[Nodule]:
    """Return all nodules, ascending by patient, scan and height; or those of a fixed sample of patients.

    Args:
        count: Take patients, spread evenly over all, until they have so many nodules.
    """
    of_patient = {patient: list(scans) for patient, scans in groupby(readings.load(), key=lambda scan: scan.patient_id)}
    return _take(list(of_patient), lambda patient: [n for scan in of_patient[patient] for n in cluster(scan)], count)


def _sample(nodules: Sequence[Nodule], count: int | None) -> list[Nodule]:
    """Return some of a list of nodules as `choose` does of all."""
    of_patient = {patient: list(of) for patient, of in groupby(nodules, key=lambda nodule: nodule.scan.patient_id)}
    return _take(list(of_patient), of_patient.__getitem__, count)


def _take(patients: list[str], nodules_of: Callable[[str], list[Nodule]], count: int | None) -> list[Nodule]:
    """Take patients, spread evenly, until they have so many nodules; their nodules come in the patients' order."""
    order = patients
    if count is not None:  # any first part of this order is spread evenly over the patients
        order = [order[index] for index in np.argsort(np.arange(len(order)) * GOLDEN % 1)]
    found: dict[str, list[Nodule]] = {}
    for patient in order:
        found[patient] = nodules_of(patient)
        if count is not None and sum(map(len, found.values())) >= count:
            break
    return [nodule for patient in sorted(found) for nodule in found[patient]]


def _by_scan(nodules: Iterable[Nodule]) -> list[list[Nodule]]:
    """Cut a list of nodules where the scan changes."""
    return [list(group) for _, group in groupby(nodules, key=lambda nodule: nodule.scan.series_uid)]


@contextmanager
def _mapping(workers: int) -> Iterator[Callable[..., Iterator[Any]]]:
    """Give `map` in this process, or over some worker processes, which start nothing more once the block is left."""
    if workers == 1:
        yield map
        return
    pool = ProcessPoolExecutor(workers, mp_context=multiprocessing.get_context("spawn"))
    try:
        yield pool.map
    except BrokenProcessPool as error:
        raise InputError("a worker process died, of too little memory perhaps: try again with fewer workers") from error
    finally:
        pool.shutdown(cancel_futures=True)


@contextmanager
def _room(folder: Path) -> Iterator[None]:
    """Say in a sentence that the disk is full; all that is on it whole is kept."""
    try:
        yield
    except OSError as error:
        if error.errno in (errno.ENOSPC, errno.EDQUOT):
            raise InputError(
                f"no space left below {folder}: make room and run the same command again; it goes on from there"
            ) from error
        raise


def _make(source: str, of_scans: Sequence[Any], workers: int, progress: Progress | None) -> Volumes:
    """Make the voxels of each scan's nodules, in order."""
    total, download = sum(map(len, of_scans)), SOURCES[source].download
    enough = 1 + (len(of_scans) // SERIES_PER_WORKER if download else total // NODULES_PER_WORKER)
    made, done = [np.empty((0, SIZE, SIZE, SIZE), dtype=np.int16)], 0
    with _mapping(min(workers, enough)) as mapped:
        for nodules, volumes in zip(of_scans, mapped(SOURCES[source].volumes, of_scans), strict=True):
            made.append(volumes)
            done += len(nodules)
            if progress is not None:
                progress(done, total)
    return np.concatenate(made)


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
