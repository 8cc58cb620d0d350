"""What is read of a run folder, on a run of a few nodules whose every file is known."""

import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

import datasets
from benchmark.contracts import Columns, InputError
from benchmark.files import sha256
from benchmark.habits import FOLDER as IGNORING
from benchmark.identity import SPLIT
from benchmark.records import FitRecord, FitSpec
from benchmark.report import Known
from benchmark.report.gather import gather, hashes
from benchmark.report.nodules import listed, table_of
from benchmark.run import Run
from benchmark.runfile import RunFile
from datasets.protocols import LABEL_RULES, classify
from fakes import IDENTITY, A, B, C, record
from gathered import ROWS
from nodule_tables import make_table
from runs import METADATA

KNOWN = Known.of(ROWS, LABEL_RULES, datasets.SOURCES, classify)
IDENTITY_2 = replace(IDENTITY, nodules=4, folds=2)
SURE = np.eye(3)[[0, 2]].tolist()


def fit(key: str, fold: int = 0, label_set: str = "three", **changes) -> FitRecord:
    return record(FitSpec(label_set, key, fold, 0), [0, 2], SURE, **{"identity": IDENTITY_2} | changes)


def write_run(folder: Path, *records: FitRecord, **changes) -> Path:
    """Write a run of two folds with two nodules each."""
    run = Run(folder, replace(IDENTITY_2, **changes))
    run.start("python run_all.py", METADATA)
    for one in records or (fit("ce"), fit("ce", 1)):
        run.write(replace(one, identity=run.identity))
    run.finish([A, B])
    write_cohort(folder)
    return folder


def write_cohort(folder: Path, nodules: int = 4) -> None:
    lines = [f"n{i},s,p{i},1,3.0,8.0,1.25,{i // 2}" for i in range(nodules)]
    names = "nodule_id,scan_id,patient_id,n_readers,malignancy_mean,diameter_mm,slice_thickness_mm,fold"
    (folder / "cohort.csv").write_text("\n".join([names, *lines]) + "\n")


@pytest.fixture(scope="module")
def written(tmp_path_factory) -> Path:
    """A run that is only read."""
    return write_run(tmp_path_factory.mktemp("gather") / "run")


@pytest.fixture
def folder(written, tmp_path) -> Path:
    return Path(shutil.copytree(written, tmp_path / "run"))


def reasons(folder: Path) -> dict[str, str]:
    return dict(gather(folder, KNOWN).faults)


def test_a_whole_run_is_read_without_a_fault(written):
    run = gather(written, KNOWN)
    assert [*run.found] == [FitSpec("three", "ce", 0, 0), FitSpec("three", "ce", 1, 0)]
    assert (run.faults, run.strangers, run.figures, run.ignoring, run.folds) == ({}, (), {}, None, 2)
    assert len(run.nodules) == len(run.cohort) == 4 and run.known is KNOWN
    assert [*run.rows] == ["ce"] and run.file.identity == IDENTITY_2


def test_known_rows_stand_in_table_order_and_unknown_ones_last_under_their_keys(tmp_path):
    strange = fit("zebra", kind="reference"), fit("bat", kind="variant"), fit("ape", kind="plugin")
    run = gather(write_run(tmp_path / "run", *strange, fit("majority", kind="reference"), fit("ce")), KNOWN)
    assert [*run.rows] == ["ce", "majority", "ape", "bat", "zebra"] and run.strangers == ("ape", "bat", "zebra")
    assert [(row.title, row.kind) for row in run.rows.values()][2:] == [
        ("ape", "plugin"),
        ("bat", "plugin"),
        ("zebra", "reference"),
    ]
    assert run.rows["ce"] is ROWS["ce"]
    none = Columns(np.empty((0, 0)), np.empty((0, 0), dtype=bool), np.empty(0), np.empty(0, dtype=int), ())
    with pytest.raises(InputError, match="give the --plugin that defines it"):
        run.rows["ape"].make(none, none, np.empty(0, dtype=int), 3, 0)


def test_sections_tables_lines_and_anchors_follow_the_protocols_and_the_records(tmp_path):
    run = gather(write_run(tmp_path / "run", fit("ce"), fit("poisson")), KNOWN)
    assert [section.key for section in run.sections] == ["A-open", "B-restricted", "B-open"]
    assert [section.key for section in run.first_sections] == ["A-open", "B-restricted"]
    assert [*run.tables] == ["table1", "table2"] and run.tables["table1"].folds == 2
    assert [line.title for line in run.lines] == ["CE Loss", "Poisson"]
    assert run.anchors == {
        ("ce", "A-open"): "evidence-0",
        ("ce", "B-restricted"): "evidence-1",
        ("ce", "B-open"): "evidence-2",
        ("poisson", "A-open"): "evidence-3",
        ("poisson", "B-restricted"): "evidence-4",
        ("poisson", "B-open"): "evidence-5",
    }
    assert run.tables is run.tables and run.lines is run.lines and run.sections is run.sections


def test_a_row_without_a_record_of_a_label_set_has_no_evidence_there(written):
    run = gather(written, KNOWN)
    run = replace(run, file=replace(run.file, protocols=[A, C]))
    assert [*run.anchors] == [("ce", "A-open")]


def test_what_the_numbers_rest_on_is_told_by_the_run_and_its_label_rule(written):
    run = gather(written, KNOWN)
    assert run.origin.rule_note == LABEL_RULES["published"] and run.origin.found is run.found
    assert replace(run, known=replace(KNOWN, rules={})).origin.rule_note == ""


def test_what_is_known_has_the_note_of_every_source_and_the_published_papers():
    assert dict(KNOWN.notes) == {key: source.note for key, source in datasets.SOURCES.items()}
    assert KNOWN.rows is ROWS and KNOWN.rules is LABEL_RULES and KNOWN.classify is classify and KNOWN.papers


def test_a_record_that_cannot_be_scored_is_named_with_the_reason(folder):
    run = Run.open(folder)
    for stray in (
        fit("ce", label_set="four"),
        fit("ce", 2),
        fit("ce", 3),
        fit("Ce"),
        fit("c-e"),
        fit("ä"),
        record(FitSpec("three", "poisson", 0, 0), [0, 1], np.eye(2).tolist()),
        record(FitSpec("three", "poisson", 1, 0), [0, 1], np.eye(4)[:2].tolist()),
    ):
        run.write(replace(stray, identity=IDENTITY_2))
    (folder / "fits" / "three" / "ce" / "fold1-seed0.json").write_text("{")
    there = folder / "fits" / "three" / "ce" / "fold0-seed0.json"
    elsewhere = folder / "fits" / "three" / "nsb" / there.name
    elsewhere.parent.mkdir()
    shutil.copy(there, elsewhere)
    found = reasons(folder)
    assert "damaged" in found.pop("fits/three/ce/fold1-seed0.json")
    assert found == {
        "fits/four/ce/fold0-seed0.json": "run.json does not say how to score the classes 'four'",
        "fits/three/ce/fold2-seed0.json": "the run has no fold 2",
        "fits/three/ce/fold3-seed0.json": "the run has no fold 3",
        "fits/three/Ce/fold0-seed0.json": "'Ce' is no key of a row",
        "fits/three/c-e/fold0-seed0.json": "'c-e' is no key of a row",
        "fits/three/ä/fold0-seed0.json": "'ä' is no key of a row",
        "fits/three/poisson/fold0-seed0.json": "no probabilities over 3 classes",
        "fits/three/poisson/fold1-seed0.json": "no probabilities over 3 classes",
        "fits/three/nsb/fold0-seed0.json": "of another run or fit",
    }
    assert [*gather(folder, KNOWN).found] == [FitSpec("three", "ce", 0, 0)]


def test_a_fit_that_failed_has_no_probabilities_and_is_no_fault(tmp_path):
    broken = record(FitSpec("three", "ce", 0, 0), [], [], status="failed", reason="it diverged")
    run = gather(write_run(tmp_path / "run", broken), KNOWN)
    assert run.faults == {} and [one.reason for one in run.found.values()] == ["it diverged"]


def test_a_record_that_cannot_be_read_is_named_and_has_no_hash(folder):
    there = folder / "fits" / "three" / "ce" / "fold0-seed0.json"
    there.unlink()
    there.symlink_to(there.name)  # leads to itself
    run = gather(folder, KNOWN)
    ((path, said),) = run.faults.items()
    assert path == "fits/three/ce/fold0-seed0.json" and "cannot be read" in said and run.hashes[path] == ""


def test_a_fit_in_a_folder_that_no_fit_of_the_run_has_is_named(folder):
    there = folder / "fits" / "three" / "ce" / "fold0-seed0.json"
    there.rename(there.with_name("fold00-seed0.json"))  # another name of the same numbers
    assert reasons(folder) == {"fits/three/ce/fold0-seed0.json": "it lies in a folder that no fit of this run has"}


def test_every_file_that_the_page_is_made_from_has_its_hash_and_what_cannot_be_read_has_none(folder):
    (folder / "cohort.csv").unlink()
    (folder / "figures").mkdir()
    (folder / "figures" / "tsne.svg").write_bytes(b"<svg/>")
    (folder / "figures" / "attention.png").write_bytes(b"")
    (folder / "figures" / "notes.txt").write_bytes(b"no part of the page")
    run = gather(folder, KNOWN)
    fits = [f"fits/three/ce/fold{fold}-seed0.json" for fold in (0, 1)]
    read = ["run.json", "figures/tsne.svg", *fits]
    expected = {name: sha256((folder / name).read_bytes()) for name in read}
    assert run.hashes == hashes(folder) == expected | {"cohort.csv": "", "figures/attention.png": ""}
    assert dict(run.figures) == {"tsne.svg": b"<svg/>"}


def beside(folder: Path, **changes) -> Path:
    """Write the same run on folds that ignore patients, where it belongs."""
    return write_run(folder / IGNORING, **{"fold_assignment": f"{SPLIT}def"} | changes)


def test_the_same_run_on_folds_that_ignore_patients_is_read_with_its_own_faults(folder):
    there = beside(folder)
    (there / "fits" / "three" / "ce" / "fold1-seed0.json").write_text("{")
    run = gather(folder, KNOWN)
    assert run.ignoring.file.identity.splits_patients and len(run.ignoring.found) == 1
    assert [*run.faults] == [f"{IGNORING}/fits/three/ce/fold1-seed0.json"]
    assert run.hashes[f"{IGNORING}/cohort.csv"] == run.hashes["cohort.csv"] != ""


@pytest.mark.parametrize("changes", [{"fold_assignment": "def"}, {"fold_assignment": "xyz"}, {"nodules": 5}])
def test_a_run_beside_that_keeps_patients_whole_or_differs_in_more_than_its_folds_is_not_used(folder, changes):
    beside(folder, **changes)
    run = gather(folder, KNOWN)
    said = {f"{IGNORING}/run.json": "of another run: more than its folds differs, or no patient is in two of them"}
    assert run.ignoring is None and run.faults == said


def test_a_damaged_run_beside_is_named_without_the_folder_that_it_lies_in(folder):
    (folder / IGNORING).mkdir()
    assert gather(folder, KNOWN).faults == {}, "an empty folder is no run"
    (folder / IGNORING / "run.json").write_text("{")
    found = gather(folder, KNOWN)
    (said,) = found.faults.values()
    assert [*found.faults] == [f"{IGNORING}/run.json"] and said.startswith(f"{IGNORING}/run.json is damaged")
    assert found.hashes[f"{IGNORING}/run.json"] == sha256(b"{") and found.ignoring is None


@pytest.mark.parametrize("nodules", [3, 1005])
def test_a_cohort_csv_of_more_or_fewer_nodules_than_the_run_is_not_used(folder, nodules):
    write_cohort(folder, nodules)
    run = gather(folder, KNOWN)
    assert run.nodules is None and run.faults == {"cohort.csv": f"{nodules:,} nodules, where the run has 4"}
    assert len(run.cohort) == 4 and run.cohort.patient_ids == ()


def test_numbers_of_nodules_are_said_with_commas(written):
    file = RunFile(replace(IDENTITY_2, nodules=1234), METADATA, [])
    assert table_of(written, file) == (None, "4 nodules, where the run has 1,234")


def test_nodules_are_listed_by_who_gives_their_class_and_where_their_voxels_come_from():
    file = RunFile(IDENTITY_2, METADATA, [])
    table = make_table(4, malignancy=np.array([3.0, np.nan, 1.0, np.nan]))
    found = listed(file, table, {"phantom": "Rendered."})
    assert found.given_labels.tolist() == [-1, 0, -1, 0] and found.patient_ids == table.patient_ids
    assert (found.collection, found.source, found.note) == ("LIDC", "phantom", "Rendered.")
    unknown = listed(file, None, {})
    assert unknown.given_labels.tolist() == [-1] * 4 and unknown.note == "Voxels of LIDC, source phantom."
    assert unknown.provenance is METADATA.provenance and len(unknown) == 4 and unknown.patient_ids == ()
