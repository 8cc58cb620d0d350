"""Cohort: all nodules of a collection, prepared once into one file."""

import math
import re
import sys
from collections import Counter
from collections.abc import Callable, Generator, Iterable, Sequence, Sized
from contextlib import closing
from dataclasses import replace
from itertools import accumulate
from pathlib import Path
from tempfile import TemporaryFile
from typing import IO

import numpy as np

from benchmark.contracts import Cohort, Collection, InputError, Made, NoduleInfo, Preparation, Provenance, Volumes
from datasets import digest, store
from datasets.code import code_hash, json_hash
from datasets.crops import SIZE
from datasets.protocols import LABEL_SETS
from datasets.work import Progress, mapping, room

GOLDEN_RATIO = (5**0.5 - 1) / 2
VOXEL = np.dtype(np.int16)
PARTS_PER_WORKER = 8  # fewer are done before another process has started


def prepare(
    collection: Collection,
    folder: Path,
    sample: int | None = None,
    refuse: Callable[[Collection], None] | None = None,
    *,
    workers: int = 1,
    progress: Progress | None = None,
    tell: Callable[[str], None] | None = None,
) -> Path:
    """Return the prepared file of a cohort, which is made if it is not there.

    The file's name carries a hash of all that makes it, so other settings or other code make another file. It
    appears in one step, and its bytes do not depend on the number of workers. Until then the voxels lie in a file
    without a name beside it, never all in memory: preparing takes twice the room on disk. A file that lacks nodules
    which may be had another time is made again.

    Args:
        collection: Where the nodules come from.
        folder: Where prepared files are kept; made if missing.
        sample: Take whole patients, spread evenly over all, until they have so many nodules; None takes all.
        refuse: Called before anything is made; raises what the sample lacks (`samples.refusal`).
        workers: Processes that make voxels, where the collection can be made in processes.
        progress: Called with how much is done, how much there is to do and what the collection says of it.
        tell: Called once with what it will take of the network and the disk, if that is worth a line.

    Raises:
        InputError: Less than one nodule or worker, a full disk, a dead worker, no nodule that could be made, or a
            collection that lacks a title, source or note or contradicts itself.
    """
    if workers < 1 or (sample is not None and sample < 1):
        raise InputError(f"a cohort needs at least one worker and one nodule, not {workers} and {sample}")
    path, fingerprint = _place(collection, folder, sample)
    if _is_done(path):
        if store.open_once(path).provenance.fingerprint != fingerprint:
            raise InputError(f"the prepared cohort {path} is another under its name: delete it and run again")
        return path
    if refuse is not None:
        refuse(collection)
    folder.mkdir(parents=True, exist_ok=True)
    with room(folder), TemporaryFile(dir=folder) as beside:
        chosen = choose(collection, sample)
        if tell is not None and (line := collection.outlook(chosen)):
            tell(line)
        parts = collection.parts(chosen)
        with closing(_make(collection, parts, workers, progress)) as made:
            left_out = _keep(collection, parts, made, beside)
        preparation = collection.preparation(parts, left_out)
        kept = [nodule for nodule in chosen if nodule.id not in left_out]
        if not kept:
            raise InputError(_nothing(collection, preparation, left_out))
        volumes: Volumes = np.memmap(beside, VOXEL, "r").reshape(-1, SIZE, SIZE, SIZE)
        among = len(collection.nodules())
        drawn = (sample, among) if sample is not None and len(chosen) < among else (None, 0)
        sealed = seal(collection, kept, volumes, Provenance(drawn[0], fingerprint, preparation, drawn[1]))
        digest.write(digest.of(sealed), digest.beside(path))  # first: where the cohort is, so is its digest
        store.write(sealed, path)
    return path


def foresee(
    collection: Collection, folder: Path, sample: int | None, refuse: Callable[[Collection], None]
) -> tuple[Path | None, str]:
    """Return a cohort's prepared file if it is there, and what `prepare` would take of the network and the disk.

    Nothing is written, and no voxel made. Arguments are those of `prepare`.

    Raises:
        InputError: A collection that lacks a title, source or note, or what `refuse` raises.
    """
    path, _ = _place(collection, folder, sample)
    if _is_done(path):
        return path, ""
    refuse(collection)
    return None, collection.outlook(choose(collection, sample))


def _place(collection: Collection, folder: Path, sample: int | None) -> tuple[Path, str]:
    """Return where a cohort's prepared file is, and the hash of all that makes it."""
    if missing := [name for name in ("title", "source", "note") if getattr(collection, name, None) is None]:
        raise InputError(f"the collection {type(collection).__name__} has no {missing[0]}: give its class one, as text")
    source = collection.source
    if not re.fullmatch(r"[A-Za-z0-9-]+", source):
        raise InputError(f"the source {source!r} of a collection must be letters, digits and hyphens: it names files")
    said = [collection.title, collection.note, list(collection.attribute_names)]
    code = code_hash(sys.modules[__name__])
    fingerprint = json_hash([store.FORMAT, code, source, *said, sample, collection.fingerprint()])
    return folder / f"{source}-{'all' if sample is None else sample}-{fingerprint[:16]}.npz", fingerprint


def _is_done(path: Path) -> bool:
    """Return whether a prepared file is there that lacks nothing which may be had another time."""
    return path.is_file() and not store.may_grow(path)


def choose(collection: Collection, count: int | None = None) -> list[NoduleInfo]:
    """Return a collection's nodules in its order: all, or those of a fixed sample of patients.

    A smaller sample is a part of every larger one.

    Args:
        collection: Where they come from.
        count: Take patients, spread evenly over all, until they have so many nodules.
    """
    nodules = collection.nodules()
    if count is None:
        return list(nodules)
    patients, number_of = collection.patients(), Counter(nodule.patient_id for nodule in nodules)
    chosen, total = set[str](), 0
    for index in np.argsort(np.arange(len(patients)) * GOLDEN_RATIO % 1):  # any first part of it is spread evenly
        chosen.add(patients[index])
        total += number_of[patients[index]]
        if total >= count:
            break
    return [nodule for nodule in nodules if nodule.patient_id in chosen]


def seal(collection: Collection, nodules: Sequence[NoduleInfo], volumes: Volumes, provenance: Provenance) -> Cohort:
    """Put a row per nodule together, with the hash of it all.

    Raises:
        InputError: What the collection says of its nodules contradicts itself.
    """
    _check(collection, nodules, volumes)
    scores = [nodule.malignancy for nodule in nodules]
    readers = max(map(len, scores))
    rated = len(nodules), len(collection.attribute_names)
    cohort = Cohort(
        collection=collection.title,
        source=collection.source,
        note=collection.note,
        volumes=volumes,
        nodule_ids=tuple(nodule.id for nodule in nodules),
        scan_ids=tuple(nodule.scan_id for nodule in nodules),
        patient_ids=tuple(nodule.patient_id for nodule in nodules),
        reading_ids=tuple(nodule.reading_ids for nodule in nodules),
        n_readers=np.array([len(of) for of in scores]),
        reader_malignancy=np.array([[*of, *[math.nan] * (readers - len(of))] for of in scores], dtype=np.float64),
        malignancy=np.array([sum(of) / len(of) if of else math.nan for of in scores]),
        given_labels=np.array([LABEL_SETS["three"].index(one.label) if one.label else -1 for one in nodules]),
        ratings=np.array([nodule.ratings for nodule in nodules], dtype=np.float64).reshape(rated),
        trusted=np.array([one.trusted or (True,) * rated[1] for one in nodules], dtype=bool).reshape(rated),
        attribute_names=tuple(collection.attribute_names),
        diameter_mm=np.array([nodule.diameter_mm for nodule in nodules], dtype=np.float64),
        slice_thickness_mm=np.array([nodule.slice_thickness_mm for nodule in nodules], dtype=np.float64),
        strata={name: tuple(nodule.strata[name] for nodule in nodules) for name in nodules[0].strata},
        content_hash="",
        provenance=provenance,
    )
    return replace(cohort, content_hash=store.content_hash(cohort))


def _make(
    collection: Collection, parts: Sequence[Sized], workers: int, progress: Progress | None
) -> Generator[Made, None, None]:
    """Make every part, in order; what readies them ends with it."""
    done = list(accumulate(map(collection.size, parts)))
    enough = 1 + len(parts) // PARTS_PER_WORKER if collection.in_processes else 1
    with mapping(min(workers, enough)) as mapped, closing(_each(collection.ready(parts))) as ready:
        for made, so_far in zip(mapped(collection.make, ready), done, strict=True):
            yield made
            if progress is not None:
                progress(round(so_far), round(done[-1]), *filter(None, [collection.now()]))


def _each(parts: Iterable[Sized]) -> Generator[Sized, None, None]:
    yield from parts


def _keep(collection: Collection, parts: Sequence[Sized], made: Iterable[Made], file: IO[bytes]) -> dict[str, str]:
    """Write the voxels of every part to a file, as they come; return why nodules were left out."""
    left_out: dict[str, str] = {}
    for part, one in zip(parts, made, strict=True):
        _check_voxels(collection, one.volumes, len(part) - len(one.left_out))
        file.write(np.ascontiguousarray(one.volumes).data)
        left_out |= one.left_out
    file.flush()
    return left_out


def _nothing(collection: Collection, preparation: Preparation | None, left_out: dict[str, str]) -> str:
    """Say why there is no nodule."""
    if preparation is not None:
        why = f"{preparation.report} says why"
    elif left_out:
        why = "; ".join(f"{name}: {reason}" for name, reason in list(left_out.items())[:3])
    else:
        why = "it holds none"
    return f"no nodule could be made of the collection {collection.title} ({collection.source}): {why}"


def _check(collection: Collection, nodules: Sequence[NoduleInfo], volumes: Volumes) -> None:
    """Refuse what a collection of one's own may get wrong."""
    title = f"the collection {collection.title}"
    _check_voxels(collection, volumes, len(nodules))
    if twice := [name for name, count in Counter(nodule.id for nodule in nodules).items() if count > 1]:
        raise InputError(f"{title} has two nodules with the id {twice[0]!r}: ids must be unique")
    for one in nodules:
        known = not one.label or one.label in LABEL_SETS["three"]
        if bool(one.label) == bool(one.malignancy) or not known or not all(1 <= score <= 5 for score in one.malignancy):
            raise InputError(
                f"the nodule {one.id!r} of {title} needs either malignancy scores from 1 to 5 or one of the labels "
                f"{', '.join(LABEL_SETS['three'])}, not {one.malignancy} and {one.label!r}"
            )
        counts = {len(one.ratings), len(one.trusted) or len(one.ratings)}
        if counts != {len(collection.attribute_names)} or one.strata.keys() != nodules[0].strata.keys():
            raise InputError(
                f"the nodule {one.id!r} of {title} must have a rating for each of the collection's attributes, and the "
                f"strata of the other nodules, not {len(one.ratings)} ratings and {sorted(one.strata)}"
            )


def _check_voxels(collection: Collection, volumes: Volumes, count: int) -> None:
    if volumes.shape != (count, SIZE, SIZE, SIZE) or volumes.dtype != VOXEL:
        raise InputError(
            f"the collection {collection.title} made voxels of {volumes.dtype} in shape {volumes.shape} for {count} "
            f"nodules: each crop must be {SIZE} x {SIZE} x {SIZE} of int16, and each nodule made or named in left_out"
        )
