from dataclasses import replace

import numpy as np
import pytest

from benchmark.contracts import InputError
from benchmark.nodules import NEWER, read_nodules
from datasets import ATTRIBUTES, store
from fakes import make_cohort

SCORES = np.array([[4, 5, 3.25, 4], [2, np.nan, np.nan, np.nan], [1, 4, np.nan, np.nan], [np.nan] * 4])
TRUSTED = np.ones((4, 8), dtype=bool)
TRUSTED[2, [1, 6]] = False


@pytest.fixture
def known():
    """A cohort of four nodules: of four readers, of one, of two, and of a given class."""
    return make_cohort(
        4,
        attribute_names=ATTRIBUTES,
        n_readers=np.array([4, 1, 2, 0]),
        reader_malignancy=SCORES,
        malignancy=np.array([4.0625, 2.0, 2.5, np.nan]),
        given_labels=np.array([-1, -1, -1, 1]),
        trusted=TRUSTED,
        ratings=np.where(np.arange(8) == 3, np.nan, np.arange(32).reshape(4, 8) / 7),
        diameter_mm=np.array([4.0, 5.0, np.nan, 7.1]),
        slice_thickness_mm=np.array([1.25, 2.5, 3.0, np.nan]),
        patient_ids=("p1", "p1", 'p"2, one', "p3"),
        strata={"site": ("Bern", "", "Basel", "x,y")},
    )


@pytest.fixture
def folder(known, tmp_path):
    (tmp_path / "cohort.csv").write_bytes(store.csv_of(known, "published", np.array([0, 0, 1, 2])))
    return tmp_path


def edit(folder, change):
    path = folder / "cohort.csv"
    path.write_text(change(path.read_text()))


def without(*columns):
    """Cut columns out of a table without quotes."""

    def change(text):
        rows = [line.split(",") for line in text.splitlines()]
        kept = [place for place, name in enumerate(rows[0]) if name not in columns]
        return "".join(",".join(row[place] for place in kept) + "\n" for row in rows)

    return change


def test_everything_written_comes_back(known, folder):
    found = read_nodules(folder)
    for name in ("nodule_ids", "patient_ids", "scan_ids", "attribute_names", "strata"):
        assert getattr(found, name) == getattr(known, name)
    for name in ("n_readers", "reader_malignancy", "malignancy", "ratings", "trusted"):
        np.testing.assert_array_equal(getattr(found, name), getattr(known, name), name)
    for name in ("diameter_mm", "slice_thickness_mm"):
        np.testing.assert_array_equal(getattr(found, name), getattr(known, name), name)
    assert {name: classes.tolist() for name, classes in found.labels.items()} == {
        "three": [2, 0, 0, 1],
        "two": [1, 0, 0, -1],
    }
    assert found.fold.tolist() == [0, 0, 1, 2]
    assert found.missing == () and found.knows_scores
    assert [found.row_of[name] for name in known.nodule_ids] == [0, 1, 2, 3]


def test_an_older_table_says_what_it_does_not_know(known, tmp_path):
    plain = replace(known, patient_ids=("a", "a", "b", "c"), strata={})
    (tmp_path / "cohort.csv").write_bytes(store.csv_of(plain, "published", np.array([0, 0, 1, 2])))
    edit(tmp_path, without(*NEWER))
    found = read_nodules(tmp_path)
    assert found.missing == NEWER and not found.knows_scores
    assert found.reader_malignancy.shape == (4, 4) and np.isnan(found.reader_malignancy).all()
    np.testing.assert_array_equal(found.malignancy, known.malignancy)
    np.testing.assert_array_equal(found.ratings, known.ratings)


def test_nodules_without_readers_or_ratings_are_read(known, tmp_path):
    bare = replace(
        known,
        n_readers=np.zeros(4, dtype=int),
        reader_malignancy=np.empty((4, 0)),
        attribute_names=(),
        ratings=np.empty((4, 0)),
        trusted=np.empty((4, 0), dtype=bool),
    )
    (tmp_path / "cohort.csv").write_bytes(store.csv_of(bare, "published", np.zeros(4, dtype=int)))
    found = read_nodules(tmp_path)
    assert found.missing == () and not found.knows_scores
    assert found.ratings.shape == found.trusted.shape == (4, 0)


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda text: "", "no column nodule_id"),
        (lambda text: text.splitlines()[0] + "\n", "no row"),
        (lambda text: text.replace("diameter_mm", "diameter"), "no column diameter_mm"),
        (lambda text: text.replace("diameter_mm", "fold"), "column"),
        (lambda text: text.replace("label_two", "label_three"), "two columns are called label_three"),
        (lambda text: text[: len(text) - 9], "unexpected end"),
        (lambda text: text.replace(",Basel", ""), "line 4 has 21 cells, not 22"),
        (lambda text: text.replace("4|5|3.25|4", "4|5|3.25|6"), "line 2, column malignancy_scores"),
        (lambda text: text.replace("4|5|3.25|4", "4|5|x|4"), "line 2, column malignancy_scores"),
        (lambda text: text.replace("4|5|3.25|4", "4|5|3.25"), "line 2 has 3 malignancy_scores of 4 readers"),
        (lambda text: text.replace("1|4,", "1,"), "line 4 has 1 malignancy_scores of 2 readers"),
        (lambda text: text.replace("spiculation,", "spikes,"), "line 4, column untrusted"),
        (lambda text: text.replace("4.0625", "nan"), "line 2, column malignancy_mean"),
        (lambda text: text.replace(",0\nn1", ",-1\nn1"), "line 2, column fold"),
        (lambda text: text.replace("n1", "n0"), "same nodule_id"),
        (lambda text: text.replace('"p""2', '"p"2'), "expected after"),
    ],
)
def test_a_damaged_table_is_refused_in_a_sentence(folder, change, said):
    edit(folder, change)
    with pytest.raises(InputError, match=said) as refused:
        read_nodules(folder)
    assert "restore it, or make the run anew" in str(refused.value) and "\n" not in str(refused.value)


def test_a_missing_or_unreadable_table_is_refused(folder):
    path = folder / "cohort.csv"
    path.write_bytes(b"\xff\xfe")
    with pytest.raises(InputError, match="is damaged"):
        read_nodules(folder)
    path.unlink()
    with pytest.raises(InputError, match=r"there is no .*cohort\.csv"):
        read_nodules(folder)
    path.mkdir()
    with pytest.raises(InputError, match="cannot be read"):
        read_nodules(folder)
