"""The chapter on two habits, on two invented runs of the same nodules whose every decision is known."""

import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

import datasets
import methods
from benchmark import references
from benchmark.bootstrap import paired_bootstrap
from benchmark.commands.compare import main as compare_main
from benchmark.habits import BANNER, FOLDER
from benchmark.identity import SPLIT
from benchmark.records import FitSpec, Metadata
from benchmark.report import Known, habits, page, verdict, write
from benchmark.report.gather import gather
from benchmark.report.parts import Grid, Points, Prose
from benchmark.run import Run
from datasets.protocols import LABEL_RULES, classify
from fakes import IDENTITY, A, B, record
from pages import Page
from runs import METADATA

KNOWN = Known.of(methods.ROWS | references.ROWS, LABEL_RULES, datasets.SOURCES, classify)
NODULES, LABELS = 12, np.arange(12) % 3
PATIENTS = np.array([0, 0, 0, 0, 1, 1, 2, 2, 3, 3, 4, 5])  # ten of twelve nodules are of four patients with several
WHOLE, SPLIT_UP = np.array([0] * 6 + [1] * 6), np.arange(12) % 2
WRONG = {
    "ce": ({0, 1, 2, 3, 4, 5}, {0, 1, 2}),  # 6 of 12 right where patients are whole, 9 where they are ignored
    "poisson": ({0, 1, 2}, {0, 1, 2, 3}),  # 9, and 8
    "majority": (set(range(12)), set(range(12))),
}
CURVES = {"ce": ([0.7, 0.5], [0.5, 0.5]), "poisson": ([0.65, 0.75], [0.75, 0.75])}
IDENTITY_2 = replace(IDENTITY, nodules=NODULES, folds=2)


def write_run(folder: Path, side: int, curves: bool = True, commit: str = "c0ffee", rows=tuple(WRONG)) -> Path:
    """Write a run of two folds: side 0 keeps patients whole, side 1 ignores them."""
    fold_of = (WHOLE, SPLIT_UP)[side]
    identity = replace(IDENTITY_2, fold_assignment=("abc", f"{SPLIT}def")[side])
    run = Run(folder, identity)
    run.start("python run_all.py --habits", replace(METADATA, commit=commit))
    for row in rows:
        decided = np.array([(LABELS[i] + (i in WRONG[row][side])) % 3 for i in range(NODULES)])
        for fold in range(2):
            tested = np.flatnonzero(fold_of == fold)
            curve = CURVES.get(row, ([], []))[fold] if curves and side == 0 else []
            made = record(
                FitSpec("three", row, fold, 0),
                LABELS[tested].tolist(),
                np.eye(3)[decided[tested]].tolist(),
                identity=identity,
                kind="reference" if row == "majority" else "paper",
                nodule_ids=tuple(f"n{i}" for i in tested),
                metadata=Metadata(test_curve=curve),
            )
            run.write(made)
    run.finish([A, B])
    names = "nodule_id,scan_id,patient_id,n_readers,malignancy_mean,diameter_mm,slice_thickness_mm,label_three,fold"
    lines = [f"n{i},s,p{PATIENTS[i]},1,3.0,8.0,1.25,{LABELS[i]},{fold_of[i]}" for i in range(NODULES)]
    (folder / "cohort.csv").write_text("\n".join([names, *lines]) + "\n")
    return folder


@pytest.fixture(scope="module")
def both(tmp_path_factory) -> Path:
    folder = write_run(tmp_path_factory.mktemp("habits") / "run", 0)
    write_run(folder / FOLDER, 1)
    return folder


@pytest.fixture
def copied(both, tmp_path) -> Path:
    return Path(shutil.copytree(both, tmp_path / "copy"))


def parts(folder: Path, kind: type) -> list:
    return [part for part in habits.chapter(gather(folder, KNOWN)).parts if isinstance(part, kind)]


def lines(folder: Path, title: str) -> dict[str, list[str]]:
    (grid,) = [grid for grid in parts(folder, Grid) if title in grid.caption]
    return {line[0].text: [cell.text for cell in line[1:]] for line in grid.body}


def text_of(folder: Path) -> str:
    return Page(page.page(gather(folder, KNOWN))).text


def test_each_row_has_what_choosing_an_epoch_adds_beside_an_honest_choice(both):
    assert lines(both, "what choosing an epoch adds") == {
        "CE Loss": ["50.0 ± 0.0", "+10.0 ± 14.1", "+10.0 ± 14.1"],  # fold 1 is level, so it chooses the first epoch
        "Poisson": ["75.0 ± 0.0", "+0.0 ± 0.0", "-5.0 ± 7.1"],
    }


def test_each_row_is_paired_with_itself_on_folds_that_ignore_patients(both):
    found = lines(both, "folds that ignore patients add")
    assert [found[row][:3] for row in ("CE Loss", "Poisson")] == [["50.0", "75.0", "+25.0"], ["75.0", "66.7", "-8.3"]]
    own, other = ([i not in WRONG["ce"][side] for i in range(NODULES)] for side in (0, 1))
    expected = paired_bootstrap(np.array(other), np.array(own), PATIENTS.astype(str))
    assert found["CE Loss"][3:] == [f"{100 * expected.low:+.1f}", f"{100 * expected.high:+.1f}"]
    assert found["Majority"] == ["0.0", "0.0", "+0.0", "-", "-"]


def test_all_methods_together_stand_in_a_sentence_here_and_in_the_verdict(both):
    run = gather(both, KNOWN)
    first, second = habits.in_short(run, A)
    assert first == (
        "The best epoch on the test fold would have added +5.0 points of accuracy (+0.0 to +10.0; 2 methods); one "
        "chosen on the other folds, +2.5."
    )
    right = np.array([[[i not in WRONG[row][side] for i in range(NODULES)] for row in CURVES] for side in (0, 1)])
    expected = paired_bootstrap(right[1], right[0], PATIENTS.astype(str))
    assert second.startswith(
        "Folds that ignore patients would have added +8.3 points of pooled accuracy (95 % interval "
        f"{100 * expected.low:+.1f} to {100 * expected.high:+.1f}; 2 methods): 67 % of patients have more than one "
        "nodule of these classes, and 83 % of the nodules were tested by fits that had trained on another"
    )
    said = [one for part in verdict.chapter(run).parts if isinstance(part, Points) for one in part.sentences]
    assert said.count(first) == said.count(second) == 1  # B shares A's fits, so that it says neither again
    assert habits.sentences(both, KNOWN) == [f"LIDC-A: {first}", f"LIDC-A: {second}"]


def test_what_was_not_measured_names_its_option_and_only_that(both, tmp_path):
    curves_alone = write_run(tmp_path / "curves", 0)
    assert [part.text for part in parts(curves_alone, Prose)][1:] == [habits._NO_FOLDS]
    folds_alone = write_run(tmp_path / "folds", 0, curves=False)
    shutil.copytree(both / FOLDER, folds_alone / FOLDER)
    assert parts(folds_alone, Prose)[0].text == habits._NO_EPOCHS and len(parts(folds_alone, Grid)) == 1
    neither = write_run(tmp_path / "neither", 0, curves=False)
    assert [part.text for part in habits.chapter(gather(neither, KNOWN)).parts] == [habits._NEITHER]
    assert "--habits" in habits._NEITHER and "--habits" in habits._NO_FOLDS and "--test-curve" in habits._NO_EPOCHS
    assert "would have added" not in text_of(neither)


def test_a_row_that_lacks_a_fold_in_one_of_the_runs_is_left_out_and_named(copied):
    (copied / FOLDER / "fits" / "three" / "ce" / "fold1-seed0.json").unlink()
    assert list(lines(copied, "folds that ignore patients add")) == ["Poisson", "Majority"]
    said = [one for part in parts(copied, Points) for one in part.sentences]
    assert "CE Loss: not compared, since one of the two runs lacks some of its folds." in said
    assert any("-8.3 points of pooled accuracy" in one and "one method" in one for one in said)


def test_the_second_run_must_be_this_run_on_other_folds(copied, tmp_path):
    shutil.rmtree(copied / FOLDER)
    shutil.copytree(write_run(tmp_path / "again", 0), copied / FOLDER)  # its folds keep patients whole
    found = gather(copied, KNOWN)
    assert found.ignoring is None and found.faults[f"{FOLDER}/run.json"].startswith("of another run")
    (copied / FOLDER / "run.json").write_text("{}")
    found = gather(copied, KNOWN)
    assert found.ignoring is None and "is damaged" in found.faults[f"{FOLDER}/run.json"]
    assert str(tmp_path) not in page.page(found)


def test_a_second_run_of_other_code_is_named(copied):
    write_run(copied / "other", 1, commit="decaf")
    shutil.rmtree(copied / FOLDER)
    (copied / "other").rename(copied / FOLDER)
    assert parts(copied, Prose)[-1].text == "The run on folds that ignore patients is of other code: commit decaf."


def test_the_page_is_made_anew_when_the_second_run_changes_and_is_the_same_bytes_else(copied, both):
    assert write(copied, KNOWN) and not write(copied, KNOWN)
    assert page.page(gather(copied, KNOWN)) == page.page(gather(both, KNOWN))
    (copied / FOLDER / "fits" / "three" / "ce" / "fold1-seed0.json").unlink()
    assert write(copied, KNOWN)
    shutil.rmtree(copied / FOLDER)
    assert write(copied, KNOWN)
    (copied / FOLDER).mkdir()
    (copied / FOLDER / "run.json").write_text("damaged")
    assert write(copied, KNOWN) and not write(copied, KNOWN)


def test_the_second_runs_own_page_says_that_it_is_no_result_and_measures_nothing(both):
    html = page.page(gather(both / FOLDER, KNOWN))
    found = Page(html)
    assert next(text for _, text in found.all("p", role="note")) == BANNER
    assert "folds ignore patients" in found.all("h1")[0][1] and 'id="habits"' not in html
    assert "would have added" not in found.text
    assert BANNER not in text_of(both)


def test_compare_says_that_the_folds_differ_and_pairs_nothing(both, capsys):
    assert compare_main([str(both), str(both / FOLDER)]) == 0
    out = " ".join(capsys.readouterr().out.split())
    assert "fold_assignment abc ignores patients def" in out and "Folds do not pair" in out
