"""Report: what came of a download, series by series and file by file."""

import json
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import asdict, astuple, dataclass, field
from pathlib import Path

from benchmark.contracts import Json, Preparation
from benchmark.files import write_atomically
from datasets.dicom.files import Fault
from datasets.lidc import matching, series
from datasets.lidc.nodules import Nodule
from datasets.lidc.readings import Scan
from datasets.lidc.series import Job, Outcome
from datasets.lidc.survey import Survey

NAME = "prepare.json"


@dataclass(frozen=True)
class Download:
    """What is known of a download, in whatever way it came.

    Attributes:
        root: Where it lies.
        work: The work folder.
        slices: How many of a scan's slices were found, by series UID; a series of which nothing was is not there.
        damaged: Slices that cannot be used, as far as headers tell, by series UID.
        faults: Files that belong to no series.
        foreign: Files of series that are not LIDC-IDRI's, by series UID.
    """

    root: str
    work: Path
    slices: Mapping[str, int]
    damaged: Mapping[str, list[Fault]] = field(default_factory=dict)
    faults: Sequence[Fault] = ()
    foreign: Mapping[str, list[str]] = field(default_factory=dict)


def surveyed(survey: Survey, scans: Sequence[Scan]) -> Download:
    """Return what a survey found of the database's scans."""
    uids = [scan.series_uid for scan in scans]
    found = {uid: (scan, survey.slices[uid]) for uid, scan in zip(uids, scans, strict=True) if uid in survey.slices}
    slices = {uid: len(matching.levels(of, scan)[0]) for uid, (scan, of) in found.items()}
    damaged = {uid: [Fault(one.label, one.problem) for one in of if one.problem] for uid, (_, of) in found.items()}
    foreign = {uid: [one.label for one in of] for uid, of in survey.slices.items() if uid not in found}
    return Download(str(survey.root), survey.work, slices, damaged, survey.faults, foreign)


def outcomes(jobs: Iterable[Job]) -> dict[str, Outcome]:
    """Return what came of jobs, by series UID."""
    return {job.scan.series_uid: kept[1] for job in jobs if (kept := series.load(job.part))}


def report(
    download: Download, of: Mapping[str, Outcome], scans: Sequence[Scan], everything: Collection[Nodule]
) -> Preparation:
    """Write all that came of a download to `prepare.json` in the work folder; return it in numbers.

    Args:
        download: What was found.
        of: The outcome of each series that was cropped.
        scans: The scans that were looked for.
        everything: Every nodule of the database.
    """
    series_of: dict[str, list[Json]] = {
        "found": [_series(scan) for scan in scans if scan.series_uid in download.slices],
        "missing": [_series(scan) for scan in scans if scan.series_uid not in download.slices],
        "incomplete": [],
        "damaged": [],
    }
    faults = list(download.faults)
    for scan in scans:
        uid, total = scan.series_uid, len(scan.slice_z_mm)
        if (count := download.slices.get(uid, total)) < total:
            series_of["incomplete"].append(_series(scan) | {"slices": count, "of": total})
        wrong = of[uid].faults if uid in of else download.damaged.get(uid, [])
        faults += wrong
        if wrong:
            series_of["damaged"].append(_series(scan) | {"files": len(wrong)})
    made = sum(len(one.made) for one in of.values())
    left_out = {name: reason for one in of.values() for name, reason in one.left_out.items()}
    again = [name for one in of.values() if one.doubt for name in one.left_out]
    looked_for = {scan.series_uid for scan in scans}
    absent = sum(n.scan.series_uid in looked_for and n.scan.series_uid not in download.slices for n in everything)
    text = {
        "root": download.root,
        "series": series_of | {"not of LIDC-IDRI": dict(download.foreign)},
        "nodules": {
            "in the database": len(everything),
            "asked for": sum(len(one.made) + len(one.left_out) for one in of.values()),
            "made": made,
            "left out": left_out,
            "tried again by the next run": again,
            "series missing": absent,
        },
        "files": [asdict(fault) for fault in sorted(set(faults), key=astuple)],
    }
    write_atomically(download.work / NAME, json.dumps(text, indent=1))
    counts = {kind: len(of_kind) for kind, of_kind in series_of.items()} | {"foreign": len(download.foreign)}
    where = str(download.work / NAME)
    return Preparation(len(everything), made, left_out, counts, len(set(faults)), where, tuple(again))


def _series(scan: Scan) -> dict[str, Json]:
    return {"patient": scan.patient_id, "series": scan.series_uid}
