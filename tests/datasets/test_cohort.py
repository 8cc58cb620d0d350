import re
import weakref
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

import datasets
from benchmark.contracts import InputError, Made, Preparation
from benchmark.files import sha256
from datasets import cohort, store
from datasets.lidc import collections
from datasets.lidc.phantom import render


@pytest.fixture(scope="module")
def path(phantom, tmp_path_factory):
    return cohort.prepare(phantom, tmp_path_factory.mktemp("cohorts"), sample=12)


@pytest.fixture
def three(toy):
    """Three nodules of two patients: scores, and a class."""
    return toy(("a", (1, 2)), ("a", (5,)), ("b", "malignant"))


def test_the_package_is_ours():
    assert Path(datasets.__file__).parent == Path(__file__).parents[2] / "datasets"


def test_a_row_is_one_nodule_in_a_fixed_order(path, nodules):
    found = store.load(path)
    of_id = {nodule.id: (place, nodule) for place, nodule in enumerate(nodules)}
    places = [of_id[name][0] for name in found.nodule_ids]
    assert len(found) >= 12 and places == sorted(places)
    for row, name in enumerate(found.nodule_ids):
        nodule = of_id[name][1]
        assert found.reading_ids[row] == tuple(reading.id for reading in nodule.readings)
        assert (found.patient_ids[row], found.scan_ids[row]) == (nodule.scan.patient_id, nodule.scan.series_uid)
        assert (found.malignancy[row], found.diameter_mm[row]) == (nodule.malignancy, nodule.diameter_mm)
        assert found.slice_thickness_mm[row] == nodule.scan.slice_thickness_mm
        assert found.ratings[row].tolist() == [nodule.rating(attribute) for attribute in datasets.ATTRIBUTES]
        scores = found.reader_malignancy[row]
        assert scores[~np.isnan(scores)].tolist() == [reading.malignancy for reading in nodule.readings]
        assert found.n_readers[row] == len(nodule.readings)
        np.testing.assert_array_equal(found.volumes[row], render.render(nodule))


def test_what_is_given_is_what_is_kept(three, tmp_path):
    found = store.load(cohort.prepare(three, tmp_path))
    assert (found.collection, found.source, found.note) == ("Toy", "toy", "Toy: made up.")
    assert found.nodule_ids == ("a-0", "a-1", "b-2") and found.patient_ids == ("a", "a", "b")
    np.testing.assert_array_equal(found.reader_malignancy, [[1, 2], [5, np.nan], [np.nan, np.nan]])
    np.testing.assert_array_equal(found.malignancy, [1.5, 5, np.nan])
    assert found.given_labels.tolist() == [-1, -1, 2] and found.n_readers.tolist() == [2, 1, 0]
    assert found.ratings.shape == found.trusted.shape == (3, 0) and found.strata == {}
    assert np.isnan(found.diameter_mm).all() and np.isnan(found.slice_thickness_mm).all()
    assert found.volumes[:, 5, 5, 5].tolist() == [0, 1, 2]


def test_ratings_trust_sizes_and_strata_are_kept(toy, tmp_path):
    collection = toy(("a", (1,)), ("b", (2,)), attribute_names=("margin", "texture"))
    first, second = collection.given
    common = {"diameter_mm": 5.0, "slice_thickness_mm": 1.25}
    collection.given = [
        replace(first, ratings=(1.0, 2.0), trusted=(True, False), strata={"site": "x"}, reading_ids=(4, 5), **common),
        replace(second, ratings=(3.0, 4.0), strata={"site": "y"}, scan_id="1.2"),
    ]
    found = store.load(cohort.prepare(collection, tmp_path))
    assert found.ratings.tolist() == [[1, 2], [3, 4]] and found.attribute_names == ("margin", "texture")
    assert found.trusted.tolist() == [[True, False], [True, True]]  # nothing said: all
    assert found.strata == {"site": ("x", "y")} and found.scan_ids == ("", "1.2")
    assert found.reading_ids == ((4, 5), ())
    np.testing.assert_array_equal(found.diameter_mm, [5, np.nan])
    np.testing.assert_array_equal(found.slice_thickness_mm, [1.25, np.nan])


def test_a_prepared_file_is_used_again(three, tmp_path):
    path = cohort.prepare(three, tmp_path)
    assert three.made == ["a-0", "a-1", "b-2"]
    assert cohort.prepare(three, tmp_path) == path and len(three.made) == 3


def test_a_file_that_lacks_what_may_be_had_another_time_is_made_again(toy, tmp_path):
    collection = toy(("a", "benign"), ("b", "malignant"), left_out={"b-1": "the store failed"})
    for again in (("b-1",), ()):
        came = Preparation(2, 1, collection.left_out, {}, 0, "prepare.json", again)
        collection.preparation = lambda parts, left_out, came=came: came
        path = cohort.prepare(collection, tmp_path)
        assert len(store.load(path)) == 1
    collection.left_out = {}
    assert len(store.load(cohort.prepare(collection, tmp_path))) == 1  # the second said that it is final


def test_parts_are_made_as_they_are_ready_and_what_readies_them_ends(toy, tmp_path):
    collection = toy(("a", "benign"), ("b", "malignant"), ("c", "benign"))
    events = []

    def ready(parts):
        try:
            for part in parts:
                events.append(f"ready {len(collection.made)}")
                yield part
        finally:
            events.append("over")

    collection.ready, collection.outlook = ready, lambda nodules: f"{len(nodules)} nodules"
    cohort.prepare(collection, tmp_path / "one", tell=events.append)
    assert events == ["3 nodules", "ready 0", "ready 1", "ready 2", "over"]
    events.clear()
    collection.volume = lambda nodule: 1 / 0
    with pytest.raises(InputError, match="ZeroDivisionError"):
        cohort.prepare(collection, tmp_path / "two")
    assert events[-1] == "over"


def test_the_name_carries_what_makes_the_file(three, tmp_path, monkeypatch):
    names = [cohort.prepare(three, tmp_path).name, cohort.prepare(three, tmp_path, sample=1).name]
    assert re.fullmatch(r"toy-all-[0-9a-f]{16}\.npz", names[0]) and names[1].startswith("toy-1-")
    names += [cohort.prepare(three, tmp_path, sample=2).name]
    with monkeypatch.context() as patch:
        patch.setattr(three, "fingerprint", lambda: "another")
        names.append(cohort.prepare(three, tmp_path).name)
    with monkeypatch.context() as patch:
        patch.setattr(store, "FORMAT", 0)
        names.append(cohort.prepare(three, tmp_path).name)
    three.given = [replace(three.given[0], diameter_mm=3.0), *three.given[1:]]
    names.append(cohort.prepare(three, tmp_path).name)
    assert len({name.split("-")[-1] for name in names}) == 6


def test_the_file_says_what_made_it(three, tmp_path):
    path = cohort.prepare(three, tmp_path, sample=1)
    provenance = store.load(path).provenance
    assert provenance.sample == 1 and provenance.preparation is None
    assert path.name == f"toy-1-{provenance.fingerprint[:16]}.npz"


def test_two_workers_give_the_bytes_of_one(path, phantom, tmp_path, monkeypatch):
    monkeypatch.setattr(cohort, "PARTS_PER_WORKER", 1)
    monkeypatch.setattr(collections, "NODULES_PER_PART", 5)
    seen = []
    twin = cohort.prepare(phantom, tmp_path / "new", sample=12, workers=2, progress=lambda *counts: seen.append(counts))
    assert twin.name == path.name and twin.read_bytes() == path.read_bytes()
    total = len(store.load(path))
    assert seen[-1] == (total, total) and seen == sorted(seen) and seen[0] == (5, total)


def test_only_what_can_be_made_in_processes_is(toy, tmp_path, monkeypatch):
    monkeypatch.setattr(cohort, "PARTS_PER_WORKER", 1)
    asked, mapping = [], cohort.mapping
    monkeypatch.setattr(cohort, "mapping", lambda workers: asked.append(workers) or mapping(1))
    many = [(f"p{number}", (3,)) for number in range(9)]
    for in_processes in (False, True):
        cohort.prepare(toy(*many, source=f"toy{in_processes}", in_processes=in_processes), tmp_path, workers=4)
    assert asked == [1, 4]


def test_few_parts_start_few_processes(toy, tmp_path, monkeypatch):
    asked, mapping = [], cohort.mapping
    monkeypatch.setattr(cohort, "mapping", lambda workers: asked.append(workers) or mapping(1))
    for count in (7, 8, 16):
        few = [(f"p{number}", (3,)) for number in range(count)]
        cohort.prepare(toy(*few, in_processes=True), tmp_path, workers=9)
    assert asked == [1, 2, 3]


def test_a_failure_while_making_leaves_no_file(three, tmp_path, monkeypatch):
    def fail(nodule):
        raise OSError("no space left")

    monkeypatch.setattr(three, "volume", fail)
    with pytest.raises(InputError, match="no space"):
        cohort.prepare(three, tmp_path)
    assert list(tmp_path.iterdir()) == []


def test_a_nodule_that_could_not_be_made_is_left_out_and_no_other(toy, tmp_path):
    collection = toy(("a", (1,)), ("b", (2,)), ("c", (3,)), left_out={"b-1": "a slice is missing"})
    found = store.load(cohort.prepare(collection, tmp_path))
    assert found.nodule_ids == ("a-0", "c-2") and found.volumes[:, 0, 0, 0].tolist() == [0, 2]
    assert found.malignancy.tolist() == [1, 3]


def test_voxels_are_on_disk_as_they_are_made_and_never_all_in_memory(toy, tmp_path, monkeypatch):
    made, most = [], []

    def make(part):
        crops = np.zeros((1, 32, 32, 32), dtype=np.int16)
        made.append(weakref.ref(crops))
        most.append(sum(one() is not None for one in made))
        return Made(crops)

    collection = toy(*((f"p{number}", (3,)) for number in range(20)))
    monkeypatch.setattr(collection, "make", make)
    cohort.prepare(collection, tmp_path)
    assert len(most) == 20 and max(most) <= 2


def test_a_part_with_too_few_or_too_many_crops_is_refused(three, tmp_path, monkeypatch):
    for count in (0, 2):
        monkeypatch.setattr(three, "make", lambda part, n=count: Made(np.zeros((n, 32, 32, 32), dtype=np.int16)))
        with pytest.raises(InputError, match=rf"\({count}, 32, 32, 32\) for 1 nodules: each crop"):
            cohort.prepare(three, tmp_path)
    assert list(tmp_path.iterdir()) == []


def test_nothing_left_is_a_sentence_that_says_why(toy, tmp_path):
    gone = toy(("a", (1,)), left_out={"a-0": "a slice is missing"})
    with pytest.raises(
        InputError, match=r"no nodule could be made of the collection Toy \(toy\): a-0: a slice is miss"
    ):
        cohort.prepare(gone, tmp_path)
    with pytest.raises(InputError, match=r"no nodule could be made .*: it holds none"):
        cohort.prepare(toy(), tmp_path)
    assert list(tmp_path.iterdir()) == []


def test_a_sample_is_whole_patients_spread_over_all(nodules, phantom):
    sample = cohort.choose(phantom, 200)
    assert 200 <= len(sample) < 220
    patients = {nodule.patient_id for nodule in sample}
    assert [n.id for n in sample] == [n.id for n in nodules if n.scan.patient_id in patients]
    everyone = sorted({nodule.scan.patient_id for nodule in nodules})
    places = np.array([everyone.index(patient) for patient in sorted(patients)])
    assert np.diff(places).max() < 5 * len(everyone) / len(places)
    score = [np.mean(nodule.malignancy) for nodule in sample]
    counts = np.histogram(score, [0, 2.51, 3.49, 6])[0]
    assert counts.min() >= 25


@pytest.mark.parametrize(("count", "places"), [(1, [0]), (2, [0, 5]), (3, [0, 2, 5]), (4, [0, 2, 5, 7]), (9, range(8))])
def test_a_sample_follows_multiples_of_the_golden_ratio(toy, count, places):
    # Eight multiples of 0.618 without their whole parts: 0, .618, .236, .854, .472, .090, .708, .326.
    patients = [f"p{number}" for number in range(8)]
    chosen = cohort.choose(toy(*((patient, (3,)) for patient in patients)), count)
    assert [nodule.patient_id for nodule in chosen] == [patients[place] for place in places]


def test_a_sample_takes_patients_until_there_are_enough_nodules(toy):
    pairs = [("p0", (3,)), ("p0", (3,)), *((f"p{number}", (3,)) for number in range(1, 8))]
    assert [nodule.patient_id for nodule in cohort.choose(toy(*pairs), 1)] == ["p0", "p0"]  # whole patients
    assert [nodule.patient_id for nodule in cohort.choose(toy(*pairs), 2)] == ["p0", "p0"]
    assert [nodule.patient_id for nodule in cohort.choose(toy(*pairs), 3)] == ["p0", "p0", "p5"]


def test_patients_without_nodules_have_their_place_in_the_spread(toy):
    collection = toy(("p2", (3,)), ("p5", (3,)), ("p7", (3,)), patients=lambda: [f"p{n}" for n in range(8)])
    assert [nodule.patient_id for nodule in cohort.choose(collection, 1)] == ["p5"]


def test_a_sample_keeps_the_collections_order(toy):
    chosen = cohort.choose(toy(("z", (3,)), ("y", (3,)), ("x", (3,))), 99)
    assert [nodule.patient_id for nodule in chosen] == ["z", "y", "x"]


@pytest.mark.parametrize("options", [{"workers": 0}, {"sample": 0}])
def test_less_than_one_is_refused(three, tmp_path, options):
    with pytest.raises(InputError, match="at least one worker and one nodule"):
        cohort.prepare(three, tmp_path, **options)


@pytest.mark.parametrize("source", ["", "../x", "a b", "a_b", "ü"])
def test_a_source_that_could_not_name_a_file_is_refused(three, tmp_path, source):
    three.source = source
    with pytest.raises(InputError, match="letters, digits and hyphens"):
        cohort.prepare(three, tmp_path)


@pytest.mark.parametrize(
    ("changes", "sentence"),
    [
        ({"label": "benign"}, "needs either malignancy scores from 1 to 5 or one of the labels"),
        ({"malignancy": ()}, "needs either malignancy scores"),
        ({"malignancy": (), "label": "cancer"}, "needs either malignancy scores .* and 'cancer'"),
        ({"malignancy": (0.0,)}, "needs either malignancy scores from 1 to 5"),
        ({"malignancy": (float("nan"),)}, "needs either malignancy scores from 1 to 5"),
        ({"id": "b-2"}, "two nodules with the id 'b-2'"),
        ({"ratings": (1.0,)}, "a rating for each of the collection's attributes"),
        ({"trusted": (True,)}, "a rating for each of the collection's attributes"),
        ({"strata": {"site": "x"}}, "the strata of the other nodules"),
    ],
    ids=str,
)
def test_a_collection_that_contradicts_itself_is_refused(three, tmp_path, changes, sentence):
    first, second, third = three.given
    three.given = [first, replace(second, **changes), third]
    with pytest.raises(InputError, match=sentence):
        cohort.prepare(three, tmp_path)


@pytest.mark.parametrize("wrong", [np.zeros((32, 32, 31), dtype=np.int16), np.zeros((32, 32, 32), dtype=np.int32)])
def test_voxels_of_another_shape_or_kind_are_refused(three, tmp_path, monkeypatch, wrong):
    with pytest.raises(Exception, match=r"32 32 32|32 x 32 x 32"):  # by the type checker of the tests, or in a sentence
        monkeypatch.setattr(three, "volume", lambda nodule: wrong)
        cohort.prepare(three, tmp_path)


def test_the_smoke_samples_nodules_are_those_of_the_accepted_numbers(phantom):
    chosen = [nodule.id for nodule in cohort.choose(phantom, 200)]
    assert len(chosen) == 202
    assert chosen[:3] == ["LIDC-IDRI-0001-r84", "LIDC-IDRI-0014-r214", "LIDC-IDRI-0035-r341"]
    assert sha256("\n".join(chosen))[:16] == "156ad9b2188c110e"
