"""The command on runs of fewer rows or datasets, or of records by other code: what is compared, and what is said."""

import json
import re
import shutil
from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

import runs
from benchmark.commands.check import main
from benchmark.contracts import Protocol, TextWeights
from benchmark.files import sealed
from benchmark.identity import fit_key
from benchmark.records import FitRecord, FitSpec
from fakes import A, C
from methods import ROWS as METHODS

ROWS = {"ce": 0.75, "poisson": 0.7, "udm": 0.72, "majority": 0.6}


@pytest.fixture(scope="module")
def accepted(tmp_path_factory) -> tuple[Path, Path]:
    """An accepted run, and the folder of results that holds its golden numbers and no paper's."""
    base = tmp_path_factory.mktemp("accepted")
    runs.write_run(base / "run", ROWS)
    assert main([str(base / "run"), "--results", str(base / "results"), "--accept", "the first"]) == 0
    return base / "run", base / "results"


@pytest.fixture
def copied(accepted, tmp_path) -> tuple[Path, Path]:
    """The same, to be spoilt."""
    for source, name in zip(accepted, ("run", "results"), strict=True):
        shutil.copytree(source, tmp_path / name)
    return tmp_path / "run", tmp_path / "results"


def check(capsys, run: Path, results: Path, *arguments: str) -> tuple[int, str, str]:
    """Return the status, what was printed, on one line, and what was complained of."""
    capsys.readouterr()
    status = main([str(run), "--results", str(results), *arguments])
    out, err = capsys.readouterr()
    return status, " ".join(out.split()), err


def keep(run: Path, rows: Iterable[str], *protocols: Protocol) -> None:
    """Make a run what it were if it had been asked for these rows and datasets alone."""
    for place in (run / "fits").glob("*/*"):
        if place.name not in rows or place.parent.name not in {protocol.label_set for protocol in protocols}:
            shutil.rmtree(place)
    content = json.loads((run / "run.json").read_text())
    content["protocols"] = [one for one in content["protocols"] if one["key"] in {p.key for p in protocols}]
    del content["sha256"]
    (run / "run.json").write_bytes(sealed(json.dumps(content).encode()))


def test_a_run_of_one_dataset_is_compared_in_part_and_says_so(copied, capsys):
    keep(copied[0], ROWS, A)
    status, out, _ = check(capsys, *copied)
    assert status == 0 and "Not in this run, so not compared: sections B-open, B-restricted, C-open." in out
    assert (
        "PASS: all 40 compared scores within what folds and seeds allow; 100 of 140 accepted scores not compared;"
        in out
    )


def test_of_the_scores_that_are_not_compared_the_first_are_named_with_the_reason(copied, capsys):
    keep(copied[0], ROWS, A)
    first = (
        r"Not compared: (\w+ mean accuracy, ){2}\w+ mean accuracy and 1 more \(a mean over label sets, which this run"
    )
    assert re.search(first, check(capsys, *copied)[1])


def test_a_run_of_one_row_is_compared_in_part_and_says_so(copied, capsys):
    keep(copied[0], ["ce"], A, C)
    status, out, _ = check(capsys, *copied)
    assert status == 0 and "so not compared: rows majority, poisson, udm; sections B-open, B-restricted." in out
    assert "PASS: all 19 compared scores" in out and "; 121 of 140 accepted scores not compared" in out


def test_a_row_worse_in_a_part_is_a_regression_of_the_part(copied, capsys):
    keep(copied[0], ["ce"], A)
    for path in (copied[0] / "fits").glob("three/ce/*.json"):
        found = FitRecord.from_bytes(path.read_bytes())
        path.write_bytes(replace(found, proba=np.roll(found.proba, 1, axis=1)).to_bytes())
    status, out, _ = check(capsys, *copied)
    assert status == 1 and re.search(r"REGRESSION: \d+ of 10 compared scores outside .*; 130 of 140 accepted", out)
    assert "Meant so? Make the whole run, then python -m" in out


@pytest.mark.parametrize(("rows", "protocols"), [(["ce", "udm"], [A]), (ROWS, [C])])
def test_of_a_complete_run_what_is_gone_is_a_regression(copied, capsys, rows, protocols):
    keep(copied[0], rows, *protocols)
    assert check(capsys, *copied)[0] == 0
    status, out, _ = check(capsys, *copied, "--complete")
    assert status == 1 and "REGRESSION: not in this run: " in out and "so not compared" not in out


def test_a_row_that_has_one_dataset_and_lacks_another_is_a_regression(copied, capsys):
    shutil.rmtree(copied[0] / "fits" / "two" / "udm")
    status, out, _ = check(capsys, *copied)
    assert status == 1 and "REGRESSION: row udm is missing on C-open; 9 of 140 accepted" in out


def test_a_run_without_an_accepted_row_is_no_pass(accepted, tmp_path, capsys):
    runs.write_run(tmp_path / "run", {"mine": 0.7})
    status, out, err = check(capsys, tmp_path / "run", accepted[1])
    assert status == 2 and "they have no score in common" in err and "PASS" not in out and err.count("\n") == 1


def test_accepting_a_part_says_what_is_no_longer_accepted(copied, capsys):
    keep(copied[0], ["ce", "udm"], A)
    status, out, _ = check(capsys, *copied, "--accept", "these alone")
    lost = "rows majority, poisson; sections B-open, B-restricted, C-open"
    assert status == 0 and f"No longer accepted, since not in this run: {lost}" in out
    assert "No longer" not in check(capsys, *copied, "--accept", "the same")[1]


def test_records_of_other_code_are_counted_and_no_failure(tmp_path, capsys):
    rows, settings = dict.fromkeys(("mine", "poisson", "clip"), 0.7), {"poisson.tau": 2.0}
    run = runs.write_run(tmp_path / "run", rows, settings=settings)
    run.start("again", runs.METADATA, runs.PROTOCOLS, TextWeights("abc", published=False))
    run.finish(runs.PROTOCOLS)
    tuned = replace(METHODS["poisson"], hyperparameters={"tau": 2.0})
    made = {row.key: fit_key(run.identity, row, weights="abc") for row in (tuned, METHODS["clip"])}
    for spec in run.specs():
        run.write(replace(run.read(spec), key=made.get(spec.method, "a plugin's")))
    status, out, _ = check(capsys, run.folder, tmp_path / "results", "--accept", "the first")
    assert status == 0 and "other code" not in out
    run.write(replace(run.read(FitSpec("two", "clip", 4, 0)), key="old"))
    status, out, _ = check(capsys, run.folder, tmp_path / "results")
    said = "Rows with records that other code than this checkout's made, whose numbers are theirs: clip (1)."
    assert status == 0 and said in out
