import csv
import os
import pickle
from copy import copy
from dataclasses import fields, replace

import numpy as np
import pytest

from benchmark.contracts import Cohort, InputError, Preparation, Provenance
from datasets import ATTRIBUTES, store

PREPARATION = Preparation(9, 4, {"d-r9": "a slice is missing"}, {"found": 3}, 1, "prepare.json")


@pytest.fixture
def cohort():
    random, nan = np.random.default_rng(0), np.nan
    made = Cohort(
        collection="LIDC",
        source="phantom",
        note="Phantom.",
        volumes=random.integers(-1000, 1500, (4, 32, 32, 32)).astype(np.int16),
        nodule_ids=("a-r1", "a-r2", "b-r5", "c-r6"),
        scan_ids=("1.1", "1.1", "1.2", "1.3"),
        patient_ids=("a", "a", "b", "c"),
        reading_ids=((1,), (2, 3, 4), (), (6, 7)),
        n_readers=np.array([1, 3, 0, 2]),
        reader_malignancy=np.array([[1.0, nan, nan], [2, 4, 4], [nan, nan, nan], [2, 3, nan]]),
        malignancy=np.array([1.0, 10 / 3, nan, 2.5]),
        given_labels=np.array([-1, -1, 2, -1]),
        ratings=random.integers(1, 6, (4, 8)) / 1.0,
        trusted=random.random((4, 8)) < 0.5,
        attribute_names=ATTRIBUTES,
        diameter_mm=np.array([4.0, 5.5, nan, 7.0]),
        slice_thickness_mm=np.array([1.25, nan, 2.5, 3.0]),
        strata={"is_from_initial": ("no", "yes", "no", "no"), "site": ("x", "", "y", "x")},
        content_hash="",
        provenance=Provenance(None, "f" * 64, PREPARATION),
    )
    return replace(made, content_hash=store.content_hash(made))


@pytest.fixture
def path(cohort, tmp_path):
    store.write(cohort, tmp_path / "cohort.npz")
    return tmp_path / "cohort.npz"


def test_a_cohort_comes_back_whole(cohort, path):
    found = store.load(path)
    for field in fields(Cohort):
        expected, value = getattr(cohort, field.name), getattr(found, field.name)
        assert isinstance(value, type(expected)), field.name
        np.testing.assert_array_equal(value, expected) if isinstance(value, np.ndarray) else None
        assert isinstance(value, np.ndarray) or value == expected


def test_a_prepared_file_is_found_by_its_content_hash_among_others(cohort, path):
    (path.parent / "a.npz").write_bytes(b"no cohort")
    other = replace(cohort, note="Another.")
    store.write(replace(other, content_hash=store.content_hash(other)), path.parent / "b.npz")
    assert store.find(path.parent, cohort.content_hash) == path
    assert store.find(path.parent, "0" * 64) is None and store.find(path.parent / "none", cohort.content_hash) is None


def test_the_same_cohort_gives_the_same_bytes(cohort, path, tmp_path):
    store.write(cohort, tmp_path / "again.npz")
    assert (tmp_path / "again.npz").read_bytes() == path.read_bytes()


def test_a_cohort_without_a_preparation_comes_back(cohort, tmp_path):
    plain = replace(cohort, provenance=Provenance(200, "f", None))
    store.write(plain, tmp_path / "plain.npz")
    assert store.load(tmp_path / "plain.npz").provenance == plain.provenance


def test_the_hash_covers_everything_but_the_provenance(cohort):
    assert store.content_hash(replace(cohort, provenance=Provenance(3, "", None))) == cohort.content_hash
    changed = {
        "collection": "Toy",
        "source": "dicom",
        "note": "CT.",
        "volumes": cohort.volumes + np.int16(1),
        "strata": {"is_from_initial": cohort.strata["is_from_initial"]},
    }
    unchanged = {field.name for field in fields(Cohort)} - changed.keys() - {"content_hash", "provenance"}
    changed |= {name: getattr(cohort, name)[::-1] for name in unchanged}
    for name, value in changed.items():
        assert store.content_hash(replace(cohort, **{name: value})) != cohort.content_hash, name


def test_the_hash_covers_kind_and_shape_of_numbers(cohort):
    for value in (cohort.volumes.reshape(4, 64, 16, 32), cohort.volumes.view(np.uint16)):
        other = copy(cohort)
        vars(other)["volumes"] = value  # past the type checker of the tests
        assert store.content_hash(other) != cohort.content_hash


def test_a_cohort_is_opened_once_in_a_process(path):
    assert store.open_once(path) is store.open_once(path)
    assert store.open_once(path.parent / ".." / path.parent.name / path.name) is store.open_once(
        path
    )  # by whatever name
    assert store.open_once(path).content_hash == store.load(path).content_hash
    assert pickle.loads(pickle.dumps(store.open_once)) is store.open_once


def test_voxels_are_mapped_and_cannot_be_written_to(cohort, path):
    volumes = store.load(path).volumes
    assert isinstance(volumes, np.memmap) and volumes.mode == "r" and not volumes.flags.writeable
    assert volumes.flags.aligned and volumes.ctypes.data % 64 == 0
    assert type(volumes[[2, 0]]) is np.ndarray and volumes[[2, 0]].flags.writeable  # rows are a copy in memory
    np.testing.assert_array_equal(volumes[[2, 0]], cohort.volumes[[2, 0]])


def test_numpy_reads_the_file_and_reads_back_what_numpy_wrote(cohort, path, tmp_path):
    with np.load(path) as stored:
        arrays = dict(stored)
    np.testing.assert_array_equal(arrays["volumes"], cohort.volumes)
    np.savez(tmp_path / "plain.npz", **arrays)  # as cohorts were written before their voxels were mapped
    found = store.load(tmp_path / "plain.npz")
    assert isinstance(found.volumes, np.memmap) and found.content_hash == cohort.content_hash


def test_voxels_that_cannot_be_mapped_are_refused(cohort, path):
    with np.load(path) as stored:
        arrays = dict(stored)
    np.savez_compressed(path, **arrays)
    with pytest.raises(InputError, match=r"no prepared cohort, or a damaged one .*delete it and run again"):
        store.load(path)
    for odd in (cohort.volumes.astype(np.int32), np.asfortranarray(cohort.volumes)):
        np.savez(path, **arrays | {"volumes": odd})
        with pytest.raises(InputError, match="delete it and run again"):
            store.load(path)


def flip_a_voxel(path):
    """Damage a file so that only its hash tells, and leave its stamp as it was."""
    stamp, content = path.stat(), bytearray(path.read_bytes())
    content[50_000] ^= 1
    path.write_bytes(content)
    os.utime(path, ns=(stamp.st_atime_ns, stamp.st_mtime_ns))


def test_what_another_process_has_checked_is_not_read_again(path):
    stamp = store.stamp_of(path)
    flip_a_voxel(path)  # which nobody does: it shows who reads the voxels
    trusted = store.open_once(path, stamp)
    assert store.open_once(path, stamp) is trusted
    with pytest.raises(InputError, match="does not match its own hash"):
        store.open_once(path)
    with pytest.raises(InputError, match="does not match its own hash"):
        store.load(path)


def test_a_file_that_was_written_to_since_is_checked_again(path):
    stamp = store.stamp_of(path)
    for size, modified in ((stamp.size + 1, stamp.modified_ns), (stamp.size, stamp.modified_ns + 1)):
        store.open_once(path, store.Stamp(size, modified))  # another stamp, sound voxels
    flip_a_voxel(path)
    os.utime(path, ns=(0, stamp.modified_ns + 1_000_000_000))
    with pytest.raises(InputError, match="does not match its own hash"):
        store.open_once(path, stamp)


def test_a_file_that_takes_the_place_of_another_is_opened_anew(cohort, path):
    first = store.open_once(path)
    other = replace(cohort, note="Another.")
    store.write(replace(other, content_hash=store.content_hash(other)), path)
    os.utime(path, ns=(0, 1))
    assert store.open_once(path).note == "Another." and first.note == "Phantom."
    np.testing.assert_array_equal(first.volumes, cohort.volumes)  # who has the old one open keeps it


def test_a_damaged_cohort_is_not_opened(path):
    path.write_bytes(path.read_bytes()[:-99])
    with pytest.raises(InputError, match="delete it and run again"):
        store.open_once(path)


def test_a_value_of_another_kind_is_refused(cohort, tmp_path):
    vars(odd := copy(cohort))["nodule_ids"] = ("a", "b", "c", 4)
    vars(odd)["content_hash"] = store.content_hash(odd)
    store.write(odd, tmp_path / "odd.npz")
    with pytest.raises(InputError, match=r"odd\.npz.*delete it and run again"):
        store.load(tmp_path / "odd.npz")


def test_a_missing_file_is_named(tmp_path):
    with pytest.raises(InputError, match=r"no prepared cohort .*gone\.npz: give another; run_all"):
        store.load(tmp_path / "gone.npz")


@pytest.mark.parametrize("content", [b"", b"not a cohort", b"PK\x03\x04 nor this"], ids=["empty", "text", "zip"])
def test_another_kind_of_file_is_refused(tmp_path, content):
    (tmp_path / "other.npz").write_bytes(content)
    with pytest.raises(InputError, match=r"other\.npz.*delete it and run again"):
        store.load(tmp_path / "other.npz")


def test_other_arrays_or_another_format_are_refused(cohort, tmp_path, monkeypatch):
    np.savez(tmp_path / "other.npz", volumes=np.zeros(3))
    with pytest.raises(InputError, match="delete it and run again"):
        store.load(tmp_path / "other.npz")
    with monkeypatch.context() as patch:
        patch.setattr(store, "FORMAT", 0)
        store.write(cohort, tmp_path / "old.npz")
    with pytest.raises(InputError, match="another format"):
        store.load(tmp_path / "old.npz")


def test_a_truncated_file_is_refused(path):
    whole = path.read_bytes()
    for length in range(0, len(whole), len(whole) // 40):
        path.write_bytes(whole[:length])
        with pytest.raises(InputError, match="delete it and run again"):
            store.load(path)


def test_a_changed_byte_is_refused_or_harmless(cohort, path):
    whole, random = path.read_bytes(), np.random.default_rng(0)
    ends = random.integers(len(whole) - 3000, len(whole), 150)  # metadata and the archive's directory
    for position in [*random.integers(0, len(whole), 50), *ends]:
        damaged = bytearray(whole)
        damaged[position] ^= 1 << int(random.integers(8))
        path.write_bytes(damaged)
        try:
            found = store.load(path)
        except InputError as error:
            assert "delete it and run again" in str(error)
        else:
            assert store.content_hash(found) == cohort.content_hash and found.provenance == cohort.provenance


def test_an_interrupted_write_leaves_the_old_file_and_no_other(cohort, path, monkeypatch):
    whole = path.read_bytes()

    def stop(file, array, **options):
        file.write(b"half")
        raise KeyboardInterrupt

    monkeypatch.setattr(store.npy, "write_array", stop)
    with pytest.raises(KeyboardInterrupt):
        store.write(cohort, path)
    assert path.read_bytes() == whole and list(path.parent.iterdir()) == [path]


def test_the_table_has_a_row_per_nodule(cohort, tmp_path):
    trusted = np.ones((4, 8), dtype=bool)
    trusted[[1, 2, 2, 3], [1, 6, 7, 0]] = False
    cohort = replace(cohort, trusted=trusted)
    (tmp_path / "cohort.csv").write_bytes(store.csv_of(cohort, "published", np.array([0, 0, 1, 2])))
    with (tmp_path / "cohort.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert list(rows[0]) == [
        *("nodule_id", "scan_id", "patient_id", "reading_ids", "n_readers", "malignancy_scores", "malignancy_mean"),
        *("subtlety_mean", "internal_structure_mean", "calcification_mean", "sphericity_mean", "margin_mean"),
        *("lobulation_mean", "spiculation_mean", "texture_mean", "untrusted", "diameter_mm", "slice_thickness_mm"),
        *("stratum_is_from_initial", "stratum_site", "label_three", "label_two", "fold"),
    ]
    assert [row["reading_ids"] for row in rows] == ["1", "2|3|4", "", "6|7"]
    assert [row["n_readers"] for row in rows] == ["1", "3", "0", "2"]
    assert [row["malignancy_scores"] for row in rows] == ["1", "2|4|4", "", "2|3"]
    assert [row["untrusted"] for row in rows] == ["", "internal_structure", "spiculation|texture", "subtlety"]
    assert [row["malignancy_mean"] for row in rows] == ["1.0", repr(10 / 3), "", "2.5"]  # NaN is written empty
    assert [row["diameter_mm"] for row in rows] == ["4.0", "5.5", "", "7.0"]
    assert [row["slice_thickness_mm"] for row in rows] == ["1.25", "", "2.5", "3.0"]
    assert [row["stratum_site"] for row in rows] == ["x", "", "y", "x"]
    assert [float(row["texture_mean"]) for row in rows] == cohort.ratings[:, 7].tolist()
    assert [row["label_three"] for row in rows] == ["0", "1", "2", "0"]
    assert [row["label_two"] for row in rows] == ["0", "", "1", "0"]
    assert [row["fold"] for row in rows] == ["0", "0", "1", "2"]
