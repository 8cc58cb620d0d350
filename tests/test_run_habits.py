"""`run_all.py --habits` as a user types it, on the smoke preset."""

import csv
import json
import shutil
from collections import Counter
from pathlib import Path

import pytest

import run_all
from benchmark.commands.check import main as check_main
from benchmark.commands.report import main as report_main
from benchmark.experiment import Experiment
from benchmark.habits import BANNER, FOLDER
from runs import copy_results

ARGUMENTS = ["--preset", "smoke", "--folds", "2", "--device", "cpu", "--workers", "0", "--epochs", "2"]
ARGUMENTS += ["--datasets", "C", "--methods", "ce"]


def call(capsys, *arguments: str) -> tuple[int, str, str]:
    capsys.readouterr()
    status = run_all.main([*ARGUMENTS, *arguments])
    return status, *capsys.readouterr()


def files(folder: Path) -> dict[str, bytes]:
    return {str(p.relative_to(folder)): p.read_bytes() for p in sorted(folder.rglob("*")) if p.is_file()}


def records(folder: Path) -> dict[str, dict]:
    paths = sorted((folder / "fits").rglob("*.json"))
    return {str(path.relative_to(folder)): json.loads(path.read_text())["record"] for path in paths}


def patients_in_several_folds(folder: Path) -> int:
    with (folder / "cohort.csv").open() as file:
        pairs = {(row["patient_id"], row["fold"]) for row in csv.DictReader(file)}
    return sum(folds > 1 for folds in Counter(patient for patient, _ in pairs).values())


@pytest.fixture(scope="module")
def plain(tmp_path_factory) -> Path:
    out = tmp_path_factory.mktemp("plain") / "run"
    assert run_all.main([*ARGUMENTS, "--out", str(out)]) == 0
    return out


@pytest.fixture(scope="module")
def measured(tmp_path_factory) -> Path:
    out = tmp_path_factory.mktemp("measured") / "run"
    assert run_all.main([*ARGUMENTS, "--habits", "--out", str(out)]) == 0
    return out


def test_measuring_habits_changes_no_number_of_the_run_itself(plain, measured):
    tables = [path.name for path in plain.glob("table*")]
    assert len(tables) == 3 and not patients_in_several_folds(measured)
    for name in [*tables, "cohort.csv"]:
        assert (measured / name).read_bytes() == (plain / name).read_bytes(), name
    own, without = records(measured), records(plain)
    assert own.keys() == without.keys() and len(own) == 5 * 2
    for path, record in own.items():
        assert record["proba"] == without[path]["proba"] and record["key"] == without[path]["key"]
        assert len(record["metadata"]["test_curve"]) == 2 * (record["kind"] != "reference")


def test_the_second_run_is_whole_tests_each_nodule_once_more_and_says_what_it_is(measured):
    beside = measured / FOLDER
    assert json.loads((beside / "run.json").read_text())["finished"] and patients_in_several_folds(beside) > 10
    own, again = ([one for one in records(of).values() if one["spec"]["method"] == "ce"] for of in (measured, beside))
    tested = [sorted(nodule for record in side for nodule in record["nodule_ids"]) for side in (own, again)]
    assert tested[0] == tested[1] and len(set(tested[0])) == len(tested[0]) > 100
    assert all(record["settings"] == own[0]["settings"] for record in again)
    for path in beside.glob("table2.*"):
        assert " ".join(BANNER.split()) in " ".join(path.read_text().split())
    assert not list(beside.rglob("*.safetensors"))


def test_the_report_and_the_screen_say_what_was_measured(measured, capsys):
    html = (measured / "report.html").read_text("utf-8")
    assert "Folds that ignore patients would have added" in html and "The best epoch on the test fold" in html
    assert report_main([str(measured)]) == 0 and "is up to date" in capsys.readouterr().out
    status, out, _ = call(capsys, "--habits", "--out", str(measured))
    assert status == 0 and "LIDC-C: Folds that ignore patients would have added" in out
    assert BANNER not in out  # the tables on the screen are those of the run itself


def test_of_a_finished_run_it_says_what_can_no_longer_be_measured(plain, measured, capsys, tmp_path):
    out = Path(shutil.copytree(plain, tmp_path / "run"))
    status, said, _ = call(capsys, "--habits", "--out", str(out))
    late = "LIDC-C: What the best epoch on the test fold would have added cannot be told of CE Loss: these fits were"
    assert status == 0 and late in said and "Folds that ignore patients would have added" in said
    assert "finished without --test-curve (part of --habits)" in said and "give another --out to measure it" in said
    assert late not in call(capsys, "--habits", "--out", str(measured))[1]


def test_a_second_call_trains_nothing(measured, capsys, monkeypatch):
    monkeypatch.setattr(Experiment, "train", lambda *_: pytest.fail("it trained again"))
    before = files(measured)
    assert call(capsys, "--habits", "--out", str(measured))[0] == 0 and files(measured) == before


def test_a_run_killed_between_the_two_goes_on_with_the_second_alone(plain, measured, capsys, tmp_path, monkeypatch):
    out, train, trained = tmp_path / "run", Experiment.train, []

    def killed(self, *arguments):
        if self.folder.name == FOLDER:
            raise KeyboardInterrupt
        train(self, *arguments)

    with monkeypatch.context() as patched:
        patched.setattr(Experiment, "train", killed)
        status, _, err = call(capsys, "--habits", "--out", str(out))
    assert status == 130 and "the same command goes on from there" in err
    assert (out / "table2.md").read_bytes() == (plain / "table2.md").read_bytes()  # its tables do not wait
    before = files(out / "fits")
    monkeypatch.setattr(Experiment, "train", lambda self, *rest: (trained.append(self.folder), train(self, *rest))[1])
    assert call(capsys, "--habits", "--out", str(out))[0] == 0
    assert trained == [out / FOLDER] and files(out / "fits") == before
    again, once = records(out / FOLDER), records(measured / FOLDER)
    assert {path: one["proba"] for path, one in again.items()} == {path: one["proba"] for path, one in once.items()}


def test_the_second_run_is_neither_gone_on_with_nor_checked_nor_accepted_as_the_real_one(measured, capsys, tmp_path):
    beside = Path(shutil.copytree(measured / FOLDER, tmp_path / "beside"))
    before = files(beside)
    status, _, err = call(capsys, "--out", str(beside))
    assert status == 2 and "holds a run with another fold assignment" in err and files(beside) == before
    copy_results(tmp_path / "results")
    for wanted in ([], ["--accept", "it is the best"], ["--complete"]):
        assert check_main([str(beside), *wanted, "--results", str(tmp_path / "results")]) == 2
        assert "ignore patients, so its numbers are no result" in capsys.readouterr().err
    assert not list((tmp_path / "results").rglob("smoke-*"))


def test_a_record_of_the_second_run_is_of_no_use_to_the_first(measured, capsys, tmp_path):
    out = Path(shutil.copytree(measured, tmp_path / "run"))
    place = Path("fits", "two", "ce", "fold0-seed0.json")
    shutil.copy(out / FOLDER / place, out / place)
    status, _, err = call(capsys, "--out", str(out))
    assert status == 0 and "set aside two/ce/fold0-seed0.json: of another run or fit" in err
    assert records(out)[str(place)]["proba"] == records(measured)[str(place)]["proba"]


def test_the_plan_counts_both_runs(measured, capsys, tmp_path):
    status, out, _ = call(capsys, "--habits", "--dry-run", "--out", str(tmp_path / "new"))
    said = " ".join(out.split())
    assert status == 0 and not (tmp_path / "new").exists()
    assert "10 of 10 fits to do, workers: 0 on cpu" in said
    assert "10 of 10 fits to do on folds that ignore patients, into" in said
    _, out, _ = call(capsys, "--habits", "--dry-run", "--out", str(measured))
    assert " ".join(out.split()).count("0 of 10 fits to do") == 2


def test_averaged_weights_have_no_curve_and_that_is_said_before_anything_is_made(capsys, tmp_path):
    (tmp_path / "averaged.toml").write_text('base = "smoke"\n[recipe]\nema = 0.9\n')
    given = ["--preset", str(tmp_path / "averaged.toml"), "--habits", "--out", str(tmp_path / "new")]
    status, out, err = call(capsys, *given)
    assert status == 2 and not out and "(part of --habits)" in err and "set ema = 0" in err
    assert not (tmp_path / "new").exists()
