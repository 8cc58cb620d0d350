"""The command as CI calls it: what it catches, what it lets pass, and bad input."""

import json
import re
import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

import runs
from benchmark.check.equivalence import agreements, load_margins
from benchmark.check.golden import load
from benchmark.check.measured import read
from benchmark.commands.check import RESULTS, main
from benchmark.contracts import InputError
from benchmark.published import load as load_paper
from benchmark.records import FitRecord, FitSpec
from benchmark.scores import Score, ScoreKey

ROWS = {"ce": 0.75, "poisson": 0.7, "udm": 0.72, "majority": 0.6}


@pytest.fixture(scope="module")
def accepted(tmp_path_factory) -> tuple[Path, Path]:
    """An accepted run of two seeds, and the folder of results that holds its golden numbers."""
    base = tmp_path_factory.mktemp("accepted")
    results = base / "results"
    runs.copy_results(results)
    runs.write_run(base / "run", ROWS, seeds=2)
    assert main([str(base / "run"), "--results", str(results), "--accept", "the first"]) == 0
    return base / "run", results


@pytest.fixture
def copied(accepted, tmp_path) -> tuple[Path, Path]:
    """The same, to be spoilt."""
    for source, name in zip(accepted, ("run", "results"), strict=True):
        shutil.copytree(source, tmp_path / name)
    return tmp_path / "run", tmp_path / "results"


def check(capsys, run: Path, results: Path, *arguments: str) -> tuple[int, str, str]:
    capsys.readouterr()
    status = main([str(run), "--results", str(results), *arguments])
    out, err = capsys.readouterr()
    assert max(map(len, out.splitlines()), default=0) <= 80 or arguments
    return status, out, err


def alter(run: Path, row: str, change) -> None:
    """Rewrite a row's records by a function of labels, probabilities and a generator."""
    for number, path in enumerate(sorted((run / "fits").glob(f"*/{row}/*.json"))):
        found = FitRecord.from_bytes(path.read_bytes())
        labels, proba = change(found.labels, found.proba, np.random.default_rng(number))
        path.write_bytes(replace(found, labels=labels, proba=proba).to_bytes())


def test_the_accepted_run_itself_passes(accepted, capsys):
    status, out, err = check(capsys, *accepted)
    assert status == 0 and err == "" and "PASS: all" in out and "the first" in out


@pytest.mark.parametrize("luck", range(1, 11))
def test_ten_honest_reruns_with_other_seeds_pass(accepted, tmp_path, capsys, luck):
    methods = {row: chance for row, chance in ROWS.items() if row != "majority"}
    runs.write_run(tmp_path / "run", methods, luck=luck)
    for label_set in ("two", "three"):  # a reference has no seeds, so its records are always the same
        place = Path("fits", label_set, "majority")
        shutil.copytree(accepted[0] / place, tmp_path / "run" / place)
    assert check(capsys, tmp_path / "run", accepted[1])[0] == 0


def test_predictions_learnt_from_shuffled_labels_are_caught(copied, capsys):
    alter(copied[0], "poisson", lambda labels, proba, rng: (labels, rng.permutation(proba)))
    status, out, _ = check(capsys, *copied)
    assert status == 1 and "REGRESSION" in out
    assert set(
        re.findall(r"^ *(\w+) +\S+ +Accuracy +\d+\.\d +\d+\.\d +-\d", out.split("Outside what")[1], re.MULTILINE)
    ) == {"poisson"}


def test_labels_shuffled_in_the_records_of_one_row_are_caught_by_name(copied, capsys):
    alter(copied[0], "majority", lambda labels, proba, rng: (rng.permutation(labels), proba))
    status, out, _ = check(capsys, *copied)
    assert status == 1 and "row majority was tested on other nodules or labels than accepted" in out


def test_an_accuracy_lowered_by_three_points_is_caught(copied, capsys):
    def lower(labels, proba, rng):
        right = np.flatnonzero(proba.argmax(axis=1) == labels)[: round(0.03 * len(labels))]
        proba[right] = np.roll(proba[right], 1, axis=1)
        return labels, proba

    alter(copied[0], "ce", lower)
    status, out, _ = check(capsys, *copied)
    assert status == 1 and re.search(r"^ ce .*-3\.0", out, re.MULTILINE)


def test_a_removed_row_is_caught_by_name_where_the_run_must_be_complete(copied, capsys):
    for label_set in ("three", "two"):
        shutil.rmtree(copied[0] / "fits" / label_set / "udm")
    status, out, _ = check(capsys, *copied, "--complete")
    assert status == 1 and "REGRESSION: not in this run: row udm;" in out


def test_a_complete_run_passes_as_one(accepted, capsys):
    status, out, _ = check(capsys, *accepted, "--complete")
    assert status == 0 and "PASS: all 140 scores within" in out


def test_a_row_that_fails_now_is_caught_with_its_reason(copied, capsys):
    path = copied[0] / "fits" / "two" / "udm" / "fold0-seed0.json"
    found = FitRecord.from_bytes(path.read_bytes())
    empty = {"status": "failed", "reason": "the loss is nan", "nodule_ids": (), "labels": found.labels[:0]}
    path.write_bytes(replace(found, **empty, proba=np.empty((0, 0))).to_bytes())
    status, out, _ = check(capsys, *copied)
    assert status == 1 and "row udm is missing on C-open (failed: the loss is nan)" in " ".join(out.split())
    status, _, err = check(capsys, *copied, "--accept", "all is well")
    assert status == 2 and "row udm on label set two failed: the loss is nan" in err


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        ({"cohort": "xyz"}, "another cohort: abc accepted, xyz here"),
        ({"fold_assignment": "xyz"}, "another assignment of nodules to folds: def accepted, xyz here"),
    ],
)
def test_another_cohort_is_a_regression_and_no_score_is_compared(accepted, tmp_path, capsys, change, sentence):
    runs.write_run(tmp_path / "run", ROWS, **change)
    status, out, _ = check(capsys, tmp_path / "run", accepted[1])
    assert status == 1 and f"REGRESSION: {sentence}" in out and "Accuracy: the run" not in out


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        ({"folds": 2}, "other folds (5 accepted, 2 here)"),
        ({"recipe": replace(runs.RUN_IDENTITY.recipe, epochs=9)}, "another recipe (epochs 6 accepted, 9 here)"),
        ({"preset": "paper"}, "there are no golden numbers"),
        ({"label_rule": "text"}, '--accept "reason"'),
    ],
)
def test_what_cannot_be_compared_is_status_2_with_the_reason(accepted, tmp_path, capsys, change, sentence):
    runs.write_run(tmp_path / "run", {"ce": 0.7}, **change)
    status, out, err = check(capsys, tmp_path / "run", accepted[1])
    assert status == 2 and sentence in err and err.count("\n") == 1
    assert "LIDC-A" in out  # the paper is compared all the same


def test_a_new_row_is_named_and_no_failure(accepted, tmp_path, capsys):
    shutil.copytree(accepted[0], tmp_path / "run")
    runs.write_run(tmp_path / "other", {"mine": 0.7})
    for label_set in ("three", "two"):
        place = Path("fits", label_set, "mine")
        shutil.copytree(tmp_path / "other" / place, tmp_path / "run" / place)
    status, out, _ = check(capsys, tmp_path / "run", accepted[1])
    assert status == 0 and "Not in the accepted numbers, so not compared: row mine." in out


def test_golden_numbers_come_back_as_the_run_had_them(accepted):
    run, golden = read(accepted[0]), load(accepted[1] / "golden" / "quick-phantom-published.toml")
    assert (
        golden.identity == run.identity.plain() and golden.versions == {"torch": "2.9"} and golden.reason == "the first"
    )
    assert golden.cells.keys() == run.cells.keys()
    for key, score in golden.cells.items():
        assert score.folds == pytest.approx(run.cells[key].folds, abs=1e-5)
        assert score.seed_std == pytest.approx(run.cells[key].seed_std, abs=1e-5)


@pytest.mark.parametrize("reason", ["", "  "])
def test_accepting_wants_a_reason(accepted, capsys, reason):
    path = accepted[1] / "golden" / "quick-phantom-published.toml"
    before = path.read_bytes()
    status, _, err = check(capsys, *accepted, f"--accept={reason}")
    assert status == 2 and "wants the reason in words" in err and path.read_bytes() == before


def test_a_reason_in_any_words_is_kept(copied, capsys):
    reason = 'the "new" phantom: 3 % brighter \\ [see #4]'
    assert check(capsys, *copied, "--accept", reason)[0] == 0
    assert load(copied[1] / "golden" / "quick-phantom-published.toml").reason == reason
    assert check(capsys, *copied)[0] == 0


def test_damaged_golden_numbers_do_not_stand_in_the_way_of_new_ones(copied, capsys):
    (copied[1] / "golden" / "quick-phantom-published.toml").write_text("half a")
    assert check(capsys, *copied, "--accept", "anew")[0] == check(capsys, *copied)[0] == 0


def test_accepting_and_a_complete_run_are_one_or_the_other(accepted, capsys):
    status, _, err = check(capsys, *accepted, "--complete", "--accept", "both")
    assert status == 2 and "not allowed with argument" in err and err.count("\n") == 1


def spoil(path: str, old: str, new: str):
    def do(run: Path, results: Path) -> None:
        file = (run.parent / path).resolve()
        text = file.read_text()
        assert old in text
        file.write_text(text.replace(old, new, 1))

    return do


def edit_run_file(old: str, new: str):
    def do(run: Path, results: Path) -> None:
        spoil("run/run.json", old, new)(run, results)
        (run / "run.json").write_bytes(runs.resealed((run / "run.json").read_bytes()))

    return do


GOLDEN = "results/golden/quick-phantom-published.toml"
RECORD = "run/fits/three/ce/fold0-seed0.json"


@pytest.mark.parametrize(
    ("damage", "sentence"),
    [
        (lambda run, _: shutil.rmtree(run / "fits"), r"run/fits"),
        (lambda run, _: (shutil.rmtree(run / "fits"), (run / "fits").touch()), r"run/fits"),
        (lambda run, _: (shutil.rmtree(run / "fits"), (run / "fits").symlink_to("fits")), r"run/fits"),
        (lambda run, _: ((run.parent / RECORD).unlink(), (run.parent / RECORD).mkdir()), r"fold0-seed0\.json"),
        (lambda run, _: ((run / "run.json").unlink(), (run / "run.json").mkdir()), r"run holds no run\.json"),
        (lambda run, _: (shutil.rmtree(run), run.touch()), r"run is no packed run, or a damaged one"),
        (lambda _, results: (results / "margins.toml").unlink(), r"margins\.toml is missing, the margins of"),
        (lambda _, results: shutil.rmtree(results), r"there are no golden numbers .*/results/golden/quick"),
        (
            lambda run, _: ((run.parent / GOLDEN).unlink(), (run.parent / GOLDEN).mkdir()),
            r"published\.toml: cannot be read",
        ),
        (lambda run, _: (run.parent / GOLDEN).write_text(""), r"published\.toml, line 1, key format: is missing"),
        (lambda run, _: (run.parent / GOLDEN).write_bytes(b"\xff"), r"published\.toml: is not UTF-8 text"),
        (spoil(GOLDEN, "[tests]", "[more]\n[tests]"), r"key more: is unknown; allowed here"),
        (lambda run, _: shutil.rmtree(run), r"run holds no run\.json; give the folder of a run"),
        (edit_run_file('"finished"', '"x"'), r"run\.json does not say finished, so the run is half done"),
        (edit_run_file('"title"', '"x"'), r"run\.json is damaged, .*`title`"),
        (edit_run_file('"fold_assignment"', '"x"'), r"run\.json is damaged, .*`fold_assignment`"),
        (spoil("run/run.json", "{", "["), r"run\.json is damaged, or of another version of this suite"),
        (lambda run, _: (run.parent / RECORD).unlink(), r"fold0-seed0\.json is missing, so the run is half done"),
        (spoil(RECORD, '"labels"', '"x"'), r"fold0-seed0\.json cannot be used \(edited or damaged: .* to make it anew"),
        (spoil(RECORD, '"proba":[[0.', '"proba":[[NaN, 0.'), r"fold0-seed0\.json cannot be used \(damaged"),
        (spoil(GOLDEN, "format = 1", "format = 2"), r"published\.toml, line 3, key format: must be 1, not 2"),
        (spoil(GOLDEN, "seeds = 2", "seeds = 0"), r"line \d+, key scores\.ce\.A-open\.seeds: must be a whole number"),
        (spoil(GOLDEN, "folds = [", "folds = [1, "), r"key scores\.ce\.A-open\.accuracy\.folds: must be 5 numbers"),
        (spoil(GOLDEN, ", seed_std", ", std"), r"key scores\.ce\.A-open\.accuracy\.seed_std: is missing"),
        (spoil(GOLDEN, "reason = ", "reason "), r"published\.toml, line 4, .*not valid TOML"),
        (spoil(GOLDEN, "[tests]", "[test]"), r"key tests: is missing"),
        (spoil(GOLDEN, 'three = "', 'three = 3 # "'), r"key tests\.three: must be a text"),
        (spoil("results/margins.toml", "points = 2.0", "points = 0.0"), r"margins\.toml, line 5, key accuracy\.points"),
    ],
)
def test_bad_input_is_one_sentence_with_file_and_key_and_status_2(copied, capsys, damage, sentence):
    damage(*copied)
    status, _, err = check(capsys, *copied)
    assert status == 2 and re.search(sentence, err) and err.count("\n") == 1 and err.startswith("benchmark.check: ")


@pytest.mark.parametrize("name", ["run.json", "fold0-seed0.json"])
def test_a_file_that_cannot_be_read_is_named_in_one_sentence(accepted, capsys, monkeypatch, name):
    def refuse(path: Path) -> bytes:
        if path.name == name:
            raise PermissionError(13, "Permission denied", str(path))
        return whole(path)

    whole = Path.read_bytes
    monkeypatch.setattr(Path, "read_bytes", refuse)
    status, _, err = check(capsys, *accepted)
    assert status == 2 and name in err and "Permission denied" in err and err.count("\n") == 1
    assert "or give another --out" not in err


def test_a_folder_that_the_system_refuses_is_named_in_one_sentence(accepted, capsys):
    status, _, err = check(capsys, Path("x" * 300), accepted[1])
    assert status == 2 and "x" * 300 in err and err.endswith("see to it, or give another folder\n")


def test_numbers_are_never_shortened_in_print(tmp_path, capsys):
    runs.write_run(tmp_path / "run", {"clip_lung_ic_ia": 0.0, "clip_lung": 1.0})
    out = check(capsys, tmp_path / "run", RESULTS, "--complete")[1]
    assert "clip_lung_ic_ia" in out and "100.0" in out and "\u2026" not in out


def test_a_run_of_the_phantom_says_nothing_about_the_paper(accepted, tmp_path, capsys):
    sentence = "says nothing about the paper"
    assert sentence in " ".join(check(capsys, *accepted)[1].split())
    runs.write_run(tmp_path / "run", {"ce": 0.7}, source="dicom")
    assert sentence not in " ".join(check(capsys, tmp_path / "run", accepted[1])[1].split())


@pytest.fixture(scope="module")
def paper():
    return load_paper(RESULTS / "published" / "clip_lung_2023.toml")


@pytest.mark.parametrize(
    ("shift", "spread", "verdict"),
    [
        (0.0, 0.5, "EQUIVALENT"),
        (0.005, 0.5, "EQUIVALENT"),
        (0.06, 0.5, "DIFFERENT"),
        (-0.06, 0.5, "DIFFERENT"),
        (0.02, 0.5, "INCONCLUSIVE"),
        (0.0, 4.0, "INCONCLUSIVE"),
    ],
)
def test_equivalence_is_shown_and_never_assumed(accepted, paper, shift, spread, verdict):
    run = read(accepted[0])
    key = ScoreKey("ce", "A-open", "accuracy")
    folds = 0.542 + shift + spread / 100 * np.array([-1, -0.5, 0, 0.5, 1]) / 0.790569
    cells = {key: Score(folds, tuple(range(5)))}
    changed = replace(run, cells=cells)
    (one,) = agreements(paper, changed, load_margins(RESULTS / "margins.toml"))
    assert one.verdict == verdict


def test_the_interval_is_welchs_with_overlapping_folds(accepted, paper):
    run = read(accepted[0])
    folds = 0.5 + 0.01 * np.array([-1.0, 0, 0, 0, 1])  # sample deviation sqrt(0.5) points; the paper's is 0.6
    cells = {ScoreKey("ce", "A-open", "accuracy"): Score(folds, tuple(range(5)))}
    (one,) = agreements(paper, replace(run, cells=cells), {"accuracy": 2.0})
    ours, theirs = 0.45 * 0.5, 0.45 * 0.36
    df = (ours + theirs) ** 2 / (ours**2 / 4 + theirs**2 / 4)
    assert df == pytest.approx(7.7926, abs=1e-3)
    half = 1.8647 * np.sqrt(ours + theirs) + 0.05  # the 95 % quantile of t with 7.79 degrees of freedom
    assert (one.low, one.high) == pytest.approx((-4.2 - half, -4.2 + half), abs=2e-3)


def test_the_margins_are_fixed_for_every_kind_of_printed_score():
    assert load_margins(RESULTS / "margins.toml") == {"accuracy": 2.0, "recall": 4.0, "f1": 4.0}


def test_a_run_is_unfinished_from_start_to_finish(tmp_path):
    run = runs.write_run(tmp_path / "run", {"ce": 0.7})
    assert run.protocols() == list(runs.PROTOCOLS)
    run.start("python run_all.py --methods ce udm", runs.METADATA)
    with pytest.raises(InputError, match=r"half done; finish it with: python run_all\.py --methods ce udm"):
        read(run.folder)
    assert FitSpec("two", "ce", 4, 0) in run.specs()
    assert json.loads((run.folder / "run.json").read_text())["commands"][0].endswith("quick")
