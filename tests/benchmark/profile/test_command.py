"""The command as a user types it, on the smoke preset."""

import argparse
import json
import platform
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from rich.console import Console

import datasets
from benchmark.commands.profile import KINDS, fit_times, main, nodules_of, profiled
from benchmark.contracts import Collection, NoduleInfo
from benchmark.profile.measure import Profile, measure
from benchmark.profile.report import Report, print_report
from benchmark.timings import Machine
from datasets import store
from fakes import LINEAR, PRESET, TASK, make_cohort
from methods import ROWS
from vision import vision_task

SMOKE = ["--preset", "smoke", "--device", "cpu", "--workers", "0", "--steps", "1"]


def call(capsys, *arguments: str) -> tuple[int, str, str]:
    capsys.readouterr()
    status = main([*SMOKE, *arguments])
    return status, *capsys.readouterr()


@pytest.fixture(scope="module")
def prepared(tmp_path_factory) -> str:
    """A small cohort's file."""
    file = tmp_path_factory.mktemp("cohort") / "small.npz"
    cohort = make_cohort(60, volumes=np.zeros((60, 32, 32, 32), dtype=np.int16), content_hash="")
    store.write(replace(cohort, content_hash=store.content_hash(cohort)), file)
    return str(file)


@pytest.fixture(scope="module")
def figures(tmp_path_factory, prepared) -> Path:
    """What the command leaves in its work folder."""
    work = tmp_path_factory.mktemp("work")
    asked = ["--methods", "ce", "clip_lung", "--datasets", "A", "C", "--cohort", prepared]
    assert main([*SMOKE, *asked, "--work", str(work), "--write", str(work / "figures.json")]) == 0
    return work


def test_the_figures_have_shares_that_sum_to_one_and_no_more_operations_than_counted(figures):
    content = json.loads((figures / "figures.json").read_text())
    assert content["cuda"] == "not measured" and content.keys() == {"cpu", "cuda"}
    rows = content["cpu"]["smoke"]["rows"]
    for row in rows.values():
        assert sum(row["shares_of_a_plain_step"].values()) == pytest.approx(1, abs=1e-3)
        assert row["gflop_per_s"] == pytest.approx(row["gflop_per_step"] * row["steps_per_s"], rel=1e-3)
    assert rows["ce"]["shares_of_a_plain_step"]["text branch"] == 0
    assert rows["clip_lung"]["shares_of_a_plain_step"]["text branch"] > 0
    assert rows["ce"]["gflop_per_step"] < rows["clip_lung"]["gflop_per_step"]


def test_the_figures_name_models_and_versions_and_neither_host_nor_place(figures):
    text = (figures / "figures.json").read_text()
    here = json.loads(text)["cpu"]["smoke"]
    assert here["machine"]["torch"] == torch.__version__ and here["versions"]["python"] == platform.python_version()
    assert str(figures) not in text and "/" not in text and (platform.node() or "\0") not in text


def test_each_label_set_is_foretold_by_its_own_number_of_nodules():
    profile = Profile(0.0, 0.0, 1.0, 0.0, 0.0, {}, 0, None)  # a step takes a second, and nothing else anything
    preset = replace(PRESET, recipe=replace(PRESET.recipe, epochs=2, batch_size=10), folds=5)
    tasks, sizes = {"three": TASK, "two": TASK}, {"three": 100, "two": 50}
    found = fit_times({"linear": LINEAR}, {"linear": profile}, tasks, sizes, preset)
    assert {name: time.seconds for name, time in found.items()} == {("three", "linear"): 16.0, ("two", "linear"): 8.0}
    assert fit_times({"linear": LINEAR}, {}, tasks, sizes, preset) == {}


def test_references_are_foretold_too(figures):
    fits = json.loads((figures / "figures.json").read_text())["cpu"]["smoke"]["fit_s"]
    expected = {"ce", "clip_lung", "majority", "number_of_readers", "ratings_forest"}
    assert all(expected == fits[name].keys() - {"log_diameter"} for name in fits)


def test_another_preset_or_device_of_a_file_of_figures_stays(prepared, capsys, tmp_path):
    file = tmp_path / "figures.json"
    file.write_text('{"cpu": {"paper": {"rows": 1}}, "cuda": {"paper": {"rows": 2}}}')
    asked = ["--methods", "ce", "--datasets", "C", "--cohort", prepared]
    status, out, _ = call(capsys, *asked, "--work", str(tmp_path), "--write", str(file))
    content = json.loads(file.read_text())
    assert status == 0 and "All 25 fits of the rows that could be measured (LIDC-C, 5 folds, seeds: 1):" in out
    assert "by the profile of" in out and "CE Loss" in out and "text branch" not in out.replace("\n", " ")
    assert content["cpu"].keys() == {"paper", "smoke"} and content["cuda"] == {"paper": {"rows": 2}}


def test_a_busy_machine_is_named_beside_its_figures(capsys):
    busy = Report(Machine("cpu", "X", 1, "2"), "cpu", "smoke", "", 7.46, {"float32": 1e9}, 0.0, 1, "none", COSTS)
    print_report(Console(width=200), busy, {"ce": "CE"})
    assert busy.as_data()["load_before"] == 7.5 and "before: 7.5 processes" in capsys.readouterr().out
    unknown = replace(busy, load=None)
    print_report(Console(width=200), unknown, {"ce": "CE"})
    assert unknown.as_data()["load_before"] == "not measured" and "before: unknown" in capsys.readouterr().out


COSTS = {"ce": Profile(0.0, 0.0, 1.0, 0.0, 0.0, {"head": 1.0}, 0, None)}


def test_the_nodules_are_those_that_a_run_would_prepare_and_no_voxel_is_made(monkeypatch):
    class Eight(Collection):
        title, source, note = "Eight", "eight", "Eight nodules of four patients."

        def nodules(self):
            return [NoduleInfo(f"n{i}", f"p{i // 2}", malignancy=(1.0 + i % 5,), diameter_mm=5.0) for i in range(8)]

    monkeypatch.setitem(datasets.SOURCES, "phantom", Eight)
    options = argparse.Namespace(cohort=None, collection=None)
    assert len(nodules_of(options, PRESET)) == 8 and len(nodules_of(options, replace(PRESET, nodules=3))) == 4


def test_a_row_that_cannot_or_breaks_says_so_and_the_others_are_measured():
    rows = {key: replace(LINEAR, key=key, hyperparameters={"spoil": how}) for key, how in SPOILT.items()}
    profiles, failures = profiled(rows, TASK, PRESET, torch.device("cpu"), 1, lambda *_: None)
    assert list(profiles) == ["good"]
    assert failures == {
        "task": ("does not apply: it cannot work on this task", False),
        "input": ("cannot be made: the weights are gone", True),
        "raises": ("failed: RuntimeError: out of patience", True),
    }


SPOILT = {"good": "", "task": "task", "input": "input", "raises": "raise"}


@pytest.mark.parametrize("key", ["ce", "cocoop", "coop", "ordinal_clip", "mv_dar_text"])
def test_the_parts_are_found_in_methods_of_every_kind(key):
    task = vision_task()
    ticks = iter(range(10**9))  # a look at the clock takes a second
    found = measure(ROWS[key], task, PRESET, torch.device("cpu"), KINDS, 1, clock=lambda: float(next(ticks)))
    assert found.shares["image encoder"] > 0
    assert (found.shares["text branch"] > 0) == (key in ("cocoop", "coop", "ordinal_clip", "mv_dar_text"))


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (["--methods", "poison"], "there is no method 'poison'"),
        (["--preset", "quik"], "choose from smoke, quick, paper, auto or the path of a .toml file; did you mean"),
        (["--device", "gpu"], "there is no device 'gpu': choose from"),
        (["--datasets", "D"], "there is no dataset 'D'"),
        (["--source", "fantom"], "did you mean 'phantom'?"),
        (["--steps", "0"], "argument --steps: '0' is no whole number of 1 or more"),
        (["--collection", "x", "--source", "dicom"], "--collection brings its own nodules and takes no --source"),
        (["--write", "FOLDER"], "is no file of figures"),
    ],
)
def test_bad_input_is_one_sentence_and_status_2(capsys, tmp_path, arguments, sentence):
    (tmp_path / "damaged.json").write_text("{")
    given = [str(tmp_path / "damaged.json") if argument == "FOLDER" else argument for argument in arguments]
    status, out, err = call(capsys, "--work", str(tmp_path), *given)
    assert status == 2 and out == ""
    assert sentence in err and err.startswith("benchmark.profile: ") and err.count("\n") == 1


def test_a_file_of_figures_that_cannot_be_written_is_refused_before_any_work(capsys, tmp_path, monkeypatch):
    monkeypatch.setattr("benchmark.commands.profile.nodules_of", lambda *_: pytest.fail("it worked"))
    (tmp_path / "file").write_text("")
    for place, sentence in (
        (tmp_path, f"--write {tmp_path} is a folder: give the name of a file, such as {tmp_path / 'performance.json'}"),
        (tmp_path / "file" / "x.json", "give another folder with --write"),
    ):
        status, out, err = call(capsys, "--write", str(place))
        assert status == 2 and out == "" and err.count("\n") == 1 and sentence in err


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
def test_on_a_gpu_every_row_is_measured_and_both_peaks(tmp_path, capsys):
    file = tmp_path / "figures.json"
    asked = ["--device", "cuda", "--steps", "4", "--methods", "ce", "cocoop", "clip_lung", "--datasets", "A"]
    assert call(capsys, *asked, "--work", str(tmp_path), "--write", str(file))[0] == 0
    found = json.loads(file.read_text())["cuda"]["smoke"]
    assert found["matrix_product_gflop_per_s"].keys() == {"float32", "bfloat16"}
    assert all(row["peak_memory_mib"] > 0 for row in found["rows"].values())
