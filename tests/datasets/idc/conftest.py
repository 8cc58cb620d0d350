"""A bucket of made-up patients, and their crops as `--source dicom` makes them of the same files."""

import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

import idc
from idc import Patient
from objectstore import Front, Objects, serving


@dataclass(frozen=True)
class Bucket:
    """What the bucket holds.

    Attributes:
        patients: Whose scans.
        objects: Every slice by its key.
        truth: Each nodule's voxels by its id.
    """

    patients: tuple[Patient, ...]
    objects: dict[str, bytes]
    truth: dict[str, bytes]


@pytest.fixture(scope="module")
def bucket(tmp_path_factory) -> Iterator[Bucket]:
    """Two patients, one with two nodules; for these tests they are the whole database."""
    first, second = idc.listed()[:2]
    patients = idc.alone(*first, 1), idc.pair(*second, 10)
    with pytest.MonkeyPatch.context() as patch:
        objects = patients[0].objects() | patients[1].objects()
        idc.pretend(patch, patients, objects)
        folder = tmp_path_factory.mktemp("truth")
        found = idc.from_files(idc.write(objects, folder / "ct"), folder / "work")
        assert len(found) == 3
        yield Bucket(patients, objects, idc.crops(found))


@pytest.fixture
def front(bucket) -> Iterator[Front]:
    with serving(Front(Objects(dict(bucket.objects)))) as front:
        yield front


@pytest.fixture(scope="session")
def shared_scan() -> Path:
    """The real scan of patient LIDC-IDRI-0001."""
    named = os.environ.get("LIDC_SHARED")
    path = Path(named or Path(__file__).parents[4] / "shared" / "data") / "LIDC-IDRI-0001.zip"
    if not path.is_file():
        pytest.skip("the real scan is not here: LIDC_SHARED names the folder that holds LIDC-IDRI-0001.zip")
    return path
