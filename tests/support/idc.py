"""Made-up patients as the Imaging Data Commons' bucket would hold them, under series UIDs that are really there."""

import argparse
import io
import json
import uuid
import zipfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from unittest import mock

import numpy as np
import pytest
from pydicom import dcmread
from rich.console import Console

from benchmark import commandline
from benchmark.commands._prepare import prepare as prepare_named
from benchmark.contracts import Cohort, InputError
from benchmark.recipe import PRESETS
from ct import Sphere, dataset, sphere
from datasets import samples, store
from datasets.idc import index
from datasets.lidc import readings
from datasets.lidc.readings import Reading, Scan
from objectstore import Front

SPACING_MM, RADIUS_MM, PIXELS = (2.5, 0.7, 0.7), 3.0, 48  # a slice is a little larger than what is read at first
APART = 10  # slices between two nodules of one patient: their crops share none
ALONE, PAIR = 12, 24  # slices of a series
NEEDED = 8  # slices that a nodule's crop needs


@dataclass(frozen=True)
class Patient:
    """A scan of one or more spheres one above the other, with a folder in the bucket."""

    scan: Scan
    spheres: tuple[Sphere, ...]
    folder: str

    @property
    def shape(self) -> tuple[int, int]:
        """Rows and columns."""
        return self.spheres[0].shape

    @property
    def spacing_mm(self) -> tuple[float, float]:
        """Between rows, between columns."""
        return self.spheres[0].spacing_mm

    def hu(self, level: int) -> np.ndarray:
        """Return a slice's true density, with some noise so that no two slices are alike."""
        noise = np.random.default_rng([level, *self.scan.series_uid.encode()]).integers(-30, 30, self.shape)
        return noise + np.max([one.hu(level) for one in self.spheres], axis=0)

    def objects(self, **changes) -> dict[str, bytes]:
        """Return every slice by its key; `changes` overwrite elements of each."""
        return {
            key(self.folder, level): encoded(self, level, number=level + 1, **changes)
            for level in range(len(self.scan.slice_z_mm))
        }


def key(folder: str, name: object) -> str:
    """Return an object's key, which says nothing of what it holds."""
    return f"{folder}/{uuid.uuid5(uuid.NAMESPACE_OID, f'{folder}{name}')}.dcm"


def encoded(of: Patient | Sphere, level: int, **changes) -> bytes:
    """Return a slice as a DICOM file's bytes."""
    hu = changes.pop("hu", None)
    one = dataset(
        of.scan, of.scan.slice_z_mm[level], of.hu(level) if hu is None else hu, list(of.spacing_mm), **changes
    )
    file = io.BytesIO()
    one.save_as(file, enforce_file_format=True)
    return file.getvalue()


def alone(
    series: str,
    patient: str,
    folder: str,
    first_id: int,
    *,
    slices: int = ALONE,
    pixels: int = PIXELS,
    radius_mm: float = RADIUS_MM,
) -> Patient:
    """Make a patient with one nodule in the middle."""
    counts = (slices, pixels, pixels)
    one = sphere(SPACING_MM, radius_mm, series=series, patient=patient, first_id=first_id, counts=counts)
    return Patient(one.scan, (one,), folder)


def pair(series: str, patient: str, folder: str, first_id: int) -> Patient:
    """Make a patient with two nodules."""
    made = alone(series, patient, folder, first_id, slices=PAIR)
    (middle,), (reading,) = made.spheres, made.scan.readings
    shifts = (-APART // 2, APART // 2)
    readings = tuple(_moved(reading, made.scan, first_id + n, shift) for n, shift in enumerate(shifts))
    scan = replace(made.scan, readings=readings)
    up = np.array([SPACING_MM[0], 0.0, 0.0])
    spheres = tuple(replace(middle, scan=scan, centre_mm=middle.centre_mm + shift * up) for shift in shifts)
    return Patient(scan, spheres, folder)


def _moved(reading: Reading, scan: Scan, number: int, shift: int) -> Reading:
    """Return a reading so many slices higher."""
    outlines = tuple(
        replace(one, z_mm=float(scan.slice_z_mm[one.slice_index + shift]), slice_index=one.slice_index + shift)
        for one in reading.outlines
    )
    return replace(reading, id=number, outlines=outlines)


def write(objects: dict[str, bytes], root: Path) -> Path:
    """Write a bucket's objects as a download."""
    for name, content in objects.items():
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)
    return root


def real_scan(archive: Path, folder: str) -> dict[str, bytes]:
    """Return the slices of a zip by the keys that they would have."""
    with zipfile.ZipFile(archive) as opened:
        names = sorted(name for name in opened.namelist() if name.endswith(".dcm"))
        return {key(folder, name): opened.read(name) for name in names}


def uncompressed(objects: dict[str, bytes]) -> bool:
    """Return whether every slice is as the bucket has it."""
    return all(not dcmread(io.BytesIO(one)).file_meta.TransferSyntaxUID.is_compressed for one in objects.values())


def listed() -> list[tuple[str, str, str]]:
    """Return the series UID, a made-up patient and the folder of each series with nodules, as the index has them."""
    needed = [(uid, one.folder) for uid, one in index.load().items() if one.needed]
    return [(uid, f"LIDC-IDRI-{9001 + number}", folder) for number, (uid, folder) in enumerate(needed)]


def pretend(patch: pytest.MonkeyPatch, patients: Sequence[Patient], objects: Mapping[str, bytes]) -> None:
    """Let these patients be the whole database, and these objects be what the index says of them.

    They are too few for folds, which would be refused before anything is fetched: that is left out here.
    """
    patch.setattr(samples, "refusal", lambda *_: lambda _: None)
    table = {}
    for one in patients:
        sizes = [len(content) for name, content in objects.items() if name.startswith(f"{one.folder}/")]
        table[one.scan.series_uid] = index.Series(one.folder, len(sizes), sum(sizes), NEEDED * len(one.spheres))
    patch.setattr(readings, "load", lambda: [one.scan for one in patients])
    patch.setattr(index, "load", lambda: table)


def prepare(*options: object) -> Cohort:
    """Prepare a cohort as `run_all.py` does with these options, in this process."""
    return store.load(prepared(parsed(*options)))


def fetch(front: Front | str, work: Path, *more: object, connections: int = 32, timeout_s: float = 1.0) -> Cohort:
    """Prepare a cohort from a server, or from what is at an address."""
    url = front if isinstance(front, str) else front.url
    options = ("--source", "idc", "--idc-endpoint", url, "--work", work, "--workers", 0)
    return prepare(*options, "--connections", connections, "--idc-timeout", timeout_s, *more)


def from_files(root: Path, work: Path) -> Cohort:
    """Prepare a cohort from a download."""
    return prepare("--source", "dicom", "--dicom-root", root, "--work", work, "--workers", 0)


def outcome(make: Callable[[], Cohort], work: Path, source: str) -> tuple[dict[str, bytes], dict[str, str]]:
    """Return the crops that were made, if any, and why others were left out, as the report has it."""
    try:
        made = crops(make())
    except InputError as error:
        assert "no nodule could be made" in str(error), error
        made = {}
    report = json.loads((work / "cohorts" / source / "prepare.json").read_text())
    return made, report["nodules"]["left out"]


def parsed(*options: object) -> argparse.Namespace:
    """Parse a command line."""
    return commandline.parse([str(option) for option in options])


def prepared(args: argparse.Namespace) -> Path:
    """Return the prepared file that a command line asks for, also of so few patients that no folds can be made."""
    with mock.patch.object(samples, "refusal", lambda *_: lambda _: None):
        return prepare_named(args, PRESETS["quick"], 1, Console(file=io.StringIO()))


def crops(cohort: Cohort) -> dict[str, bytes]:
    """Return each nodule's voxels by its id."""
    return {name: np.asarray(one).tobytes() for name, one in zip(cohort.nodule_ids, cohort.volumes, strict=True)}


def folders(objects: Sequence[str]) -> Iterator[str]:
    """Return the series' folder of each key."""
    return (name.partition("/")[0] for name in objects)
