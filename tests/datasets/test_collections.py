from pathlib import Path

import numpy as np
import pytest

import datasets
from benchmark.contracts import Collection, InputError, NoduleInfo
from datasets import COLLECTIONS, SOURCES, cohort, open_collection, open_source, register
from datasets.folder import Folder
from datasets.lidc.collections import Dicom, Phantom


@pytest.fixture(autouse=True)
def registry(monkeypatch):
    """Each test has a registry of its own."""
    for key in list(COLLECTIONS):
        monkeypatch.delitem(COLLECTIONS, key)
    yield
    COLLECTIONS.clear()


def test_a_registered_collection_is_opened_by_its_key(toy):
    register("my_ct_2", lambda: toy(("a", "benign")))
    assert open_collection("my_ct_2").title == "Toy"


def test_a_class_can_be_registered():
    register("again", Phantom)
    assert isinstance(open_collection("again"), Phantom)


@pytest.mark.parametrize("key", ["", "My", "my-ct", "a b", "ü", "../x", "2d"])
def test_a_key_that_could_not_be_typed_or_stored_is_refused(key):
    with pytest.raises(ValueError, match="must be lower-case letters, digits and underscores"):
        register(key, Phantom)
    assert COLLECTIONS == {}


def test_a_key_that_is_taken_is_refused():
    register("mine", Phantom)
    with pytest.raises(ValueError, match="the collection key 'mine' is taken: register yours under another"):
        register("mine", Dicom)
    assert COLLECTIONS == {"mine": Phantom}


def test_a_registered_key_goes_before_a_folder(tmp_path, monkeypatch):
    (tmp_path / "mine").mkdir()
    monkeypatch.chdir(tmp_path)
    register("mine", Phantom)
    assert isinstance(open_collection("mine"), Phantom)


def test_a_folder_is_opened_by_its_path(tmp_path):
    (tmp_path / "a").touch()
    (tmp_path / "nodules.csv").write_text("nodule_id,patient_id,file,label\n")
    with pytest.raises(InputError, match="holds no nodule"):  # it is read as a folder
        open_collection(str(tmp_path))
    assert issubclass(Folder, datasets.Collection)


def test_what_is_neither_is_refused_with_the_keys_and_the_nearest():
    with pytest.raises(InputError, match=r"'gone' is neither a registered collection nor a folder.*none is registered"):
        open_collection("gone")
    register("mine", Phantom)
    register("other", Phantom)
    with pytest.raises(InputError, match="registered are mine, other; did you mean 'mine'"):
        open_collection("mien")


def test_each_source_says_what_its_voxels_are():
    assert list(SOURCES) == ["phantom", "dicom", "idc"]
    assert SOURCES["phantom"].note.startswith("Phantom: ") and SOURCES["dicom"].note.startswith("CT: ")
    assert {key: kind.source for key, kind in SOURCES.items()} == {key: key for key in SOURCES}
    assert SOURCES["idc"].note.startswith("CT: ") and "Imaging Data Commons" in SOURCES["idc"].note
    assert {kind.title for kind in SOURCES.values()} == {"LIDC"}


def test_the_phantom_needs_nothing(tmp_path):
    assert isinstance(open_source("phantom", tmp_path), Phantom) and not list(tmp_path.iterdir())


def test_a_download_keeps_what_is_done_beside_the_cohorts(tmp_path):
    (tmp_path / "ct").mkdir()
    seen = []
    (tmp_path / "ct" / "x").touch()
    found = open_source(
        "dicom", tmp_path / "cohorts", dicom_root=tmp_path / "ct", progress=lambda *counts: seen.append(counts)
    )
    assert isinstance(found, Dicom) and found.survey.work == tmp_path / "cohorts" / "dicom" and seen == [(1, 1)]


@pytest.mark.parametrize(
    ("key", "options", "sentence"),
    [
        ("ct", {}, "there is no source 'ct': choose from phantom, dicom"),
        ("fantom", {}, "did you mean 'phantom'"),
        ("phantom", {"verify": True}, "--dicom-root and --verify are for a download, not for --source phantom"),
        ("phantom", {"dicom_root": Path(".")}, "are for a download, not for --source phantom"),
        ("dicom", {"dicom_root": Path("/no/where")}, "--dicom-root '/no/where' is neither a folder nor a zip or tar"),
    ],
)
def test_what_does_not_fit_a_source_is_refused(tmp_path, key, options, sentence):
    with pytest.raises(InputError, match=sentence):
        open_source(key, tmp_path, **options)


class Bare(Collection):
    def nodules(self):
        return [NoduleInfo("n1", "p1", label="benign")]

    def volume(self, nodule):
        raise FileNotFoundError(2, "No such file or directory", "n1.npy")


@pytest.mark.parametrize("missing", ["title", "source", "note"])
def test_a_collection_without_a_title_a_source_or_a_note_is_refused(tmp_path, missing):
    given = {name: "x" for name in ("title", "source", "note") if name != missing}
    with pytest.raises(InputError, match=f"the collection Made has no {missing}: give its class one"):
        cohort.prepare(type("Made", (Bare,), given)(), tmp_path)


def test_what_a_collection_raises_names_the_nodule(tmp_path):
    made = type("Made", (Bare,), {"title": "Mine", "source": "mine", "note": "Made up."})
    sentence = r"the collection Mine cannot make the nodule n1: FileNotFoundError: .*n1\.npy"
    with pytest.raises(InputError, match=sentence):
        cohort.prepare(made(), tmp_path)


def test_another_note_or_title_is_another_cohort(tmp_path):
    given = {"title": "Mine", "source": "mine", "note": "Made up.", "volume": lambda self, nodule: VOLUME}
    made = [cohort.prepare(type("Made", (Bare,), given | change)(), tmp_path) for change in CHANGES]
    assert len(set(made)) == len(CHANGES)


VOLUME = np.full((32, 32, 32), -500, dtype=np.int16)
CHANGES = ({}, {"note": "Other."}, {"title": "Other"})
