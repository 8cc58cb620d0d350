"""Which samples are refused, and what the sentence says to do."""

import re

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from benchmark.contracts import InputError
from datasets import cohort, folds, samples, store
from datasets.lidc import readings
from datasets.lidc.collections import Dicom, Phantom
from datasets.lidc.survey import Survey

WORDS = ("benign", "unsure", "malignant")


def refused(collection, count, keys=None, n_folds=2) -> str:
    """Return what a sample is refused with, or nothing."""
    try:
        samples.refusal(count, "published", keys, n_folds)(collection)
    except InputError as error:
        return str(error)
    return ""


@pytest.fixture
def twelve(toy):
    """Twelve patients of one nodule each, four of each class."""
    return toy(*((f"p{n}", WORDS[n % 3]) for n in range(12)))


def test_a_whole_that_can_be_cut_is_not_refused_and_one_that_cannot_is_before_it_is_made(twelve, tmp_path):
    assert refused(twelve, None, None, 4) == ""
    said = "5 folds need 5 patients with a nodule of class benign, and the cohort has 4: give --folds 4, or add"
    assert refused(twelve, None, None, 5).startswith(said)
    with pytest.raises(InputError, match="5 folds need 5 patients"):
        cohort.prepare(twelve, tmp_path / "new", None, samples.refusal(None, "published", None, 5))
    assert not (tmp_path / "new").exists() and twelve.made == []


def test_what_is_foreseen_is_the_prepared_file_or_what_would_be_refused_and_writes_nothing(twelve, tmp_path):
    refuse = samples.refusal(None, "published", None, 5)
    with pytest.raises(InputError, match="5 folds need 5 patients"):
        cohort.foresee(twelve, tmp_path / "new", None, refuse)
    assert cohort.foresee(twelve, tmp_path / "new", None, lambda _: None) == (None, "")
    assert not (tmp_path / "new").exists() and twelve.made == []
    path = cohort.prepare(twelve, tmp_path / "new")
    assert cohort.foresee(twelve, tmp_path / "new", None, refuse) == (path, "")


@pytest.mark.parametrize("count", [12, 13, 10**20])
def test_a_sample_that_would_be_all_is_refused_with_their_number(twelve, count):
    said = f"--nodules {count} would take all 12 nodules of Toy (toy): give a smaller number, or leave --nodules out"
    assert refused(twelve, count) == said


def test_too_few_is_refused_with_the_least_number_that_will_do(twelve):
    wanted = next(n for n in range(1, 13) if not refused(twelve, n))
    for count in range(1, wanted):
        said = f"--nodules {count} of the 12 nodules of Toy (toy) are too few for 2 folds that each hold every class"
        assert refused(twelve, count) == f"{said}: give {wanted} or more"
    assert 6 <= wanted < 12 and not refused(twelve, wanted + 1)


def test_where_only_all_will_do_the_sentence_says_so(toy):
    four = toy(("a", "benign"), ("b", "malignant"), ("c", "benign"), ("d", "malignant"))
    assert refused(four, 2).endswith("each hold every class: leave --nodules out")


def test_classes_that_no_dataset_asked_for_needs_are_not_wanted(toy):
    # By the golden ratio the ninth of fourteen patients is the last one taken.
    rare = toy(*((f"p{n}", "unsure" if n in (0, 8) else WORDS[2 * (n % 2)]) for n in range(14)))
    assert "too few" in refused(rare, 8) and "too few" in refused(rare, 8, ["A", "C"])
    assert refused(rare, 8, ["C"]) == ""


def test_a_whole_that_has_too_few_is_refused_by_the_sentence_on_its_folds(toy):
    said = refused(toy(("a", "benign"), ("b", "malignant")), 1)
    assert said.startswith("2 folds need 2 patients with a nodule of class ")
    assert refused(toy(), 1) == ""


def test_scores_count_by_the_label_rule(toy):
    edge = toy(*((f"p{n}", (2, 3) if n % 2 else (4,)) for n in range(12)))
    assert refused(edge, 8, ["C"]) == ""
    samples.refusal(8, "text", ["C"], 2)(edge)  # there 2.5 is unsure, and C has one class: said elsewhere
    assert "too few" in refused(edge, 2, ["C"])


@given(
    st.lists(st.tuples(st.integers(0, 14), st.sampled_from(WORDS)), min_size=1, max_size=40),
    st.integers(1, 45),
    st.integers(2, 4),
)
def test_what_is_not_refused_has_folds_and_the_number_named_is_enough_and_the_least(toy, pairs, count, n_folds):
    collection = toy(*((f"p{patient:02}", word) for patient, word in sorted(pairs)))

    def can_be_cut(nodules) -> bool:
        classes = np.array([WORDS.index(one.label) for one in nodules])
        held = {WORDS.index(word) for _, word in pairs}
        return folds.can_be_cut(classes, [one.patient_id for one in nodules], n_folds, held)

    said, whole = refused(collection, count, None, n_folds), collection.nodules()
    if not said:
        chosen = cohort.choose(collection, count)
        assert can_be_cut(chosen) and count <= len(chosen) < len(whole)
    elif named := re.search(r"give (\d+) or more", said):
        least = int(named[1])
        assert count < least and refused(collection, least, None, n_folds) == ""
        assert not can_be_cut(cohort.choose(collection, least - 1))
    elif said.endswith("add nodules of more patients"):
        assert not can_be_cut(whole)
    else:
        assert said.endswith("leave --nodules out") and ("would take all" in said or can_be_cut(whole))


def test_a_refused_sample_makes_nothing_and_a_prepared_one_is_not_looked_at_again(twelve, tmp_path):
    with pytest.raises(InputError, match="would take all 12"):
        cohort.prepare(twelve, tmp_path / "new", 12, samples.refusal(12, "published", None, 2))
    assert not (tmp_path / "new").exists() and twelve.made == []
    path = cohort.prepare(twelve, tmp_path, 8)
    assert cohort.prepare(twelve, tmp_path, 8, lambda _: pytest.fail("it looked again")) == path


def test_a_sample_and_the_whole_are_two_files_and_the_sample_says_what_it_was_drawn_from(twelve, tmp_path):
    sample, whole = (store.load(cohort.prepare(twelve, tmp_path, count)) for count in (8, None))
    assert (sample.provenance.sample, sample.provenance.drawn_from, len(sample)) == (8, 12, 8)
    assert (whole.provenance.sample, whole.provenance.drawn_from, len(whole)) == (None, 0, 12)
    assert sample.content_hash != whole.content_hash and len(list(tmp_path.glob("toy-8-*.npz"))) == 1


def test_a_sample_is_of_the_same_patients_whatever_the_source(nodules, tmp_path, monkeypatch):
    monkeypatch.setattr(readings, "load", lambda: [nodule.scan for nodule in nodules])  # in place of six seconds
    some = nodules[::10]

    def of(collection, count=30):
        vars(collection)["_lidc"] = {nodule.id: nodule for nodule in some}
        return [one.id for one in cohort.choose(collection, count)]

    def download(kept) -> Dicom:
        dicom = object.__new__(Dicom)
        found = {nodule.scan.series_uid: () for nodule in some if kept(nodule)}
        dicom.survey = Survey(tmp_path, tmp_path, found, ())
        return dicom

    phantom = of(Phantom())
    assert of(download(lambda _: True)) == phantom and 30 <= len(phantom) < 40
    # A download of half the patients has those of them that a larger sample of all has.
    half = of(download(lambda nodule: int(nodule.scan.patient_id[-1]) % 2 == 0))
    assert set(half) < set(of(Phantom(), 90)) and 30 <= len(half) < 40


def test_a_collection_without_any_class_that_is_asked_for_is_left_to_whoever_says_so(toy):
    assert refused(toy(("a", "unsure")), None, ["C"]) == ""


def test_a_small_collection_of_which_a_preset_wants_more_than_there_is_is_no_sample(twelve, tmp_path):
    taken = store.load(cohort.prepare(twelve, tmp_path, 200))
    assert (taken.provenance.sample, taken.provenance.drawn_from, len(taken)) == (None, 0, 12)
