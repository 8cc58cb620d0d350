"""The one dataset layer: collections of nodules, the cohorts prepared from them, their protocols and folds."""

import difflib
from collections.abc import Callable
from pathlib import Path

from benchmark.contracts import Collection, InputError
from datasets.folder import Folder
from datasets.lidc.collections import Dicom, Phantom
from datasets.lidc.readings import ATTRIBUTES
from datasets.protocols import DATASETS
from datasets.work import Progress

__all__ = ["ATTRIBUTES", "COLLECTIONS", "DATASETS", "SOURCES", "open_collection", "open_source", "register"]

SOURCES: dict[str, type[Collection]] = {"phantom": Phantom, "dicom": Dicom}
"""LIDC-IDRI's own, by `--source`; each has a `note`."""

COLLECTIONS: dict[str, Callable[[], Collection]] = {}
"""Collections that plugins register, by `--collection`: a class, or whatever gives one when called."""

_WORK = "dicom"  # the folder, beside the prepared files, that keeps what is done of a download


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


def open_source(
    key: str,
    folder: Path,
    *,
    dicom_root: Path | None = None,
    verify: bool = False,
    workers: int = 1,
    progress: Progress | None = None,
) -> Collection:
    """Return LIDC-IDRI from one of its sources.

    Args:
        key: A key of `SOURCES`.
        folder: Where prepared cohorts are kept; what is done of a download stands in a folder below.
        dicom_root: Where the download lies: a folder, zip or tar; None asks pylidc's configuration file.
        verify: Read every slice again that was read before.
        workers: Processes that read headers.
        progress: Called with the number of folders and archives done and their total.

    Raises:
        InputError: An unknown source, options of a download for another source, or what `Dicom` raises.
    """
    if key not in SOURCES:
        raise InputError(f"there is no source {key!r}: choose from {', '.join(SOURCES)}{_near(key, SOURCES)}")
    if key == "dicom":
        return Dicom(dicom_root, folder / _WORK, workers=workers, progress=progress, verify=verify)
    if dicom_root or verify:
        raise InputError(f"--dicom-root and --verify are for a download, not for --source {key}")
    return SOURCES[key]()


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
