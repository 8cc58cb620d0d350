from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

import datasets
from benchmark.contracts import InputError
from ct import sphere, write
from datasets.lidc import collections, readings
from datasets.lidc.collections import DICOM_CODE, PHANTOM_CODE, Dicom, describe
from datasets.lidc.phantom import render


def test_a_nodule_is_described_whole(square):
    nodule = square([(10, 20, 30, 5)], [(10, 20, 30, 7)], texture=2)
    first, second = nodule.readings
    nodule = replace(nodule, readings=(replace(first, malignancy=2), replace(second, malignancy=5)))
    told = describe(nodule)
    assert (told.id, told.patient_id, told.scan_id) == ("LIDC-IDRI-9999-r1", "LIDC-IDRI-9999", "1.2.3")
    assert told.reading_ids == (1, 2) and told.malignancy == (2.0, 5.0) and told.label == ""
    assert told.ratings == (5, 5, 6, 5, 5, 5, 5, 2)
    assert told.diameter_mm == nodule.diameter_mm and told.slice_thickness_mm == 2.0


def test_lobulation_and_spiculation_of_the_first_release_are_not_trusted(square):
    nodule = square([(10, 20, 30, 5)])
    told = describe(replace(nodule, scan=replace(nodule.scan, is_from_initial=True)))
    assert told.strata == {"is_from_initial": "yes"}
    untrusted = {name for name, trusted in zip(readings.ATTRIBUTES, told.trusted, strict=True) if not trusted}
    assert untrusted == {"lobulation", "spiculation"}
    told = describe(nodule)
    assert told.strata == {"is_from_initial": "no"} and told.trusted == (True,) * 8


def test_the_phantom_holds_every_nodule_and_every_patient(phantom, nodules):
    assert [one.id for one in phantom.nodules()] == [nodule.id for nodule in nodules]
    assert len(phantom.patients()) == 1010 and phantom.patients() == sorted(phantom.patients())


def test_the_phantoms_parts_hold_each_nodule_once_in_order(phantom, nodules, monkeypatch):
    monkeypatch.setattr(collections, "NODULES_PER_PART", 7)
    parts = phantom.parts(phantom.nodules()[:20])
    assert [len(part) for part in parts] == [7, 7, 6]
    assert [nodule.id for part in parts for nodule in part] == [nodule.id for nodule in nodules[:20]]


def test_a_volume_of_the_phantom_is_its_rendering(phantom, nodules):
    np.testing.assert_array_equal(phantom.volume(phantom.nodules()[7]), render.render(nodules[7]))


def test_the_phantoms_fingerprint_follows_the_database_and_the_code(phantom, monkeypatch):
    found = [phantom.fingerprint(), phantom.fingerprint()]
    with monkeypatch.context() as patch:
        patch.setattr(readings, "database_hash", lambda: "another")
        found.append(phantom.fingerprint())
    monkeypatch.setattr(collections, "code_hash", lambda *modules: "another")
    found.append(phantom.fingerprint())
    assert found[0] == found[1] and found[0] != found[2] != found[3] != found[0]


def test_every_module_that_shapes_voxels_is_in_the_code_hash():
    root = Path(datasets.__file__).parent
    of = {
        path: {file.stem for file in (root / path).glob("*.py")} - {"__init__"}
        for path in ("lidc", "lidc/phantom", "dicom")
    }
    others = {"collections", "survey", "report", "outlines", "idc"}  # shape no voxel
    shared = {"readings", "nodules", "geometry", "crops"}
    for modules, own in (
        (PHANTOM_CODE, of["lidc/phantom"] - {"gallery"}),
        (DICOM_CODE, (of["dicom"] - {"stack"}) | (of["lidc"] - others - shared)),
    ):
        assert {module.__name__.rpartition(".")[2] for module in modules} == shared | own


@pytest.fixture
def download(tmp_path, monkeypatch):
    """One sphere whose scan is there, and one whose scan is not."""
    made = [sphere(series=f"1.{n}", patient=f"LIDC-IDRI-900{n}", first_id=n) for n in (1, 2)]
    monkeypatch.setattr(readings, "load", lambda: [one.scan for one in made])
    write(made[0], tmp_path / "ct")
    return tmp_path / "ct"


def test_a_download_holds_the_nodules_whose_series_is_there(download, tmp_path):
    assert [one.id for one in Dicom(download, tmp_path / "work").nodules()] == ["LIDC-IDRI-9001-r1"]


def test_a_volume_of_a_download_is_its_crop_or_a_sentence(download, tmp_path):
    collection = Dicom(download, tmp_path / "work")
    (nodule,) = collection.nodules()
    assert collection.volume(nodule)[16, 16, 16] == 50
    (download / "010.dcm").unlink()
    collection = Dicom(download, tmp_path / "work")
    with pytest.raises(InputError, match=r"LIDC-IDRI-9001-r1 cannot be made: the slice at z -80 mm: missing"):
        collection.volume(nodule)


def test_a_downloads_fingerprint_follows_slices_database_and_code(download, tmp_path, monkeypatch):
    found = [str(Dicom(download, tmp_path / "work").fingerprint()) for _ in range(2)]
    assert found[0] == found[1]
    with monkeypatch.context() as patch:
        patch.setattr(readings, "database_hash", lambda: "another")
        found.append(str(Dicom(download, tmp_path / "work").fingerprint()))
    with monkeypatch.context() as patch:
        patch.setattr(collections, "code_hash", lambda *modules: "another")
        found.append(str(Dicom(download, tmp_path / "work").fingerprint()))
    (download / "010.dcm").unlink()
    found.append(str(Dicom(download, tmp_path / "work").fingerprint()))
    assert len(set(found)) == 4


def test_what_is_said_of_nodules_makes_another_cohort_but_no_other_crop(download, tmp_path, monkeypatch):
    before, hashed = Dicom(download, tmp_path / "work"), collections.code_hash
    kept = before.fingerprint(), before.parts(before.nodules())
    monkeypatch.setattr(collections, "code_hash", lambda *of: hashed(*of) + "changed" * (collections in of))
    after = Dicom(download, tmp_path / "work")
    assert after.fingerprint() != kept[0] and after.parts(after.nodules())[0].part == kept[1][0].part
