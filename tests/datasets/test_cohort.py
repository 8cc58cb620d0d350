from pathlib import Path

import numpy as np
import pytest

import datasets
from benchmark.contracts import InputError
from datasets import cohort
from datasets.protocols import labels


@pytest.fixture(scope="module")
def path(tmp_path_factory):
    return cohort.prepare("phantom", tmp_path_factory.mktemp("cohorts"), nodules=12)


def test_the_package_is_ours():
    assert Path(datasets.__file__).parent == Path(__file__).parents[2] / "datasets"


def test_a_row_is_one_nodule_in_a_fixed_order(path, nodules):
    found = cohort.load(path)
    of_id = {nodule.id: (place, nodule) for place, nodule in enumerate(nodules)}
    places = [of_id[name][0] for name in found.nodule_ids]
    assert len(found) >= 12 and places == sorted(places)
    for row, name in enumerate(found.nodule_ids):
        nodule = of_id[name][1]
        assert found.reading_ids[row] == tuple(reading.id for reading in nodule.readings)
        assert (found.patient_ids[row], found.scan_ids[row]) == (nodule.scan.patient_id, nodule.scan.series_uid)
        assert (found.malignancy[row], found.diameter_mm[row]) == (nodule.malignancy, nodule.diameter_mm)
        assert found.ratings[row].tolist() == [nodule.rating(attribute) for attribute in datasets.ATTRIBUTES]
        np.testing.assert_array_equal(found.volumes[row], cohort.phantom.render(nodule))


def test_a_prepared_file_is_used_again(path, monkeypatch):
    monkeypatch.setattr(cohort, "choose", lambda count: pytest.fail("prepared again"))
    assert cohort.prepare("phantom", path.parent, nodules=12) == path


def test_the_name_carries_what_makes_the_file(path, monkeypatch):
    class Stop(Exception):
        pass

    def stop(count):
        raise Stop

    monkeypatch.setattr(cohort, "choose", stop)
    with pytest.raises(Stop):
        cohort.prepare("phantom", path.parent, nodules=13)
    with monkeypatch.context() as patch, pytest.raises(Stop):
        patch.setattr(cohort.readings, "database_hash", lambda: "another")
        cohort.prepare("phantom", path.parent, nodules=12)
    with monkeypatch.context() as patch, pytest.raises(Stop):
        patch.setattr(cohort, "_code_hash", lambda modules: "another")
        cohort.prepare("phantom", path.parent, nodules=12)
    assert path.name.startswith("phantom-12-") and list(path.parent.iterdir()) == [path]


def test_every_module_that_shapes_voxels_is_in_the_code_hash():
    other = {"__init__", "cohort", "store", "protocols", "folds", "gallery", "survey"}
    files = {file.stem for file in Path(cohort.__file__).parent.glob("*.py")} - other
    phantom, dicom = {"masks", "anatomy", "phantom"}, {"archive", "series", "dicom"}
    assert set(cohort.SOURCES["phantom"].modules) == files - dicom
    assert set(cohort.SOURCES["dicom"].modules) == files - phantom


def test_two_workers_give_the_bytes_of_one(path, tmp_path, monkeypatch):
    monkeypatch.setattr(cohort, "NODULES_PER_WORKER", 1)
    seen = []
    twin = cohort.prepare(
        "phantom", tmp_path / "new", nodules=12, workers=2, progress=lambda *counts: seen.append(counts)
    )
    assert twin.name == path.name and twin.read_bytes() == path.read_bytes()
    total = len(cohort.load(path))
    assert seen[-1] == (total, total) and seen == sorted(seen)


def test_a_failure_while_rendering_leaves_no_file(tmp_path, monkeypatch):
    def fail(nodules):
        raise OSError("no space left")

    monkeypatch.setitem(cohort.SOURCES, "phantom", cohort.Source(fail, ("phantom",), "a note"))
    with pytest.raises(OSError, match="no space"):
        cohort.prepare("phantom", tmp_path, nodules=3)
    assert list(tmp_path.iterdir()) == []


def test_a_sample_is_whole_patients_spread_over_all(nodules):
    sample = cohort.choose(200)
    assert 200 <= len(sample) < 220
    patients = {nodule.scan.patient_id for nodule in sample}
    assert [n.id for n in sample] == [n.id for n in nodules if n.scan.patient_id in patients]
    everyone = sorted({nodule.scan.patient_id for nodule in nodules})
    places = np.array([everyone.index(patient) for patient in sorted(patients)])
    assert np.diff(places).max() < 5 * len(everyone) / len(places)
    counts = np.bincount(labels(np.array([nodule.malignancy for nodule in sample]), "three"))
    assert len(counts) == 3 and counts.min() >= 25


@pytest.mark.parametrize(
    ("source", "options", "message"),
    [
        ("ct", {}, "unknown source 'ct': choose from phantom, dicom"),
        ("phantom", {"workers": 0}, "at least one worker"),
        ("phantom", {"nodules": 0}, "at least one worker and one nodule"),
    ],
)
def test_bad_input_is_refused_in_a_sentence(tmp_path, source, options, message):
    with pytest.raises(InputError, match=message):
        cohort.prepare(source, tmp_path, **options)
