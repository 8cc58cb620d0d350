from dataclasses import replace

import numpy as np
import pytest
from scipy import stats

from benchmark.check.measured import read
from benchmark.commands.compare import main
from benchmark.compare.differences import Side, pairs, remarks, settings
from benchmark.compare.report import UNPAIRED, cells
from benchmark.contracts import TextWeights
from benchmark.records import FitSpec
from benchmark.run import Run
from fakes import record
from runs import METADATA, PROTOCOLS, write_run

ROWS = {"ce": 0.6, "poisson": 0.6, "majority": 0.4}


@pytest.fixture(scope="module")
def two(tmp_path_factory) -> tuple[Run, Run]:
    folder = tmp_path_factory.mktemp("runs")
    b = write_run(folder / "b", {"ce": 0.7, "poisson": 0.6, "majority": 0.4, "corf": 0.6}, luck=1, seeds=2)
    return write_run(folder / "a", ROWS), b


@pytest.fixture(scope="module")
def sides(two) -> tuple[Side, Side]:
    return tuple(Side(read(run.folder), run.metadata()) for run in two)


def call(capsys, a: Run, b: Run) -> tuple[int, str, str]:
    capsys.readouterr()
    status = main([str(a.folder), str(b.folder)])
    return status, *capsys.readouterr()


def test_an_interval_is_that_of_the_corrected_t_test_on_the_folds_that_both_test(sides):
    a, b = (side.run for side in sides)
    found = {pair.row: pair for pair in pairs(a, b, a.sections["A-open"], "accuracy")}
    assert found.keys() == ROWS.keys()
    delta = found["ce"].b.folds - found["ce"].a.folds
    error = np.sqrt((1 / 5 + 1 / 4) * np.var(delta, ddof=1))
    low, high = stats.t.interval(0.95, 4, loc=delta.mean(), scale=error)
    assert found["ce"].difference == pytest.approx(delta.mean())
    assert found["ce"].half == pytest.approx((high - low) / 2)
    assert found["ce"].p == pytest.approx(2 * stats.t.sf(abs(delta.mean()) / error, 4))
    assert found["ce"].adjusted == pytest.approx(min(1, 3 * min(pair.p for pair in found.values())))


def test_a_section_that_tests_a_part_of_the_nodules_has_its_own_correction(sides):
    a, b = (side.run for side in sides)
    (ce, *_) = pairs(a, b, a.sections["B-restricted"], "macro_f1")
    delta = ce.b.folds - ce.a.folds
    share = a.shares["B-restricted"]
    assert 0.6 < share < 0.7
    wanted = stats.t.ppf(0.975, 4) * np.sqrt((1 / 5 + share / 4) * np.var(delta, ddof=1))
    assert ce.half == pytest.approx(wanted)


def test_a_run_does_not_differ_from_itself(sides):
    a, _ = sides
    assert settings(a, a) == [] and remarks(a.run, a.run) == ["The same code made the rows of both."]
    for pair in pairs(a.run, a.run, a.run.sections["A-open"], "accuracy"):
        assert pair.difference == 0 and cells(pair)[2:] == ("+0.0", "in every fold", "-", "-")


def test_the_same_difference_in_every_fold_is_no_evidence_of_others(sides):
    a, _ = sides
    higher = {key: replace(score, folds=score.folds + 0.01) for key, score in a.run.cells.items()}
    for pair in pairs(a.run, replace(a.run, cells=higher), a.run.sections["A-open"], "accuracy"):
        assert pair.is_paired and cells(pair)[2:] == ("+1.0", "in every fold", "-", "-")


def test_no_p_value_is_printed_as_zero_and_every_difference_has_its_sign(sides):
    a, b = sides
    for pair in pairs(a.run, b.run, a.run.sections["A-open"], "accuracy"):
        _, _, difference, interval, *ps = cells(replace(pair, p=0.0001, adjusted=0.0004))
        assert ps == ["<0.001", "<0.001"]
        assert all(text[0] in "+-" for text in (difference, *interval.split(" to ")))


def test_folds_of_other_nodules_or_classes_get_no_interval(two, tmp_path, sides, capsys):
    other = write_run(tmp_path / "c", ROWS)
    for spec in other.specs():
        made = other.read(spec)
        other.write(replace(made, nodule_ids=tuple(f"other {name}" for name in made.nodule_ids)))
    a, c = sides[0].run, read(other.folder)
    for pair in pairs(a, c, a.sections["A-open"], "accuracy"):
        assert not pair.is_paired and cells(pair)[3:] == ("-", "-", "-")
    _, out, _ = call(capsys, two[0], other)
    assert UNPAIRED in out
    assert UNPAIRED not in call(capsys, *two)[1]


def test_every_setting_that_differs_is_named_and_no_other(tmp_path, sides):
    a, _ = sides
    recipe = replace(a.run.identity.recipe, lr=0.3)
    run = write_run(tmp_path / "c", ROWS, recipe=recipe, settings={"ce.tau": 2}, cohort="f" * 64)
    run.start(
        "again", replace(METADATA, device="cuda", versions={"torch": "3"}), PROTOCOLS, TextWeights("e" * 64, True)
    )
    run.finish(PROTOCOLS)
    c = Side(read(run.folder), run.metadata())
    assert settings(a, c) == [
        ("cohort", "abc", "f" * 12),
        ("recipe.lr", "0.1", "0.3"),
        ("versions.torch", "2.9", "3"),
        ("device", "cpu", "cuda"),
        ("settings.ce.tau", "-", "2"),
        ("text_tower.weights", "-", "e" * 12),
    ]
    assert remarks(a.run, c.run) == ["Whether the code of a row differs too cannot be told, since settings do."]


def test_rows_of_one_run_alone_failures_and_other_code_are_said(tmp_path, sides):
    a, b = sides
    assert remarks(a.run, b.run)[0] == "Rows of B alone: corf."
    assert ("seeds a fold", "1", "2") in settings(a, b)
    run = write_run(tmp_path / "c", ROWS)
    spec = FitSpec("two", "ce", 0, 0)
    run.write(record(spec, [], [], identity=run.identity, status="failed", reason="a loss is nan"))
    for spec in run.specs():
        if spec.method == "poisson":
            run.write(replace(run.read(spec), key="newer"))
    said = remarks(a.run, read(run.folder))
    assert said == [
        "B, ce on two: failed: a loss is nan.",
        "Rows that other code, or other defaults, made in B: poisson.",
    ]


def test_the_command_prints_both_runs_and_every_shared_row(two, capsys):
    status, out, err = call(capsys, *two)
    assert status == 0 and err == ""
    for text in ("LIDC-A, accuracy", "LIDC-C, macro F1", "CE Loss", "seeds a fold", "B less A", "95 % interval"):
        assert text in out
    assert "CORF" not in out and "Rows of B alone: corf." in out


def test_what_is_no_finished_run_is_one_sentence(two, capsys, tmp_path):
    run = write_run(tmp_path / "half", ROWS)
    run.path(FitSpec("two", "ce", 3, 0)).unlink()
    status, out, err = call(capsys, two[0], run)
    assert status == 2 and out == "" and err.count("\n") == 1 and "is missing, so the run is half done" in err
    status, out, err = call(capsys, two[0], replace_folder(two[1], tmp_path / "nothing"))
    assert status == 2 and out == "" and "holds no run.json" in err and "Traceback" not in err


def replace_folder(run: Run, folder) -> Run:
    return Run(folder, run.identity)
