"""A folder as a collection, down to its cohort."""

import os

import numpy as np
import pytest

from benchmark.contracts import InputError
from ct import sphere, write
from datasets import cohort, open_collection, store
from datasets.folder import Folder


def test_title_source_and_note_come_from_the_folders_name(folder):
    found = Folder(folder({}))
    assert (found.title, found.source) == ("My-nodules-1", "folder-My-nodules-1")
    assert "nodules of the user's own" in found.note and "not checked" in found.note


def test_a_name_of_no_letters_still_names_files(tmp_path, folder):
    root = folder({}).rename(tmp_path / "äö")
    assert Folder(root).source == "folder-nodules"


def test_a_folder_makes_a_cohort(folder, crop, tmp_path):
    root = folder(
        {"label": "malignant", "patient_id": "b", "diameter_mm": 7, "stratum_site": "x"},
        {"label": "", "patient_id": "a", "malignancy": "2|3", "stratum_site": "y"},
        {"label": "unsure", "patient_id": "b", "stratum_site": ""},
    )
    found = store.load(cohort.prepare(open_collection(str(root)), tmp_path / "cohorts"))
    assert found.collection == "My-nodules-1" and found.nodule_ids == ("n0", "n2", "n1")  # a patient's stand together
    assert found.patient_ids == ("b", "b", "a") and found.given_labels.tolist() == [2, 1, -1]
    np.testing.assert_array_equal(found.malignancy, [np.nan, np.nan, 2.5])
    np.testing.assert_array_equal(found.diameter_mm, [7, np.nan, np.nan])
    assert found.strata == {"site": ("x", "", "y")} and found.attribute_names == ()
    np.testing.assert_array_equal(found.volumes, [crop] * 3)


@pytest.mark.parametrize("file", ["nodules.csv", "a.npy"])
def test_a_file_in_place_of_its_folder(folder, monkeypatch, file):
    root = folder({})
    with pytest.raises(InputError) as told:
        open_collection(str(root / file))
    assert str(told.value) == (
        f"--collection {str(root / file)!r} is a file: give the folder that holds it, {str(root)!r}"
    )
    monkeypatch.chdir(root)
    with pytest.raises(
        InputError, match=r"^--collection 'nodules\.csv' is a file: give the folder that holds it, '\.'$"
    ):
        open_collection("nodules.csv")


def test_two_processes_give_the_cohort_of_one(folder, tmp_path, monkeypatch):
    monkeypatch.setattr(cohort, "PARTS_PER_WORKER", 1)
    collection = Folder(folder({}, {}, {}))
    one = cohort.prepare(collection, tmp_path / "one")
    two = cohort.prepare(collection, tmp_path / "two", workers=2)
    assert one.read_bytes() == two.read_bytes()


def test_a_wrong_file_stops_the_preparation_in_any_process(folder, tmp_path, monkeypatch):
    monkeypatch.setattr(cohort, "PARTS_PER_WORKER", 1)
    root = folder({}, {"file": "b.npy"})
    np.save(root / "b.npy", np.zeros((32, 32, 32)))
    for workers in (1, 2):
        with pytest.raises(InputError, match=r"line 3: b\.npy holds values from 0 to 0, which cannot be"):
            cohort.prepare(Folder(root), tmp_path / "cohorts", workers=workers)
    assert not list((tmp_path / "cohorts").glob("*"))


def test_the_fingerprint_follows_the_table_and_the_files(folder, crop):
    found = [Folder(folder({})).fingerprint()]
    assert found == [Folder(folder({})).fingerprint()]
    root = folder({"diameter_mm": 5})
    found.append(Folder(root).fingerprint())
    np.save(root / "a.npy", crop + 1)
    os.utime(root / "a.npy", ns=(0, 1))
    found.append(Folder(root).fingerprint())
    np.save(root / "b.npy", crop)  # no row names it
    assert Folder(root).fingerprint() == found[-1]
    (root / "a.npy").write_bytes((root / "a.npy").read_bytes() + b"\0")
    os.utime(root / "a.npy", ns=(0, 1))
    found.append(Folder(root).fingerprint())
    assert len(set(map(str, found))) == 4


def test_the_fingerprint_follows_a_folder_of_slices(folder):
    root = folder({"file": "ct", "diameter_mm": 9})
    write(sphere(), root / "ct")
    found = [str(Folder(root).fingerprint())]
    os.utime(root / "ct" / "003.dcm", ns=(0, 1))
    found.append(str(Folder(root).fingerprint()))
    (root / "ct" / "004.dcm").unlink()
    found.append(str(Folder(root).fingerprint()))
    assert len(set(found)) == 3


def test_the_fingerprint_follows_the_code(folder, monkeypatch):
    collection = Folder(folder({}))
    before = collection.fingerprint()
    monkeypatch.setattr("datasets.folder.code_hash", lambda *modules: "another")
    assert collection.fingerprint() != before


def test_a_sample_is_of_whole_patients(folder):
    root = folder(*({"patient_id": f"p{number // 2}"} for number in range(20)))
    chosen = cohort.choose(Folder(root), 5)
    assert len(chosen) == 6 and len({nodule.patient_id for nodule in chosen}) == 3
