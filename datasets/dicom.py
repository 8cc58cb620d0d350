"""DICOM: the nodules of one CT series as crops, and what kept others from being made.

A nodule is made only if every slice that its crop needs is there and sound: no crop is interpolated across a gap. Of
a series only those slices are read. Row and column indices are the readers'; z is ImagePositionPatient's. Rows must
be as far apart as the database says; columns may differ, and the crop is a cube in the world all the same.
"""

import json
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import asdict, dataclass, field, replace
from itertools import groupby
from pathlib import Path

import numpy as np
from jaxtyping import Int16

from datasets import archive, crops, series, store
from datasets.archive import Fault, Refused, Unit
from datasets.crops import SIZE, Box, Crop, Grid
from datasets.nodules import Nodule
from datasets.readings import Scan
from datasets.series import SPACING_TOLERANCE, Image, Slice

CHANGED = "its pixels are not those of its first reading"

Volumes = Int16[np.ndarray, "nodules 32 32 32"]


@dataclass(frozen=True)
class Job:
    """Nodules of one scan, and where all is that concerns its series.

    Attributes:
        nodules: At least one.
        slices: Whatever was found of the series.
        root: What the slices' places are relative to.
        part: The file that keeps the outcome.
        ledger: The file that keeps the hash of each slice from its first reading.
    """

    nodules: tuple[Nodule, ...]
    slices: tuple[Slice, ...]
    root: Path
    part: Path
    ledger: Path

    def __len__(self) -> int:
        return len(self.nodules)


@dataclass
class Outcome:
    """What came of a series.

    Attributes:
        made: Ids of the nodules that were made.
        left_out: Why others were not, by id.
        faults: Files of the series that cannot be used.
    """

    made: list[str] = field(default_factory=list)
    left_out: dict[str, str] = field(default_factory=dict)
    faults: list[Fault] = field(default_factory=list)


def volumes(job: Job) -> Volumes:
    """Return the crops of the nodules that can be made; they are made once and kept in the job's part file."""
    kept = load(job.part)
    if kept is None:
        kept = make(job)
        with store.replacing(job.part) as file:
            np.savez(file, volumes=kept[0], outcome=np.array(json.dumps(asdict(kept[1]))))
    return kept[0]


def load(part: Path) -> tuple[Volumes, Outcome] | None:
    """Return what a part file keeps, or None where there is no whole one."""
    try:
        with part.open("rb") as file, np.load(file, allow_pickle=False) as stored:
            outcome = json.loads(str(stored["outcome"]))
            faults = [Fault(**fault) for fault in outcome.pop("faults")]
            return stored["volumes"], Outcome(**outcome, faults=faults)
    except Exception:  # whatever is wrong with it, it is made again
        return None


def make(job: Job) -> tuple[Volumes, Outcome]:
    """Read the slices that the nodules need, and crop."""
    scan = job.nodules[0].scan
    slices = _alike(job.slices, scan)
    outcome = Outcome(faults=[Fault(one.label, one.problem) for one in slices if one.problem])
    at, astray = series.levels(slices, scan)
    outcome.faults += [
        Fault(one.label, f"z {one.position_mm[2]:g} mm is no slice of the scan") for one in astray if not one.problem
    ]
    grid = _grid(slices, scan)
    crop_of = {nodule.id: _crop(nodule, grid) for nodule in job.nodules}
    parts = {name: _Part(crops.box_of(crop, grid)) for name, crop in crop_of.items()}
    wrong = _fill(job, at, list(parts.values()), outcome.faults)
    made = []
    for name, part in parts.items():
        bad = sorted(part.levels & wrong.keys())
        if bad:
            more = f" ({len(bad)} of its {len(part.levels)} slices)"
            outcome.left_out[name] = f"the slice at z {scan.slice_z_mm[bad[0]]:g} mm: {wrong[bad[0]]}{more}"
        else:
            outcome.made.append(name)
            made.append(np.rint(crops.resample(part.hu, grid.part(part.box), crop_of[name])).astype(np.int16))
    return np.stack(made) if made else np.empty((0, SIZE, SIZE, SIZE), dtype=np.int16), outcome


def changed(root: Path, slices: Sequence[Slice], ledger: Path) -> list[Fault]:
    """Read again every slice that was read before; return those that are not what they were."""
    first = _Ledger(ledger)
    wanted = [one for one in slices if one.sop_uid in first.hashes]
    faults = [
        Fault(f"{ledger.stem}, SOP instance {uid}", "is no longer there, or no longer readable")
        for uid in first.hashes.keys() - {one.sop_uid for one in wanted}
    ]
    for one, image in _images(root, wanted):
        if isinstance(image, str) or not first.agrees(one, image):
            faults.append(Fault(one.label, image if isinstance(image, str) else CHANGED))
    return faults


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


class _Ledger:
    """The hash of each slice at its first reading, by SOP instance UID."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.hashes: dict[str, str] = json.loads(path.read_text()) if path.is_file() else {}

    def agrees(self, one: Slice, image: Image) -> bool:
        """Return whether a slice is what it was at its first reading, which this may be."""
        found = series.image_hash(image)
        return self.hashes.setdefault(one.sop_uid, found) == found

    def write(self) -> None:
        """Keep it."""
        with store.replacing(self.path) as file:
            file.write(json.dumps(self.hashes, indent=0, sort_keys=True).encode())


def _alike(slices: Iterable[Slice], scan: Scan) -> list[Slice]:
    """Give a problem to slices whose spacing is not the database's, or whose frame is not that of the others."""
    checked = list(slices)
    for number, one in enumerate(checked):
        if not (one.problem or one.localizer) and not _close(one.spacing_mm[0], scan.pixel_spacing_mm):
            problem = f"its rows are {one.spacing_mm[0]:g} mm apart, the database says {scan.pixel_spacing_mm:g}"
            checked[number] = replace(one, problem=problem)
    sound = [one for one in checked if not (one.problem or one.localizer)]
    if not sound:
        return checked
    shape = Counter(one.shape for one in sound).most_common(1)[0][0]
    x, y = np.median([one.position_mm[:2] for one in sound], axis=0)
    column_mm = float(np.median([one.spacing_mm[1] for one in sound]))
    for number, one in enumerate(checked):
        shift = max(abs(one.position_mm[0] - x), abs(one.position_mm[1] - y))
        alike = one.shape == shape and _close(one.spacing_mm[1], column_mm) and shift < scan.pixel_spacing_mm / 2
        if not (alike or one.problem or one.localizer):
            problem = "its size, spacing or x and y position is not that of the series' other slices"
            checked[number] = replace(one, problem=problem)
    return checked


def _close(found_mm: float, wanted_mm: float) -> bool:
    return abs(found_mm / wanted_mm - 1) <= SPACING_TOLERANCE


def _grid(slices: Sequence[Slice], scan: Scan) -> Grid:
    """Return the scan's grid: z from the database, rows and columns from a sound slice if there is any."""
    for one in slices:
        if not (one.problem or one.localizer):
            return Grid(
                scan.slice_z_mm, *(step * np.arange(n) for step, n in zip(one.spacing_mm, one.shape, strict=True))
            )
    return crops.grid_of(scan)


def _crop(nodule: Nodule, grid: Grid) -> Crop:
    """Return the nodule's crop; where columns are further apart than rows, its centre and volume follow."""
    crop = crops.crop_of(nodule)
    stretch = np.array([1.0, *(grid.spacing_mm[1:] / nodule.scan.pixel_spacing_mm)])
    if np.abs(stretch - 1).max() <= SPACING_TOLERANCE:
        return crop
    return Crop(crop.centre_mm * stretch, crop.side_mm * float(stretch.prod()) ** (1 / 3))


def _fill(job: Job, at: dict[int, list[Slice]], parts: Sequence[_Part], faults: list[Fault]) -> dict[int, str]:
    """Read every slice that a part needs into the parts; return what is wrong, by index of the scan's slice."""
    needed = set[int]().union(*(part.levels for part in parts))
    wrong = {level: next((one.problem for one in at.get(level, ()) if one.problem), "missing") for level in needed}
    level_of = {one: level for level in needed & at.keys() for one in at[level] if not one.problem}
    ledger, first, twice = _Ledger(job.ledger), dict[int, str](), dict[int, str]()
    for one, image in _images(job.root, level_of):
        level = level_of[one]
        if not isinstance(image, str) and not ledger.agrees(one, image):
            image = CHANGED
        if isinstance(image, str):
            faults.append(Fault(one.label, image))
            wrong[level] = image
        elif first.setdefault(level, series.image_hash(image)) == series.image_hash(image):
            for part in parts:
                part.put(level, image)
        else:
            faults.append(Fault(one.label, "another image stands at the same z"))
            twice[level] = "two different images stand there"
    ledger.write()
    return {level: reason for level, reason in wrong.items() if level not in first} | twice


def _images(root: Path, slices: Iterable[Slice]) -> Iterator[tuple[Slice, Image | str]]:
    """Read slices in the order in which they are stored; in place of one that cannot be read, say why."""
    for place, group in groupby(sorted(slices, key=lambda one: (one.place, one.name)), key=lambda one: one.place):
        of_name = {one.name: one for one in group}
        stamps = tuple((one.name, one.stamp) for one in of_name.values())
        reasons: dict[str, str] = {}
        unit = Unit(place, ((("", stamps[0][1]),) if archive.is_archive(place) else stamps))
        for file in archive.read(root, unit, of_name):
            if isinstance(file, Fault):
                reasons[file.name] = file.reason
                continue
            one = of_name.pop(file.name)
            try:
                yield one, series.read_image(file, one)
            except Refused as refused:
                yield one, str(refused)
            except Exception as error:  # a damaged archive raises many kinds
                yield one, f"damaged ({type(error).__name__}: {error})"
        for one in of_name.values():
            yield one, reasons.get(one.label, reasons.get(place, "no longer there"))
