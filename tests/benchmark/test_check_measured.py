"""A finished run in numbers, against counts by hand: two folds of a few nodules, decisions as strings of classes."""

import hashlib
import json
import re
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import FrozenInstanceError, replace
from pathlib import Path

import numpy as np
import pytest

from benchmark.check.measured import MEAN, Measured, read
from benchmark.contracts import InputError, Protocol, Provenance
from benchmark.records import FitRecord, FitSpec
from benchmark.run import Run, RunMetadata
from benchmark.scores import ScoreKey
from fakes import IDENTITY, A, B, C, record

D = Protocol("D", "Own", "low", ("small", "large"), (0, 1), (0, 1))
PROTOCOLS = (A, B, C, D)
TWO_FOLDS = replace(IDENTITY, folds=2)
LABELS = {  # the true classes of each fold's nodules
    "three": ("000122", "001112"),
    "two": ("0001", "0000"),
    "low": ("01", "10"),
}
CE = {  # what a row decides: for each label set a tuple a seed, and in it a string a fold
    "three": (("000122", "001111"), ("000111", "010000")),  # accuracy 6/6 and 5/6; 4/6 and 1/6
    "two": (("0001", "0001"), ("1111", "0011")),  # 4/4 and 3/4; 1/4 and 2/4
    "low": (("01", "01"), ("00", "10")),  # 2/2 and 0/2; 1/2 and 2/2
}
HALVES = {label_set: (decided[0],) for label_set, decided in CE.items()}

Decided = Mapping[str, Sequence[Sequence[str]]]


def fit(spec: FitSpec, decided: str, classes: int | None = None, **changes) -> FitRecord:
    labels = [int(label) for label in LABELS[spec.label_set][spec.fold]]
    width = classes or (3 if spec.label_set == "three" else 2)
    ids = tuple(f"f{spec.fold}n{i}" for i in range(len(labels)))
    proba = np.eye(width)[[int(c) for c in decided]].tolist()
    return record(spec, labels, proba, identity=TWO_FOLDS, **{"nodule_ids": ids} | changes)


def broken(spec: FitSpec, status: str, reason: str) -> FitRecord:
    return record(spec, [], [], identity=TWO_FOLDS, status=status, reason=reason)


def write(folder: Path, rows: Mapping[str, Decided], kinds: Mapping[str, str] | None = None) -> Run:
    run = Run(folder, TWO_FOLDS)
    run.start("python run_all.py --folds 2", RunMetadata({"torch": "2.9"}, "cpu", "", Provenance(None, "", None)))
    for row, decided in rows.items():
        for label_set, of_seeds in decided.items():
            for seed, of_folds in enumerate(of_seeds):
                for fold, choice in enumerate(of_folds):
                    spec = FitSpec(label_set, row, fold, seed)
                    run.write(fit(spec, choice, kind=(kinds or {}).get(row, "paper")))
    run.finish(PROTOCOLS)
    return run


@pytest.fixture(scope="module")
def ce(tmp_path_factory) -> Measured:
    """A row of two seeds on all label sets."""
    return read(write(tmp_path_factory.mktemp("ce") / "run", {"ce": CE}).folder)


def test_a_score_is_each_folds_mean_over_its_seeds_with_the_spread_between_them(ce):
    score = ce.cells[ScoreKey("ce", "A-open", "accuracy")]
    assert score.folds == pytest.approx([5 / 6, 3 / 6])  # of 6/6 and 4/6, of 5/6 and 1/6
    assert (score.numbers, score.seeds) == ((0, 1), 2)
    assert score.seed_std**2 == pytest.approx(((2 / 6) ** 2 / 2 + (4 / 6) ** 2 / 2) / 2)


def test_each_section_is_scored_by_its_own_protocol_and_decision(ce):
    accuracy = {s: ce.cells[ScoreKey("ce", s, "accuracy")].folds for s in ("B-restricted", "B-open", "C-open")}
    assert accuracy["B-open"] == pytest.approx([(5 / 5 + 3 / 5) / 2, (2 / 3 + 1 / 3) / 2])
    # Restricted, a decision for the class between falls to the first: right for one nodule more, in fold 1 of seed 1.
    assert accuracy["B-restricted"] == pytest.approx([(5 / 5 + 3 / 5) / 2, (2 / 3 + 2 / 3) / 2])
    assert accuracy["C-open"] == pytest.approx([5 / 8, 5 / 8])
    recall = ce.cells[ScoreKey("ce", "A-open", "recall_unsure")].folds
    assert recall == pytest.approx([1, 3 / 6])  # fold 1: 3 of 3 and 0 of 3


def test_the_printed_scores_are_checked_and_three_beside_them(ce):
    beside = ["macro_f1", "quadratic_weighted_kappa", "auc_ovr"]
    two = ["accuracy", "recall_benign", "f1_benign", "recall_malignant", "f1_malignant"]
    own = ["accuracy", "recall_small", "f1_small", "recall_large", "f1_large"]
    found: dict[str, list[str]] = {}
    for key in ce.cells:
        found.setdefault(key.section, []).append(key.metric)
    assert found == {
        "A-open": [*two, "recall_unsure", "f1_unsure", *beside],
        "B-restricted": [*two, *beside],
        "B-open": [*two, *beside],
        "C-open": [*two, *beside],
        "D-open": [*own, *beside],
        MEAN: ["accuracy"],
    }
    assert ce.nodules.keys() == ce.cells.keys()


def test_an_accuracy_rests_on_all_tested_nodules_of_a_fold_on_average(ce):
    sizes = {section: ce.nodules[ScoreKey("ce", section, "accuracy")] for section in ("A-open", "B-open", "C-open")}
    assert sizes == {"A-open": 6, "B-open": 4, "C-open": 4}  # B tests 5 and 3 nodules, the others of a fold are unsure


def test_a_score_of_a_class_rests_on_the_nodules_of_that_class(ce):
    sizes = {name: ce.nodules[ScoreKey("ce", "A-open", f"recall_{name}")] for name in ("benign", "unsure", "malignant")}
    assert sizes == {"benign": 2.5, "unsure": 2, "malignant": 1.5}
    assert all(ce.nodules[ScoreKey("ce", "A-open", f"f1_{name}")] == size for name, size in sizes.items())


def test_a_score_over_all_classes_rests_on_the_smallest(ce):
    for metric in ("macro_f1", "quadratic_weighted_kappa", "auc_ovr"):
        assert ce.nodules[ScoreKey("ce", "A-open", metric)] == 1.5


def test_no_score_rests_on_less_than_one_nodule(ce):
    assert ce.nodules[ScoreKey("ce", "C-open", "recall_malignant")] == 1  # one nodule in two folds
    assert ce.nodules[ScoreKey("ce", "D-open", "recall_large")] == 1


def test_the_mean_averages_label_sets_in_their_first_section_seed_by_seed(ce):
    score = ce.cells[ScoreKey("ce", MEAN, "accuracy")]
    of_fold_0 = [(6 / 6 + 4 / 4 + 2 / 2) / 3, (4 / 6 + 1 / 4 + 1 / 2) / 3]  # a number a seed
    of_fold_1 = [(5 / 6 + 3 / 4 + 0 / 2) / 3, (1 / 6 + 2 / 4 + 2 / 2) / 3]
    assert score.folds == pytest.approx([sum(of_fold_0) / 2, sum(of_fold_1) / 2])
    assert score.seeds == 2
    spreads = (of_fold_0[0] - of_fold_0[1]) ** 2 / 2, (of_fold_1[0] - of_fold_1[1]) ** 2 / 2
    assert score.seed_std**2 == pytest.approx(sum(spreads) / 2)


def test_the_mean_of_label_sets_rests_on_as_many_nodules_as_its_variance_tells(ce):
    # Independent scores of 6, 4 and 2 nodules: the variance of their mean is (1/6 + 1/4 + 1/2) / 9 of one nodule's.
    assert ce.nodules[ScoreKey("ce", MEAN, "accuracy")] == pytest.approx(9 / (11 / 12))


def test_the_mean_of_two_label_sets_is_theirs(tmp_path):
    run = read(write(tmp_path / "run", {"ce": {name: HALVES[name] for name in ("three", "two")}}).folder)
    assert run.cells[ScoreKey("ce", MEAN, "accuracy")].folds == pytest.approx([1, (5 / 6 + 3 / 4) / 2])
    assert run.nodules[ScoreKey("ce", MEAN, "accuracy")] == pytest.approx(4 / (1 / 6 + 1 / 4))


def test_a_row_on_one_label_set_has_no_mean(tmp_path):
    run = read(write(tmp_path / "run", {"ce": {"three": CE["three"]}}).folder)
    assert {key.section for key in run.cells} == {"A-open", "B-restricted", "B-open"}


def test_label_sets_of_different_seeds_have_no_mean(tmp_path):
    run = read(write(tmp_path / "run", {"ce": {"three": CE["three"], "two": HALVES["two"]}}).folder)
    assert {key.section for key in run.cells} == {"A-open", "B-restricted", "B-open", "C-open"}


def test_each_row_has_the_mean_of_its_own_label_sets(tmp_path):
    run = read(write(tmp_path / "run", {"b": HALVES, "a": {"three": CE["three"]}, "c": CE}).folder)
    assert {key.row for key in run.cells if key.section == MEAN} == {"b", "c"}
    assert run.cells[ScoreKey("b", MEAN, "accuracy")].folds == pytest.approx([1, (5 / 6 + 3 / 4 + 0) / 3])


def test_references_are_the_rows_of_that_kind_and_no_others(tmp_path):
    kinds = {"added": "added", "majority": "reference", "method": "paper", "other": "variant"}
    run = read(write(tmp_path / "run", {row: {"low": HALVES["low"]} for row in kinds}, kinds).folder)
    assert run.references == {"majority"}


def test_kinds_may_change_among_methods_and_never_to_a_reference(tmp_path):
    run = write(tmp_path / "run", {"ce": CE})
    run.write(fit(FitSpec("two", "ce", 1, 0), "0001", kind="variant"))
    assert read(run.folder).references == frozenset()
    run.write(fit(FitSpec("two", "ce", 1, 0), "0001", kind="reference"))
    assert refusal(run) == (
        f"{run.folder / 'fits'} is damaged: records of the row ce are of a reference and of a method; "
        "delete the row's folders there and run the run's command again"
    )


def test_records_are_counted_by_row_and_by_what_made_them(tmp_path):
    run = write(tmp_path / "run", {"ce": HALVES, "udm": {"low": HALVES["low"]}})
    run.write(fit(FitSpec("two", "ce", 1, 0), "0001", key="".join(["ol", "d"])))
    assert read(run.folder).keys == {"ce": Counter(key=5, old=1), "udm": Counter(key=2)}


def test_a_row_that_broke_off_has_the_first_reason_and_no_score_there(tmp_path):
    run = write(tmp_path / "run", {"ce": CE})
    run.write(broken(FitSpec("three", "ce", 0, 1), "failed", "the loss is nan"))
    run.write(broken(FitSpec("three", "ce", 1, 0), "unsupported", "too many classes"))
    found = read(run.folder)
    assert found.failed == {("ce", "three"): "failed: the loss is nan"}
    assert ("ce", "three") not in found.tests
    assert {key.section for key in found.cells} == {"C-open", "D-open", MEAN}  # the label sets behind it are scored
    assert found.nodules[ScoreKey("ce", MEAN, "accuracy")] == pytest.approx(4 / (1 / 4 + 1 / 2))


def test_a_row_that_broke_off_everywhere_has_no_score_at_all(tmp_path):
    run = write(tmp_path / "run", {"ce": {"low": HALVES["low"]}})
    run.write(broken(FitSpec("low", "ce", 1, 0), "unsupported", "it cannot work on this task"))
    found = read(run.folder)
    assert not found.cells and found.failed == {("ce", "low"): "unsupported: it cannot work on this task"}
    assert found.rows == {"ce"}


def digest(*nodules: tuple[int, str, int]) -> str:
    text = ", ".join(f'[{fold}, "{nodule}", {label}]' for fold, nodule, label in nodules)
    assert json.loads(f"[{text}]") == [list(nodule) for nodule in nodules]
    return hashlib.sha256(f"[{text}]".encode()).hexdigest()


def test_the_digest_is_of_fold_nodule_and_label_once_whatever_the_seeds(ce):
    assert ce.tests.keys() == {("ce", "three"), ("ce", "two"), ("ce", "low")}
    assert ce.tests["ce", "low"] == digest((0, "f0n0", 0), (0, "f0n1", 1), (1, "f1n0", 1), (1, "f1n1", 0))


def test_rows_tested_on_the_same_nodules_share_their_digest_and_others_do_not(tmp_path):
    run = write(tmp_path / "run", {row: {"low": HALVES["low"]} for row in ("a", "b", "c")})
    run.write(fit(FitSpec("low", "b", 0, 0), "00"))  # decides otherwise
    run.write(fit(FitSpec("low", "c", 0, 0), "01", nodule_ids=("f0n0", "f0n2")))
    tests = read(run.folder).tests
    assert tests["a", "low"] == tests["b", "low"] != tests["c", "low"]


def test_a_run_says_what_it_is(ce):
    assert ce.folder.name == "run" and ce.identity == TWO_FOLDS and ce.versions == {"torch": "2.9"}
    assert {key: section.protocol.key for key, section in ce.sections.items()} == {
        **{"A-open": "A", "B-restricted": "B", "C-open": "C", "D-open": "D"},
        "B-open": "B",
    }
    assert ce.references == frozenset() and ce.failed == {} and ce.rows == {"ce"} and ce.weights == ""


def test_golden_numbers_are_kept_by_preset_source_label_rule_and_changed_settings(ce):
    assert ce.name == "quick-phantom-published"
    changed = replace(ce, identity=replace(TWO_FOLDS, settings={"udm.alpha": 0.5}))
    assert changed.name == "quick-phantom-published-udm.alpha=0.5"


def test_numbers_that_were_read_cannot_be_changed(ce):
    with pytest.raises(FrozenInstanceError):
        ce.references = frozenset({"ce"})


def refusal(run: Run) -> str:
    with pytest.raises(InputError) as caught:
        read(run.folder)
    return str(caught.value)


@pytest.mark.parametrize(("fold", "seed"), [(0, 0), (1, 0), (0, 1), (1, 1)])
def test_a_fit_that_is_missing_makes_the_run_half_done(tmp_path, fold, seed):
    run = write(tmp_path / "run", {"ce": {"low": CE["low"]}})
    gone = run.path(FitSpec("low", "ce", fold, seed))
    gone.unlink()
    assert refusal(run) == f"the record {gone} is missing, so the run is half done; run its command again"


def test_a_single_fit_of_a_row_is_half_a_run(tmp_path):
    run = write(tmp_path / "run", {"ce": {"low": HALVES["low"]}})
    gone = run.path(FitSpec("low", "ce", 1, 0))
    gone.unlink()
    assert refusal(run) == f"the record {gone} is missing, so the run is half done; run its command again"


def test_an_edited_record_is_refused_with_its_path_and_what_to_do(tmp_path):
    run = write(tmp_path / "run", {"ce": {"low": HALVES["low"]}})
    path = run.path(FitSpec("low", "ce", 1, 0))
    path.write_bytes(path.read_bytes().replace(b'"argmax"', b'"median"'))
    assert refusal(run) == (
        f"the record {path} cannot be used (edited or damaged: its content does not match its own hash); "
        "run the run's command again to make it anew"
    )


def test_a_record_removed_while_reading_is_refused(tmp_path, monkeypatch):
    run = write(tmp_path / "run", {"ce": {"low": HALVES["low"]}})
    whole = Run.read
    monkeypatch.setattr(Run, "read", lambda self, spec: self.path(spec).unlink() or whole(self, spec))
    path = run.path(FitSpec("low", "ce", 0, 0))
    assert refusal(run) == f"the record {path} was just removed; run its command again"


@pytest.mark.parametrize("classes", [2, 4])
def test_probabilities_over_another_number_of_classes_are_refused(tmp_path, monkeypatch, classes):
    monkeypatch.setitem(LABELS, "three", ("001", "011"))
    run = write(tmp_path / "run", {"ce": {"three": (("001", "011"),)}})
    spec = FitSpec("three", "ce", 1, 0)
    run.write(fit(spec, "011", classes=classes))
    assert refusal(run) == (
        f"the record {run.path(spec)}, key proba: no probabilities over 3 classes; "
        "delete it and run again to train that fit"
    )


@pytest.mark.parametrize("spoil", [lambda _: None, Path.mkdir, Path.touch], ids=["gone", "empty", "a file"])
def test_a_run_without_any_record_is_refused_by_the_place_of_its_records(tmp_path, spoil):
    run = write(tmp_path / "run", {})
    spoil(run.folder / "fits")
    assert refusal(run).startswith(str(run.folder / "fits"))


def test_a_folder_without_a_run_is_refused(tmp_path):
    with pytest.raises(InputError, match=re.escape(f"{tmp_path} holds no run.json")):
        read(tmp_path)
