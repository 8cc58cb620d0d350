import csv
from dataclasses import fields, replace

import numpy as np
import pytest

from benchmark.contracts import Cohort, InputError
from datasets import ATTRIBUTES, store


@pytest.fixture
def cohort():
    random = np.random.default_rng(0)
    made = Cohort(
        source="phantom",
        volumes=random.integers(-1000, 1500, (4, 32, 32, 32)).astype(np.int16),
        nodule_ids=("a-r1", "a-r2", "b-r5", "c-r6"),
        scan_ids=("1.1", "1.1", "1.2", "1.3"),
        patient_ids=("a", "a", "b", "c"),
        reading_ids=((1,), (2, 3, 4), (5,), (6, 7)),
        malignancy=np.array([1.0, 10 / 3, 5.0, 2.5]),
        ratings=random.integers(1, 6, (4, 8)) / 1.0,
        attribute_names=ATTRIBUTES,
        diameter_mm=np.array([4.0, 5.5, 30.1, 7.0]),
        content_hash="",
        provenance={"source": "phantom", "nodules": None},
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
        assert type(value) is type(expected), field.name
        np.testing.assert_array_equal(value, expected) if isinstance(value, np.ndarray) else None
        assert isinstance(value, np.ndarray) or value == expected


def test_the_same_cohort_gives_the_same_bytes(cohort, path, tmp_path):
    store.write(cohort, tmp_path / "again.npz")
    assert (tmp_path / "again.npz").read_bytes() == path.read_bytes()


def test_the_hash_covers_everything_but_the_provenance(cohort):
    assert store.content_hash(replace(cohort, provenance={})) == cohort.content_hash
    changed = {
        "source": "dicom",
        "volumes": cohort.volumes + np.int16(1),
        "nodule_ids": cohort.nodule_ids[::-1],
        "scan_ids": cohort.scan_ids[::-1],
        "patient_ids": cohort.patient_ids[::-1],
        "reading_ids": cohort.reading_ids[::-1],
        "malignancy": cohort.malignancy[::-1],
        "ratings": cohort.ratings[::-1],
        "attribute_names": cohort.attribute_names[::-1],
        "diameter_mm": cohort.diameter_mm[::-1],
    }
    assert set(changed) == {field.name for field in fields(Cohort)} - {"content_hash", "provenance"}
    for name, value in changed.items():
        assert store.content_hash(replace(cohort, **{name: value})) != cohort.content_hash, name


def test_a_missing_file_is_named(tmp_path):
    with pytest.raises(InputError, match=r"no prepared cohort .*gone\.npz: run the command again"):
        store.load(tmp_path / "gone.npz")


@pytest.mark.parametrize("content", [b"", b"not a cohort", b"PK\x03\x04 nor this"])
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


def test_an_interrupted_write_leaves_the_old_file_and_no_other(path):
    whole = path.read_bytes()
    with pytest.raises(KeyboardInterrupt), store.replacing(path) as file:
        file.write(b"half")
        raise KeyboardInterrupt
    assert path.read_bytes() == whole and list(path.parent.iterdir()) == [path]


def test_the_table_has_a_row_per_nodule(cohort, tmp_path):
    store.write_csv(cohort, tmp_path / "cohort.csv", "published", np.array([0, 0, 1, 2]))
    with (tmp_path / "cohort.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert list(rows[0]) == [
        *("nodule_id", "scan_id", "patient_id", "reading_ids", "n_readers", "malignancy_mean", "subtlety_mean"),
        *("internal_structure_mean", "calcification_mean", "sphericity_mean", "margin_mean", "lobulation_mean"),
        *("spiculation_mean", "texture_mean", "diameter_mm", "label_three", "label_two", "fold"),
    ]
    assert [row["reading_ids"] for row in rows] == ["1", "2|3|4", "5", "6|7"]
    assert [row["n_readers"] for row in rows] == ["1", "3", "1", "2"]
    assert [float(row["malignancy_mean"]) for row in rows] == cohort.malignancy.tolist()
    assert [float(row["texture_mean"]) for row in rows] == cohort.ratings[:, 7].tolist()
    assert [row["label_three"] for row in rows] == ["0", "1", "2", "0"]
    assert [row["label_two"] for row in rows] == ["0", "", "1", "0"]
    assert [row["fold"] for row in rows] == ["0", "0", "1", "2"]
