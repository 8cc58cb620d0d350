"""LIDC-IDRI's nodules from a phantom, which needs no download, and from a download of the real CT."""

import sys
from collections.abc import Iterable, Mapping, Sequence
from functools import cached_property
from itertools import groupby
from pathlib import Path
from typing import ClassVar

import numpy as np
from jaxtyping import Int16

from benchmark.contracts import Collection, InputError, Json, Made, NoduleInfo, Preparation
from datasets import crops
from datasets.code import code_hash
from datasets.dicom import archive, elements, files, headers, images, members
from datasets.lidc import geometry, ledger, matching, nodules, readings, report, series, survey
from datasets.lidc.nodules import Nodule
from datasets.lidc.phantom import anatomy, masks, render, scanner, structures
from datasets.lidc.series import Job
from datasets.lidc.survey import Survey
from datasets.work import Progress, mapping, room

NODULES_PER_PART = 64  # of the phantom: some seconds
UNTRUSTED = ("lobulation", "spiculation")  # where a scan is from the collection's first release

_THIS = sys.modules[__name__]  # what is said of nodules is part of a cohort, and of no crop
_SHARED = (readings, nodules, geometry, crops)
PHANTOM_CODE = (*_SHARED, masks, anatomy, structures, scanner, render)
DICOM_CODE = (*_SHARED, files, members, archive, elements, headers, images, matching, ledger, series)


class Lidc(Collection):
    """What all sources have in common: the database's nodules."""

    title = "LIDC"
    attribute_names = readings.ATTRIBUTES
    in_processes: ClassVar[bool] = True

    def nodules(self) -> list[NoduleInfo]:
        """Return every nodule, ascending by patient, scan and height."""
        return list(self._described)

    def patients(self) -> list[str]:
        """Return every patient of the database, with a nodule or scan or without: a sample is the same of each source.

        Of a download that lacks some patients it holds the next ones in the same order.
        """
        return self._patients

    def volume(self, nodule: NoduleInfo) -> Int16[np.ndarray, "32 32 32"]:
        """Return a nodule's crop.

        Raises:
            InputError: It cannot be made.
        """
        (part,) = self.ready(self.parts([nodule]))
        made = self.make(part)
        if made.left_out:
            raise InputError(f"the nodule {nodule.id} cannot be made: {made.left_out[nodule.id]}")
        return np.asarray(made.volumes[0])

    @cached_property
    def _scans(self) -> list[readings.Scan]:
        return readings.load()

    @cached_property
    def _patients(self) -> list[str]:
        return list(dict.fromkeys(scan.patient_id for scan in self._scans))

    @cached_property
    def _lidc(self) -> dict[str, Nodule]:
        return {nodule.id: nodule for scan in self._scans for nodule in nodules.cluster(scan)}

    @cached_property
    def _described(self) -> list[NoduleInfo]:
        return [describe(nodule) for nodule in self._lidc.values()]


class Phantom(Lidc):
    """Nodules rendered from the radiologists' outlines and ratings."""

    source = "phantom"
    note = (
        "Phantom: rendered from the radiologists' outlines and ratings, not CT; a rank of methods here is no "
        "evidence of their rank on CT."
    )

    def fingerprint(self) -> Json:
        """Return the hashes of the database and of the code that renders it."""
        return [readings.database_hash(), code_hash(*PHANTOM_CODE, _THIS)]

    def parts(self, nodules: Sequence[NoduleInfo]) -> list[list[Nodule]]:
        """Return the nodules, some of them at a time."""
        found = [self._lidc[nodule.id] for nodule in nodules]
        return [found[start : start + NODULES_PER_PART] for start in range(0, len(found), NODULES_PER_PART)]

    @staticmethod
    def make(part: Sequence[Nodule]) -> Made:
        """Render a part's nodules."""
        return Made(render.volumes(part))


class Dicom(Lidc):
    """Crops of a LIDC-IDRI download, whatever its folders and file names are.

    Attributes:
        survey: What was found of it.
    """

    source = "dicom"
    note = "CT: crops of the LIDC-IDRI scans themselves, in Hounsfield units."

    def __init__(
        self,
        root: Path | None,
        work: Path,
        *,
        workers: int = 1,
        progress: Progress | None = None,
        verify: bool = False,
    ) -> None:
        """Look through a download.

        Args:
            root: A folder, zip or tar; None asks pylidc's configuration file.
            work: The folder that keeps what is done of a download; made if missing.
            workers: Processes that read headers.
            progress: Called with the number of folders and archives done and their total.
            verify: Read every slice again that was read before.

        Raises:
            InputError: There is no such root, or the disk is full, or a slice is not what it was at its first reading.
        """
        root = survey.root_of(root)
        with room(work), mapping(workers) as mapped:
            self.survey: Survey = survey.find(root, work, mapped, progress)
            if verify:
                self.survey.verify()

    def nodules(self) -> list[NoduleInfo]:
        """Return the nodules whose series was found."""
        return [info for info in super().nodules() if info.scan_id in self.survey.slices]

    def fingerprint(self) -> Json:
        """Return the hashes of the database, of the code that crops, and of the slices found."""
        return [*self._made_by, code_hash(_THIS), self.survey.key]

    def parts(self, nodules: Sequence[NoduleInfo]) -> list[Job]:
        """Return the nodules scan by scan, with all that concerns their series."""
        return self.survey.jobs(by_scan(self._lidc[nodule.id] for nodule in nodules), "".join(self._made_by))

    @staticmethod
    def make(part: Job) -> Made:
        """Crop a scan's nodules, or read the crops that were made before."""
        volumes, outcome = series.crop(part)
        return Made(volumes, outcome.left_out)

    def preparation(self, parts: Sequence[Job], left_out: Mapping[str, str]) -> Preparation:
        """Write the report of what came of the download, and return it in numbers."""
        found = report.surveyed(self.survey, self._scans), report.outcomes(parts)
        return report.report(*found, self._scans, self._lidc.values())

    @cached_property
    def _made_by(self) -> list[str]:
        """What decides a series' crops beside its slices."""
        return [readings.database_hash(), code_hash(*DICOM_CODE)]


def describe(nodule: Nodule) -> NoduleInfo:
    """Return what the database says of a nodule."""
    scan = nodule.scan
    return NoduleInfo(
        id=nodule.id,
        patient_id=scan.patient_id,
        scan_id=scan.series_uid,
        reading_ids=tuple(reading.id for reading in nodule.readings),
        malignancy=tuple(float(reading.malignancy) for reading in nodule.readings),
        ratings=tuple(nodule.rating(name) for name in readings.ATTRIBUTES),
        trusted=tuple(not (scan.is_from_initial and name in UNTRUSTED) for name in readings.ATTRIBUTES),
        diameter_mm=nodule.diameter_mm,
        slice_thickness_mm=scan.slice_thickness_mm,
        strata={"is_from_initial": "yes" if scan.is_from_initial else "no"},
    )


def by_scan(found: Iterable[Nodule]) -> list[list[Nodule]]:
    """Cut a list of nodules where the scan changes."""
    return [list(group) for _, group in groupby(found, key=lambda nodule: nodule.scan.series_uid)]
