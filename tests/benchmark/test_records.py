import json
import multiprocessing
import os
import signal
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from benchmark.contracts import InputError
from benchmark.records import FitRecord, FitSpec, Run, write_atomically
from fakes import IDENTITY, record

SPEC = FitSpec("three", "ce", 0, 0)


@given(st.lists(st.floats(2**-10, 1, width=32), min_size=3, max_size=3))
def test_a_record_keeps_every_float32_probability_exactly(weights):
    row = (np.array(weights, dtype=np.float32) / np.float32(sum(weights))).tolist()
    again = FitRecord.from_json(record(SPEC, [1], [row]).to_json())
    assert np.array_equal(again.proba.astype(np.float32), np.array([row], dtype=np.float32))


def test_a_record_comes_back_as_it_was(run):
    written = record(SPEC, [0, 2], [[0.5, 0.25, 0.25], [0, 0, 1]], hyperparameters={"tau": 1.0}, facts={"seconds": 3})
    run.write(written)
    found = run.read(SPEC)
    assert found is not None and found.to_json() == written.to_json()
    assert run.read(replace(SPEC, fold=1)) is None


def test_a_record_without_predictions_comes_back(run):
    run.write(record(SPEC, [], [], status="failed", reason="NaN"))
    found = run.read(SPEC)
    assert found is not None and found.reason == "NaN" and len(found.proba) == 0


@pytest.mark.parametrize("damage", ["", "{", '{"format": 1}', '{"format": 9}', "[]", "null"])
def test_a_damaged_record_is_named_with_what_to_do(run, damage):
    run.write(record(SPEC, [0], [[1, 0, 0]]))
    run.path(SPEC).write_text(damage)
    with pytest.raises(InputError, match=r"fold0-seed0\.json is damaged .*delete it and run again"):
        run.read(SPEC)
    assert run.path(SPEC).read_text() == damage  # nothing is lost


def test_a_record_of_another_run_or_fit_is_refused(run):
    run.write(record(SPEC, [0], [[1, 0, 0]], identity={"cohort": "xyz"}))
    with pytest.raises(InputError, match="belongs to another run"):
        run.read(SPEC)
    run.write(record(SPEC, [0], [[1, 0, 0]]))
    run.path(SPEC).rename(run.path(replace(SPEC, fold=1)))
    with pytest.raises(InputError, match="belongs to another run"):
        run.read(replace(SPEC, fold=1))


def test_a_folder_of_another_cohort_or_recipe_is_refused_and_left_alone(run):
    run.start("first command", {})
    before = {path: path.read_bytes() for path in run.folder.rglob("*") if path.is_file()}
    with pytest.raises(InputError, match=r"another cohort \(abc there, xyz now\).*--out"):
        Run(run.folder, IDENTITY | {"cohort": "xyz"})
    with pytest.raises(InputError, match=r"another recipe \(lr: 0\.05 there, 0\.1 now\)"):
        Run(run.folder, IDENTITY | {"recipe": {"epochs": 2, "lr": 0.1}})
    assert before == {path: path.read_bytes() for path in run.folder.rglob("*") if path.is_file()}


def test_run_json_keeps_the_commands_of_a_folder_in_order(run):
    run.start("first", {"device": "cpu"})
    Run(run.folder, IDENTITY).start("second", {"device": "cpu"})
    assert json.loads((run.folder / "run.json").read_text())["commands"] == ["first", "second"]


def test_a_damaged_run_json_or_fits_without_one_are_refused(run):
    run.start("first", {})
    (run.folder / "run.json").write_text('{"identity"')
    with pytest.raises(InputError, match=r"run\.json is damaged"):
        Run(run.folder, IDENTITY)
    (run.folder / "run.json").unlink()
    (run.folder / "fits").mkdir()
    with pytest.raises(InputError, match=r"holds fits but no run\.json"):
        Run(run.folder, IDENTITY)


def _write_until_killed(folder: str, ready) -> None:
    for number in range(1_000_000):
        write_atomically(Path(folder, f"{number % 50}.json"), json.dumps(["x" * 200_000, number]))
        if number == 20:
            ready.set()


def test_a_process_killed_while_writing_leaves_only_whole_files(tmp_path):
    context = multiprocessing.get_context("spawn")
    ready = context.Event()
    process = context.Process(target=_write_until_killed, args=(str(tmp_path), ready))
    process.start()
    assert ready.wait(60)
    assert process.pid is not None
    os.kill(process.pid, signal.SIGKILL)
    process.join()
    files = list(tmp_path.glob("[0-9]*.json"))
    assert len(files) >= 20
    assert all(len(json.loads(file.read_text())) == 2 for file in files)


def test_a_failed_write_leaves_the_old_file_and_nothing_beside_it(tmp_path):
    file = tmp_path / "a.json"
    write_atomically(file, "old")
    with pytest.raises(UnicodeEncodeError):
        write_atomically(file, "\ud800")
    assert file.read_text() == "old" and list(tmp_path.iterdir()) == [file]
