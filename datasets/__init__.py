"""The one dataset layer: collections of nodules, the cohorts prepared from them, their protocols and folds."""

import difflib
from collections.abc import Callable
from pathlib import Path
from typing import TypedDict, Unpack

from benchmark.contracts import Collection, InputError
from datasets.folder import Folder
from datasets.idc.bucket import ENDPOINT, TIMEOUT_S, Bucket
from datasets.lidc.collections import Dicom, Phantom
from datasets.lidc.idc import Idc
from datasets.lidc.readings import ATTRIBUTES
from datasets.protocols import DATASETS
from datasets.work import Progress

__all__ = ["ATTRIBUTES", "COLLECTIONS", "DATASETS", "SOURCES"]
__all__ += ["open_any", "open_collection", "open_source", "register"]

SOURCES: dict[str, type[Collection]] = {"phantom": Phantom, "dicom": Dicom, "idc": Idc}
"""LIDC-IDRI's own, by `--source`; each has a `note`."""

COLLECTIONS: dict[str, Callable[[], Collection]] = {}
"""Collections that plugins register, by `--collection`: a class, or whatever gives one when called."""


def register(key: str, collection: Callable[[], Collection]) -> None:
    """Make a collection known as `--collection KEY`.

    Raises:
        ValueError: The key is taken, or is not lower-case letters, digits and underscores.
    """
    if not (key.isascii() and key.isidentifier() and key == key.lower()):
        raise ValueError(f"the collection key {key!r} must be lower-case letters, digits and underscores")
    if key in COLLECTIONS:
        raise ValueError(f"the collection key {key!r} is taken: register yours under another")
    COLLECTIONS[key] = collection


class Options(TypedDict, total=False):
    """What may be said of a source of real CT.

    Attributes:
        dicom_root: Where a download lies: a folder, zip or tar; else pylidc's configuration file is asked.
        verify: Whether every slice of it is read again that was read before.
        keep_dicom: Where fetched slices stay; else they are dropped.
        endpoint: An object store's address, instead of the Imaging Data Commons' own.
        connections: Requests to it at once.
        timeout_s: How long a connection may be silent.
        workers: Processes that read headers.
        progress: Called with the number of folders and archives done and their total.
    """

    dicom_root: Path | None
    verify: bool
    keep_dicom: Path
    endpoint: str
    connections: int
    timeout_s: float
    workers: int
    progress: Progress


def open_source(key: str, folder: Path, **options: Unpack[Options]) -> Collection:
    """Return LIDC-IDRI from one of its sources.

    Args:
        key: A key of `SOURCES`.
        folder: Where prepared cohorts are kept; what is done of a download stands in a folder below.
        options: What is said of it.

    Raises:
        InputError: An unknown source, options of another source, or what `Dicom` or `Idc` raise.
    """
    if key not in SOURCES:
        raise InputError(f"there is no source {key!r}: choose from {', '.join(SOURCES)}{_near(key, SOURCES)}")
    root, verify, keep = options.get("dicom_root"), options.get("verify", False), options.get("keep_dicom")
    if key != "dicom" and (root or verify):
        raise InputError(f"--dicom-root and --verify are for a download, not for --source {key}")
    if key == "dicom":
        workers, progress = options.get("workers", 1), options.get("progress")
        return Dicom(root, folder / key, workers=workers, progress=progress, verify=verify)
    if key == "idc":
        where = options.get("endpoint", ENDPOINT), options.get("connections", 32), options.get("timeout_s", TIMEOUT_S)
        return Idc(folder / key, Bucket(*where), keep)
    return SOURCES[key]()


def open_any(collection: str | None, source: str, folder: Path, **options: Unpack[Options]) -> Collection:
    """Return a collection of one's own if one is named, else LIDC-IDRI; see `open_collection` and `open_source`."""
    return open_source(source, folder, **options) if collection is None else open_collection(collection)


def open_collection(name: str) -> Collection:
    """Return the collection of a registered key, or of a folder that holds nodules.csv.

    Raises:
        InputError: It is neither, or what is there cannot be used.
    """
    if name in COLLECTIONS:
        return COLLECTIONS[name]()
    if Path(name).is_dir():
        return Folder(Path(name))
    if Path(name).is_file():
        raise InputError(f"--collection {name!r} is a file: give the folder that holds it, {str(Path(name).parent)!r}")
    known = f"registered are {', '.join(sorted(COLLECTIONS))}" if COLLECTIONS else "none is registered"
    raise InputError(
        f"--collection {name!r} is neither a registered collection nor a folder: give a folder that holds nodules.csv, "
        f"or a key ({known}{_near(name, COLLECTIONS)})"
    )


def _near(name: str, choices: dict[str, Callable[[], Collection]] | dict[str, type[Collection]]) -> str:
    """Return a hint at the choice that may have been meant, or nothing."""
    near = difflib.get_close_matches(name, choices, n=1)
    return f"; did you mean {near[0]!r}?" if near else ""
