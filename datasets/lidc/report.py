"""Report: what came of a download, series by series and file by file."""

import json
from collections.abc import Sequence
from dataclasses import asdict, astuple

from benchmark.contracts import Json, Preparation
from benchmark.files import write_atomically
from datasets.dicom.files import Fault
from datasets.lidc import matching, series
from datasets.lidc.nodules import Nodule
from datasets.lidc.readings import Scan
from datasets.lidc.series import Job
from datasets.lidc.survey import Survey

NAME = "prepare.json"


def report(survey: Survey, jobs: Sequence[Job], scans: Sequence[Scan], everything: Sequence[Nodule]) -> Preparation:
    """Write all that came of a download to `prepare.json` in the work folder; return it in numbers.

    Args:
        survey: The download.
        jobs: All done.
        scans: Every scan of the database.
        everything: Every nodule of the database.
    """
    outcomes = {job.nodules[0].scan.series_uid: outcome for job in jobs if (outcome := series.load(job.part))}
    series_of: dict[str, list[Json]] = {
        "found": [_series(scan) for scan in scans if scan.series_uid in survey.slices],
        "missing": [_series(scan) for scan in scans if scan.series_uid not in survey.slices],
        "incomplete": [],
        "damaged": [],
    }
    faults = list(survey.faults)
    for scan in scans:
        found = survey.slices.get(scan.series_uid, ())
        at, _ = matching.levels(found, scan)
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
        "nodules": {
            "in the database": len(everything),
            "asked for": sum(map(len, jobs)),
            "made": made,
            "left out": left_out,
            "series missing": absent,
        },
        "files": [asdict(fault) for fault in sorted(set(faults), key=astuple)],
    }
    write_atomically(survey.work / NAME, json.dumps(text, indent=1))
    counts = {kind: len(of_kind) for kind, of_kind in series_of.items()} | {"foreign": len(others)}
    return Preparation(len(everything), made, left_out, counts, len(set(faults)), str(survey.work / NAME))


def _series(scan: Scan) -> dict[str, Json]:
    return {"patient": scan.patient_id, "series": scan.series_uid}
