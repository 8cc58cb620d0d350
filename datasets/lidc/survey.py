"""Survey: what a download holds, remembered folder by folder.

The work folder keeps all that is done: `index` what each folder's headers say, `parts` the crops of each series,
`ledger` the hash of each slice at its first reading, and `prepare.json` the last report (see `report`).
"""

import configparser
import json
import os
import sys
from collections.abc import Iterable, Sequence
from dataclasses import astuple, dataclass, field
from functools import cached_property
from pathlib import Path

import msgspec

from benchmark.contracts import InputError, Json
from benchmark.files import sealed, unsealed, write_atomically
from datasets.code import code_hash, json_hash
from datasets.dicom import archive, elements, files, headers, members
from datasets.dicom.files import Fault, Refused, Unit
from datasets.dicom.headers import Slice
from datasets.lidc import ledger
from datasets.lidc.nodules import Nodule
from datasets.lidc.series import Job
from datasets.work import Map, Progress


@dataclass(frozen=True)
class Index:
    """What one folder or archive holds.

    Attributes:
        file: Name of the index file, so that none is taken for another.
        slices: CT slices.
        faults: Files that are none, with the reason.
    """

    file: str

    slices: list[Slice] = field(default_factory=list)
    faults: list[Fault] = field(default_factory=list)


@dataclass(frozen=True)
class Survey:
    """What lies below a root.

    Attributes:
        root: A folder or one archive.
        work: The work folder.
        slices: Every CT slice, by series UID.
        faults: Files that are none, with the reason.
    """

    root: Path
    work: Path
    slices: dict[str, tuple[Slice, ...]]
    faults: tuple[Fault, ...]

    @cached_property
    def key(self) -> str:
        """Hash of all slices, as far as headers, sizes and times tell."""
        return json_hash([[uid, *map(_plain, found)] for uid, found in sorted(self.slices.items())])

    def jobs(self, scans: Iterable[Sequence[Nodule]], code: str) -> list[Job]:
        """Return what is to be done for the nodules of each scan.

        Args:
            scans: The nodules of one scan at a time.
            code: Hash of all else that decides what the voxels are.
        """
        made = []
        for nodules in scans:
            uid = nodules[0].scan.series_uid
            found = self.slices[uid]
            key = json_hash([code, [nodule.id for nodule in nodules], list(map(_plain, found))])
            part = self.work / "parts" / f"{uid}-{key[:16]}.npz"
            made.append(Job(tuple(nodules), found, self.root, part, self._ledger(uid)))
        return made

    def verify(self) -> int:
        """Read every slice again that was read before, and return their number.

        Raises:
            InputError: Some are not what they were, or what they were is no longer known.
        """
        remembered = sorted((self.work / "ledger").glob("*.json"))
        faults = [f for path in remembered for f in ledger.changed(self.root, self.slices.get(path.stem, ()), path)]
        if faults:
            shown = "; ".join(f"{fault.name}: {fault.reason}" for fault in faults[:3])
            more = f"; and {len(faults) - 3} more" if len(faults) > 3 else ""
            raise InputError(
                f"{len(faults)} slices are not what they were when they were first read ({shown}{more}): restore them, "
                f"or delete {self.work} to start from what is there now"
            )
        return sum(len(ledger.Ledger(path).hashes) for path in remembered)

    def _ledger(self, uid: str) -> Path:
        return self.work / "ledger" / f"{uid}.json"


def find(root: Path, work: Path, mapped: Map = map, progress: Progress | None = None) -> Survey:
    """Look through everything below a root; what has not changed since the last time is remembered.

    Args:
        root: A folder or one archive.
        work: Where to remember it.
        mapped: `map`, or that of a pool of processes.
        progress: Called with the number of folders and archives done and their total.
    """
    for name in ("index", "parts", "ledger"):
        (work / name).mkdir(parents=True, exist_ok=True)
    units, faults = archive.units(root)
    reader = json_hash([list(headers.decoders()), code_hash(files, members, archive, elements, headers)])
    slices: dict[str, list[Slice]] = {}
    places = [(root, unit, work / "index" / f"{json_hash([reader, unit.key])[:32]}.json") for unit in units]
    for done, found in enumerate(mapped(index, places), start=1):
        faults += found.faults
        for one in found.slices:
            slices.setdefault(one.series_uid, []).append(one)
        if progress is not None:
            progress(done, len(units))
    ordered = {uid: tuple(sorted(found, key=lambda one: (one.path, one.member))) for uid, found in slices.items()}
    return Survey(root, work, ordered, tuple(faults))


def index(place: tuple[Path, Unit, Path]) -> Index:
    """Return the slices and faults of one unit, from its index file or, first, from its headers."""
    root, unit, path = place
    if (kept := _remembered(path)) is not None:
        return kept
    found = Index(path.name)
    for file in archive.read(root, unit):
        if isinstance(file, Fault):
            found.faults.append(file)
            continue
        try:
            found.slices.append(headers.read_header(file))
        except Refused as refused:
            found.faults.append(Fault(file.label, str(refused)))
    content = json.dumps(msgspec.to_builtins(found), indent=0)  # json, since a file's name may be no UTF-8
    write_atomically(path, sealed(content.encode()))
    return found


def _remembered(path: Path) -> Index | None:
    """Return what an index file says; None where it is not there or not whole, or a fault of its may have passed."""
    try:
        kept = msgspec.convert(json.loads(unsealed(path.read_bytes())), Index)
    except (OSError, ValueError, RecursionError):
        return None
    return None if kept.file != path.name or any(fault.passing for fault in kept.faults) else kept


def root_of(root: Path | None) -> Path:
    """Return where the download lies: as given, or as pylidc's configuration file says.

    Raises:
        InputError: Neither names a folder or archive that is there and readable.
    """
    source = "--dicom-root"
    if root is None:
        config = Path.home() / ("pylidc.conf" if sys.platform.startswith("win") else ".pylidcrc")
        parser = configparser.RawConfigParser()
        try:
            parser.read(config, encoding="utf-8")
            path = parser.get("dicom", "path", fallback="").strip()
        except (configparser.Error, UnicodeDecodeError) as error:
            raise InputError(f"cannot read {config} ({error}): correct it, or give --dicom-root PATH") from error
        if not path:
            raise InputError(
                "the source dicom needs the folder of a LIDC-IDRI download: give --dicom-root PATH, or "
                f"write it to {config} as pylidc does (section [dicom], path = ...)"
            )
        root, source = Path(path), str(config)
    try:
        root = root.expanduser()
        if root.is_dir():
            with os.scandir(root):  # which the system may refuse
                pass
        usable = root.is_dir() or (root.is_file() and archive.kind_of(root) != "file")
    except (OSError, RuntimeError, Refused) as error:  # RuntimeError: ~somebody, who is not there
        reason = error.strerror if isinstance(error, OSError) else error
        raise InputError(
            f"{source} {str(root)!r} cannot be read ({reason}): make it readable, or give another"
        ) from error
    if not usable:
        raise InputError(f"{source} {str(root)!r} is neither a folder nor a zip or tar")
    return root.resolve()


def _plain(one: Slice) -> list[Json]:
    return [list(value) if isinstance(value, tuple) else value for value in astuple(one)]
