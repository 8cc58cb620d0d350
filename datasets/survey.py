"""Survey: what a download holds, remembered folder by folder, and the report of what came of it.

The work folder keeps all that is done: `index` what each folder's headers say, `parts` the crops of each series,
`ledger` the hash of each slice at its first reading, and `prepare.json` the last report.
"""

import configparser
import hashlib
import json
import sys
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import asdict, astuple, dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from benchmark.contracts import InputError
from datasets import archive, dicom, series, store
from datasets.archive import Fault, Refused, Unit
from datasets.dicom import Job
from datasets.nodules import Nodule
from datasets.readings import Scan
from datasets.series import Slice

Mapped = Callable[..., Iterator[Any]]
Progress = Callable[[int, int], None]


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
        return _hash([[uid, *map(astuple, found)] for uid, found in sorted(self.slices.items())])

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
            key = _hash([code, [nodule.id for nodule in nodules], list(map(astuple, found))])
            part = self.work / "parts" / f"{uid}-{key[:16]}.npz"
            made.append(Job(tuple(nodules), found, self.root, part, self._ledger(uid)))
        return made

    def verify(self) -> int:
        """Read every slice again that was read before, and return their number.

        Raises:
            InputError: Some are not what they were.
        """
        ledgers = sorted((self.work / "ledger").glob("*.json"))
        faults = [f for path in ledgers for f in dicom.changed(self.root, self.slices.get(path.stem, ()), path)]
        if faults:
            shown = "; ".join(f"{fault.name}: {fault.reason}" for fault in faults[:3])
            more = f"; and {len(faults) - 3} more" if len(faults) > 3 else ""
            raise InputError(
                f"{len(faults)} slices are not what they were when they were first read ({shown}{more}): restore them, "
                f"or delete {self.work} to start from what is there now"
            )
        return sum(len(json.loads(path.read_text())) for path in ledgers)

    def _ledger(self, uid: str) -> Path:
        return self.work / "ledger" / f"{uid}.json"


def find(root: Path, work: Path, mapped: Mapped = map, progress: Progress | None = None) -> Survey:
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
    code = [Path(__file__).with_name(name).read_text("utf-8") for name in ("archive.py", "series.py")]
    reader = _hash([series.decoders(), *code])
    slices: dict[str, list[Slice]] = {}
    places = [(root, unit, work / "index" / f"{_hash([reader, unit.key])[:32]}.json") for unit in units]
    for done, (found, unusable) in enumerate(mapped(index, places), start=1):
        faults += unusable
        for one in found:
            slices.setdefault(one.series_uid, []).append(one)
        if progress is not None:
            progress(done, len(units))
    ordered = {uid: tuple(sorted(found, key=lambda one: (one.place, one.name))) for uid, found in slices.items()}
    return Survey(root, work, ordered, tuple(faults))


def index(place: tuple[Path, Unit, Path]) -> tuple[list[Slice], list[Fault]]:
    """Return the slices and faults of one unit, from its index file or, first, from its headers."""
    root, unit, path = place
    try:
        kept = json.loads(path.read_bytes())
        slices = [Slice(*map(_tuple, fields)) for fields in kept["slices"]]
        return slices, [Fault(*fields) for fields in kept["faults"]]
    except (OSError, ValueError, KeyError, TypeError):  # not there, or not whole
        slices, faults = [], []
    for file in archive.read(root, unit):
        if isinstance(file, Fault):
            faults.append(file)
            continue
        try:
            slices.append(series.read_header(file))
        except Refused as refused:
            faults.append(Fault(archive.label(file.place, file.name), str(refused)))
    kept = {"slices": list(map(astuple, slices)), "faults": list(map(astuple, faults))}
    with store.replacing(path) as stream:
        stream.write(json.dumps(kept).encode())
    return slices, faults


def root_of(root: Path | None) -> Path:
    """Return where the download lies: as given, or as pylidc's configuration file says.

    Raises:
        InputError: Neither names a folder or archive that is there.
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
        root, source = Path(path).expanduser(), str(config)
    if not (root.is_dir() or (root.is_file() and archive.is_archive(root.name))):
        raise InputError(f"{source} {str(root)!r} is neither a folder nor a zip or tar")
    return root.resolve()


def report(survey: Survey, jobs: Sequence[Job], scans: Sequence[Scan], everything: Sequence[Nodule]) -> dict[str, Any]:
    """Write all that came of a download to `prepare.json` in the work folder; return it in numbers.

    Args:
        survey: The download.
        jobs: All done.
        scans: Every scan of the database.
        everything: Every nodule of the database.
    """
    outcomes = {job.nodules[0].scan.series_uid: outcome for job in jobs if (outcome := dicom.load(job.part))}
    series_of = {
        "found": [_series(scan) for scan in scans if scan.series_uid in survey.slices],
        "missing": [_series(scan) for scan in scans if scan.series_uid not in survey.slices],
        "incomplete": [],
        "damaged": [],
    }
    faults = list(survey.faults)
    for scan in scans:
        found = survey.slices.get(scan.series_uid, ())
        at, _ = series.levels(found, scan)
        if found and len(at) < len(scan.slice_z_mm):
            series_of["incomplete"].append(_series(scan) | {"slices": len(at), "of": len(scan.slice_z_mm)})
        kept = outcomes.get(scan.series_uid)
        wrong = kept[1].faults if kept else [Fault(one.label, one.problem) for one in found if one.problem]
        faults += wrong
        if wrong:
            series_of["damaged"].append(_series(scan) | {"files": len(wrong)})
    known = {scan.series_uid for scan in scans}
    others = {uid: [one.label for one in found] for uid, found in survey.slices.items() if uid not in known}
    made = sum(len(kept[1].made) for kept in outcomes.values())
    left_out = {name: reason for kept in outcomes.values() for name, reason in kept[1].left_out.items()}
    absent = sum(nodule.scan.series_uid not in survey.slices for nodule in everything)
    text = {
        "root": str(survey.root),
        "series": series_of | {"not of LIDC-IDRI": others},
        "nodules": {"in the database": len(everything), "made": made, "left out": left_out, "series missing": absent},
        "files": [asdict(fault) for fault in sorted(set(faults), key=astuple)],
    }
    with store.replacing(survey.work / "prepare.json") as file:
        file.write(json.dumps(text, indent=1).encode())
    return {
        "series": {"in the database": len(scans)} | {kind: len(of_kind) for kind, of_kind in series_of.items()},
        "nodules": {"in the database": len(everything), "made": made, "left out": len(left_out)},
        "files that could not be used": len(set(faults)),
        "left out": left_out,
    }


def _series(scan: Scan) -> dict[str, Any]:
    return {"patient": scan.patient_id, "series": scan.series_uid}


def _tuple(value: Any) -> Any:
    """Return JSON's lists as the tuples they were."""
    return tuple(value) if isinstance(value, list) else value


def _hash(content: Any) -> str:
    return hashlib.sha256(json.dumps(content).encode()).hexdigest()
