"""Series: the nodules of one CT series as crops, and what kept others from being made.

A nodule is made only if every slice that its crop needs is there and sound: no crop is interpolated across a gap. Of
a series only those slices are read. Row and column indices are the readers'; z is ImagePositionPatient's. Rows must
be as far apart as the database says; columns may differ, and the crop is a cube in the world all the same.
"""

import json
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import msgspec
import numpy as np
from jaxtyping import Int16

from benchmark.files import replacing
from datasets import crops
from datasets.crops import SIZE, Box, Crop, Grid
from datasets.dicom.files import Fault
from datasets.dicom.headers import Slice
from datasets.dicom.images import Image, image_hash, read_images
from datasets.lidc import matching
from datasets.lidc.geometry import crop_of
from datasets.lidc.ledger import CHANGED, Ledger
from datasets.lidc.matching import SPACING_TOLERANCE
from datasets.lidc.nodules import Nodule
from datasets.lidc.readings import Scan

Volumes = Int16[np.ndarray, "nodules 32 32 32"]


@dataclass(frozen=True)
class Doubt:
    """Why what is left out of a series may be made another time, the series being what it is.

    Attributes:
        reason: What was in the way.
        passing: Whether it was a failure on the way, rather than an answer of the store's.
    """

    reason: str
    passing: bool


@dataclass(frozen=True)
class Job:
    """Nodules of one scan, and where all is that concerns its series.

    Attributes:
        nodules: At least one.
        slices: Whatever was found of the series.
        root: What the slices' places are relative to.
        part: The file that keeps the outcome.
        ledger: The file that keeps the hash of each slice from its first reading.
        faults: Files of the series that are no slices of it, or not to be had.
        lost: Why slices that are needed are not at their place, by label.
        doubt: Why there may be more of the series another time.
    """

    nodules: tuple[Nodule, ...]
    slices: tuple[Slice, ...]
    root: Path
    part: Path
    ledger: Path
    faults: tuple[Fault, ...] = ()
    lost: Mapping[str, str] = field(default_factory=dict)
    doubt: Doubt | None = None

    def __len__(self) -> int:
        return len(self.nodules)

    @property
    def scan(self) -> Scan:
        """The one scan of its nodules."""
        return self.nodules[0].scan


@dataclass
class Outcome:
    """What came of a series.

    Attributes:
        made: Ids of the nodules that were made.
        left_out: Why others were not, by id.
        faults: Files of the series that cannot be used.
        slices: How many of the scan's slices were found, of how many.
        doubt: Why those that were left out may be made another time; None where that is final.
    """

    made: list[str] = field(default_factory=list)
    left_out: dict[str, str] = field(default_factory=dict)
    faults: list[Fault] = field(default_factory=list)
    slices: tuple[int, int] = (0, 0)
    doubt: Doubt | None = None


def crop(job: Job) -> tuple[Volumes, Outcome]:
    """Return the crops of the nodules that can be made; they are made once and kept in the job's part file.

    What was left out for a reason that may pass is tried again.
    """
    kept = load(job.part)
    wanted = {nodule.id for nodule in job.nodules}
    if kept is None or kept[1].doubt or {*kept[1].made, *kept[1].left_out} != wanted:
        kept = make(job)
        outcome = json.dumps(msgspec.to_builtins(kept[1]))  # json, since a file's name may be no UTF-8
        with replacing(job.part) as file:
            np.savez(file, volumes=kept[0], outcome=np.array(outcome), name=np.array(job.part.name))
    return kept


def load(part: Path) -> tuple[Volumes, Outcome] | None:
    """Return what a part file keeps, or None where there is no whole one."""
    try:
        with part.open("rb") as file, np.load(file, allow_pickle=False) as stored:
            if stored.zip.testzip() is not None:  # an array that seems shorter than its member is read unchecked
                return None
            if str(stored["name"]) != part.name:  # another part in its place, of the same series perhaps
                return None
            return stored["volumes"], msgspec.convert(json.loads(str(stored["outcome"])), Outcome)
    except Exception:  # whatever is wrong with it, it is made again
        return None


def make(job: Job) -> tuple[Volumes, Outcome]:
    """Read the slices that the nodules need, and crop."""
    scan, plan = job.scan, _Plan(job.nodules, job.slices)
    outcome = Outcome(faults=[*job.faults, *plan.faults], slices=(len(plan.at), len(scan.slice_z_mm)))
    parts = {name: _Part(box) for name, box in plan.boxes.items()}
    wrong = _fill(job, plan.at, list(parts.values()), outcome.faults)
    made = []
    for name, part in parts.items():
        bad = sorted(part.levels & wrong.keys())
        if bad:
            more = f" ({len(bad)} of its {len(part.levels)} slices)"
            outcome.left_out[name] = f"the slice at z {scan.slice_z_mm[bad[0]]:g} mm: {wrong[bad[0]]}{more}"
        else:
            outcome.made.append(name)
            cube = crops.resample(part.hu, plan.grid.part(part.box), plan.crops[name])
            made.append(np.rint(cube).astype(np.int16))
    unread = next((fault.reason for fault in outcome.faults if fault.passing), "")
    if outcome.left_out and (job.doubt or unread):
        outcome.doubt = job.doubt or Doubt(unread, passing=True)
    return np.stack(made) if made else np.empty((0, SIZE, SIZE, SIZE), dtype=np.int16), outcome


def choose(nodules: Sequence[Nodule], slices: Sequence[Slice]) -> tuple[list[Slice], list[Slice]]:
    """Tell, by the headers of all that was found of a series, what `make` will do with it.

    Returns:
        The slices whose pixels it will read; and, if there is none at a height where one is needed, those that would
            not be used at any height of the scan's, or share one: if a header is wrong, it is one of theirs.
    """
    plan = _Plan(nodules, slices)
    readable = _readable(plan.at, plan.levels)
    if plan.levels <= set(readable.values()):
        return list(readable), []
    alone = {found[0].label for found in plan.at.values() if len(found) == 1 and not found[0].problem}
    return list(readable), [one for one in slices if one.label not in alone]


class _Plan:
    """Where the crops of a series lie in it, as far as headers tell.

    Attributes:
        faults: Slices that cannot be used.
        at: The slices at each index of the scan's.
        grid: The scan's grid.
        crops: Of each nodule, by id.
        boxes: The part of the scan that each needs, by id.
    """

    def __init__(self, nodules: Sequence[Nodule], slices: Iterable[Slice]) -> None:
        scan = nodules[0].scan
        checked = matching.alike(slices, scan)
        self.at, astray = matching.levels(checked, scan)
        self.faults = [Fault(one.label, one.problem) for one in checked if one.problem] + [
            Fault(one.label, f"z {one.position_mm[2]:g} mm is no slice of the scan")
            for one in astray
            if not one.problem
        ]
        self.grid = matching.grid(checked, scan)
        self.crops = {nodule.id: _crop(nodule, self.grid) for nodule in nodules}
        self.boxes = {name: crops.box_of(crop, self.grid) for name, crop in self.crops.items()}

    @property
    def levels(self) -> set[int]:
        """Indices of the scan's slices that any nodule needs."""
        return {level for box in self.boxes.values() for level in range(box[0].start, box[0].stop)}


def _readable(at: Mapping[int, Sequence[Slice]], needed: Collection[int]) -> dict[Slice, int]:
    """Return the slices to read, and the index of each."""
    return {one: level for level in needed if level in at for one in at[level] if not one.problem}


class _Part:
    """What a nodule's crop needs of a scan, as it is filled slice by slice."""

    def __init__(self, box: Box) -> None:
        self.box = box
        self.levels = set(range(box[0].start, box[0].stop))
        self.hu = np.full([side.stop - side.start for side in box], np.nan, dtype=np.float32)

    def put(self, level: int, image: Image) -> None:
        """Take what is needed of the scan's slice of this index."""
        if level in self.levels:
            self.hu[level - self.box[0].start] = image[self.box[1:]]


def _crop(nodule: Nodule, grid: Grid) -> Crop:
    """Return the nodule's crop; where columns are further apart than rows, its centre and volume follow."""
    crop = crop_of(nodule)
    stretch = np.array([1.0, *(grid.spacing_mm[1:] / nodule.scan.pixel_spacing_mm)])
    if np.abs(stretch - 1).max() <= SPACING_TOLERANCE:
        return crop
    return Crop(crop.centre_mm * stretch, crop.side_mm * float(stretch.prod()) ** (1 / 3))


def _fill(job: Job, at: dict[int, list[Slice]], parts: Sequence[_Part], faults: list[Fault]) -> dict[int, str]:
    """Read every slice that a part needs into the parts; return what is wrong, by index of the scan's slice."""
    needed = set[int]().union(*(part.levels for part in parts))
    wrong = {level: next((one.problem for one in at.get(level, ()) if one.problem), "missing") for level in needed}
    level_of = _readable(at, needed)
    ledger, first, twice = Ledger(job.ledger), dict[int, str](), dict[int, str]()
    for one, image in read_images(job.root, level_of):
        level = level_of[one]
        if not isinstance(image, str) and not ledger.agrees(one, image):
            image = CHANGED
        if isinstance(image, str):
            image = job.lost.get(one.label, image)
            faults.append(Fault(one.label, image))
            wrong[level] = image
        elif first.setdefault(level, image_hash(image)) == image_hash(image):
            for part in parts:
                part.put(level, image)
        else:
            faults.append(Fault(one.label, "another image stands at the same z"))
            twice[level] = "two different images stand there"
    ledger.write()
    return {level: reason for level, reason in wrong.items() if level not in first} | twice
