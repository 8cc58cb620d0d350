"""The command as a user types it, on the smoke preset."""

import csv
import hashlib
import json
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import open_clip
import pytest
import torch

import methods
import run_all
import towers
from benchmark.commands.check import main as check_main
from benchmark.commands.figures import main as figures_main
from benchmark.commands.predict import main as predict_main
from benchmark.commands.report import main as report_main
from benchmark.experiment import Experiment
from benchmark.places import work_folder
from benchmark.records import FitSpec
from benchmark.runner import seed_of
from runs import copy_results

SMOKE = ["--preset", "smoke", "--folds", "2", "--device", "cpu"]


def call(capsys, *arguments: str) -> tuple[int, str, str]:
    capsys.readouterr()
    status = run_all.main(list(arguments))
    return status, *capsys.readouterr()


def files(folder: Path) -> dict[str, bytes]:
    return {str(p.relative_to(folder)): p.read_bytes() for p in sorted(folder.rglob("*")) if p.is_file()}


def check(capsys, run: Path, *arguments: str) -> tuple[int, str]:
    capsys.readouterr()
    status = check_main([str(run), *arguments])
    return status, capsys.readouterr().out


@pytest.fixture(autouse=True, scope="module")
def towers_are_let_go() -> Iterator[None]:
    yield
    towers.let_go()


@pytest.fixture(scope="module")
def finished(tmp_path_factory) -> Path:
    out = tmp_path_factory.mktemp("runs") / "run"
    arguments = ["--datasets", "A", "B", "C", "--methods", "ce", "poisson", "--workers", "0", "--out", str(out)]
    assert run_all.main([*SMOKE, *arguments]) == 0
    return out


def test_one_command_writes_tables_records_cohort_and_settings(finished):
    for name in ("table1", "table2"):
        text = (finished / f"{name}.md").read_text()
        assert "Phantom: rendered from the radiologists' outlines and ratings, not CT" in text
        assert "these numbers mean nothing" in text
        assert "ddof=1" in text and "(reference) Majority" in text and "Poisson" in text
        assert {finished / f"{name}.tex", finished / f"{name}.csv"} <= set(finished.iterdir())
    assert len(list((finished / "fits").rglob("*.json"))) == 6 * 2 * 2  # rows, label sets, folds
    run = json.loads((finished / "run.json").read_text())
    assert run["identity"]["preset"] == "smoke" and run["commands"][0].startswith("python run_all.py --preset smoke")


def test_every_run_leaves_a_report_that_its_own_command_finds_up_to_date(finished, capsys):
    html = (finished / "report.html").read_text("utf-8")
    assert "these numbers mean nothing" in html and "cannot be told apart" in html
    assert report_main([str(finished)]) == 0 and "is up to date" in capsys.readouterr().out


def test_no_patient_is_in_two_folds(finished):
    with (finished / "cohort.csv").open() as file:
        rows = list(csv.DictReader(file))
    folds: dict[str, set[str]] = {}
    for row in rows:
        folds.setdefault(row["patient_id"], set()).add(row["fold"])
    assert len(rows) > 150 and all(len(of_patient) == 1 for of_patient in folds.values())


def test_a_and_b_share_their_fits(finished):
    assert sorted(p.name for p in (finished / "fits").iterdir()) == ["three", "two"]


def test_table_3_stands_for_the_rows_that_leave_losses_out(tmp_path, capsys):
    chosen = [
        "--methods",
        "clip_lung",
        "clip_lung_ic",
        "--datasets",
        "A",
        "--workers",
        "0",
        "--out",
        str(tmp_path / "r"),
    ]
    status, out, _ = call(capsys, *SMOKE, *chosen, "--workers", "0")
    text = (tmp_path / "r" / "table3.md").read_text()
    assert status == 0 and "Table 3" in out and "| IC + IA + CA" in text and "| (reference) Majority" in text
    assert "CLIP-Lung (IC)" not in (tmp_path / "r" / "table1.md").read_text()  # its rows stand in Table 3 alone
    assert len(list((tmp_path / "r" / "fits" / "three" / "clip_lung").glob("*.json"))) == 2


def test_a_second_call_trains_nothing_and_changes_nothing(finished, capsys, monkeypatch):
    monkeypatch.setattr(Experiment, "train", lambda *_: pytest.fail("it trained again"))
    before = files(finished)
    status, out, _ = call(capsys, *SMOKE, "--methods", "ce", "poisson", "--out", str(finished))
    assert status == 0 and "Table 1" in out and "Table 2" in out
    assert files(finished) == before


def test_two_workers_write_the_same_tables_as_none(finished, tmp_path, capsys):
    out = tmp_path / "two"
    arguments = ["--methods", "ce", "poisson", "--workers", "2", "--out", str(out)]
    assert call(capsys, *SMOKE, *arguments)[0] == 0
    for path in finished.glob("table*"):
        assert (out / path.name).read_bytes() == path.read_bytes(), path.name


def test_a_small_runs_weights_stand_beside_its_records_and_predict(finished, capsys):
    records = [path for path in (finished / "fits").rglob("*.json") if path.parent.name in ("ce", "poisson")]
    assert len(records) == 2 * 2 * 2 and len(list((finished / "fits").rglob("*.safetensors"))) == len(records)
    for path in records:
        kept = hashlib.sha256(path.with_suffix(".safetensors").read_bytes()).hexdigest()
        assert json.loads(path.read_text())["record"]["metadata"]["weights"] == kept
    cohort = next((work_folder(None) / "cohorts").glob("phantom-200-*.npz"))
    capsys.readouterr()
    assert predict_main([str(finished), "poisson", "--input", str(cohort), "--label-set", "two"]) == 0
    out, _ = capsys.readouterr()
    lines = [line for line in out.splitlines() if not line.startswith("#")]
    assert lines[0].startswith("nodule_id,decision,p_benign,p_malignant,std_benign") and len(lines) > 150


def test_a_small_runs_figures_measure_attention_and_stand_in_its_report(finished, tmp_path, capsys):
    run = Path(shutil.copytree(finished, tmp_path / "run"))
    assert figures_main([str(run), "--methods", "ce", "poisson", "--fold", "1"]) == 0
    out, err = capsys.readouterr()
    assert "tsne.svg, attention.svg, shares.svg, shares.csv" in out and "Left out" not in err
    lines = list(csv.DictReader((run / "figures" / "shares.csv").read_text().splitlines()[1:-1]))
    shares = {(line["method"], line["share"]): float(line["value"]) for line in lines}
    assert 0 < shares["ce", "area"] < shares["ce", "best"] < 1 and 0 <= shares["ce", "inside"] <= shares["ce", "best"]
    assert {key for key, share in shares if share == "alike"} == {"ce", "poisson"}
    assert report_main([str(run)]) == 0 and "Written to" in capsys.readouterr().out
    html = (run / "report.html").read_text("utf-8")
    assert html.count('<img src="data:image/svg+xml;base64,') == 3 and len(html) < 6e6


def test_a_test_curve_changes_nothing_but_the_records_that_hold_it(finished, capsys, tmp_path):
    arguments = [*SMOKE, "--methods", "ce", "--datasets", "C", "--workers", "0", "--test-curve"]
    assert call(capsys, *arguments, "--out", str(tmp_path / "new"))[0] == 0
    for fold in (0, 1):
        place = Path("fits", "two", "ce", f"fold{fold}-seed0.safetensors")
        assert (tmp_path / "new" / place).read_bytes() == (finished / place).read_bytes()
        with_it, without = (
            json.loads((folder / place).with_suffix(".json").read_text())["record"]
            for folder in (tmp_path / "new", finished)
        )
        assert with_it["proba"] == without["proba"] and with_it["key"] == without["key"]
        assert len(with_it["metadata"]["test_curve"]) == 1 and without["metadata"]["test_curve"] == []
    before = files(finished)
    status, _, err = call(capsys, *arguments, "--keep-weights", "--out", str(finished))
    assert status == 0 and files(finished) == before  # asked for what its finished fits lack, it trains nothing
    assert "2 of 2 finished fits were made without keeping their test curve" in err and "their weights" not in err


def test_a_dry_run_writes_nothing(finished, capsys, tmp_path):
    status, out, _ = call(capsys, *SMOKE, "--methods", "ce", "--dry-run", "--out", str(tmp_path / "new"))
    assert "Weights of the last epoch: kept beside the records, about 1 MB of weights in all" in out
    assert status == 0 and "20 of 20 fits to do" in out and not (tmp_path / "new").exists()
    before = files(finished)
    _, out, _ = call(capsys, *SMOKE, "--methods", "ce", "--dry-run", "--out", str(finished))
    assert "0 of 20 fits to do" in out and files(finished) == before


def test_a_finished_run_tells_the_next_plan_how_long_it_takes(finished, capsys, tmp_path):
    arguments = ["--methods", "ce", "poisson", "coral", "--workers", "1", "--dry-run", "--out", str(tmp_path / "new")]
    status, out, _ = call(capsys, *SMOKE, *arguments)
    said = " ".join(out.split())
    assert status == 0 and "with 1 worker, by the run of" in said and "of the fits were never timed" in said
    other = ["--work", str(tmp_path / "work"), "--seeds", "2"]
    _, out, _ = call(capsys, *SMOKE, *arguments, *other)
    assert "no profile and no run on this machine has told yet" in " ".join(out.split())
    assert not (tmp_path / "work").exists()
    prepared = next((work_folder(None) / "cohorts").glob("phantom-200-*.npz"))
    file = shutil.copy(prepared, tmp_path / "other.npz")  # another file, never timed, which may hold more nodules
    _, out, _ = call(capsys, *SMOKE, *arguments, "--cohort", str(file))
    assert "no profile and no run on this machine has told yet" in " ".join(out.split())


def test_a_sample_has_a_folder_of_its_own_and_the_plan_says_so(capsys):
    status, out, _ = call(capsys, *SMOKE, "--methods", "ce", "--nodules", "300", "--dry-run")
    said = " ".join(out.split())
    assert status == 0 and "Of a sample: whole patients, spread evenly, until they hold 300 nodules." in said
    assert "smoke-nodules=300-phantom-published" in "".join(out.split())
    _, out, _ = call(capsys, "--preset", "quick", "--device", "cpu", "--methods", "ce", "--dry-run")
    assert "Of a sample" not in out


def test_a_prepared_sample_is_named_where_no_folder_is_given(prepared, capsys):
    arguments = ["--preset", "quick", "--device", "cpu", "--methods", "ce", "--cohort", str(prepared), "--dry-run"]
    status, out, _ = call(capsys, *arguments)
    assert status == 0 and "quick-nodules=200-phantom-published" in "".join(out.split())


def test_a_sample_of_ones_own_nodules_says_its_size_everywhere_and_is_checked_against_no_whole(
    capsys, tmp_path, monkeypatch
):
    import datasets

    monkeypatch.setattr(datasets, "COLLECTIONS", {})
    (tmp_path / "mine.py").write_text(COLLECTION.replace("range(20)", "range(60)"))
    arguments = ["--collection", "mine", "--methods", "ce", "--workers", "0", "--plugin", str(tmp_path / "mine.py")]
    arguments += ["--work", str(tmp_path / "results"), "--epochs", "2"]
    refusals = {"60": "--nodules 60 would take all 60 nodules of Mine (mine)", "2": "are too few for 2 folds that each"}
    for number, sentence in refusals.items():
        status, _, err = call(capsys, *SMOKE, *arguments, "--nodules", number)
        assert status == 2 and sentence in " ".join(err.split())
        assert not list((tmp_path / "results" / "cohorts").glob("*"))
    status, out, err = call(capsys, *SMOKE, *arguments, "--nodules", "40")
    run = tmp_path / "results" / "runs" / "smoke-epochs=2-nodules=40-mine-published"
    sentence = "A sample of whole patients, spread evenly: 40 of 60 nodules. Its figures are noisier"
    assert status == 0 and sentence in " ".join(out.split())
    assert sentence in (run / "table2.md").read_text() and sentence in (run / "report.html").read_text("utf-8")
    identity = json.loads((run / "run.json").read_text())["identity"]
    assert (identity["preset"], identity["nodules"]) == ("smoke-epochs=2-nodules=40", 40)
    assert f"40 nodules prepared, cohort {identity['cohort'][:12]}" in " ".join(err.split())
    capsys.readouterr()
    assert check_main([str(run)]) == 2
    assert "it rests on a sample of 40 nodules, which is not compared with" in " ".join(capsys.readouterr().err.split())
    status, _, err = call(capsys, *SMOKE, *arguments, "--out", str(run))  # smoke's own sample: all sixty
    assert status == 2 and "holds a run with another" in err


def test_list_names_every_choice(capsys):
    status, out, _ = call(capsys, "--list")
    assert status == 0 and all(word in out for word in ("LIDC-B", "poisson", "quick", "phantom", "published"))


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (["--datasets", "D"], "there is no dataset 'D': choose from A, B, C"),
        (["--datasets", "a"], "there is no dataset 'a': choose from A, B, C; did you mean 'A'?"),
        (["--methods", "poison"], "there is no method 'poison'"),
        (["--methods", "poison"], "did you mean 'poisson'?"),
        (["--preset", "quik"], "choose from smoke, quick, paper, auto or the path of a .toml file; did you mean"),
        (["--source", "fantom"], "did you mean 'phantom'?"),
        (["--label-rule", "tekst"], "did you mean 'text'?"),
        (["--device", "gpu"], "there is no device 'gpu': choose from"),
        (["--device", "cuda:99"], "the device 'cuda:99' is not on this machine: choose from cpu"),
        (["--folds", "1"], "argument --folds: '1' is no whole number of 2 or more"),
        (["--seeds", "none"], "argument --seeds: 'none' is no whole number of 1 or more"),
        (["--workers", "-1"], "argument --workers"),
        (["--epochs", "0"], "argument --epochs: '0' is no whole number of 1 or more"),
        (["--lr", "nan"], "argument --lr: 'nan' is no number above zero"),
        (["--set", "poison.tau=1"], "there is no row 'poison'"),
        (["--set", "poisson.tau=high"], "--set 'poisson.tau=high': must be a number, like the default 1.0"),
        (["--collection", "nowhere"], "'nowhere' is neither a registered collection nor a folder"),
        (["--collection", "x", "--source", "dicom"], "--collection brings its own nodules and takes no --source"),
        (["--dicom-root", "x"], "--dicom-root is for --source dicom, not for phantom"),
        (["--text-tower", "nowhere.pt"], "--text-tower 'nowhere.pt' is neither 'openai', 'random', another tower that"),
        (["--text-tower", "local-dir:nowhere"], "there is no folder for the text tower at "),
        (["--text-tower", "local-dir:~nobody-here/x"], "begins with the home of a user who is not known here"),
        (
            ["--text-tower", "hf-hub:nothing", "--dry-run"],
            "'hf-hub:nothing' is no model on the hub; write hf-hub:OWNER",
        ),
        (["--cohort", "nowhere.npz"], "nowhere.npz"),
        (["--cohort", "x.npz", "--nodules", "9"], "--cohort is prepared already and takes no --nodules: leave one of"),
        (["--nodules", "0"], "argument --nodules: '0' is no whole number of 1 or more"),
        (["--nodules", "many"], "argument --nodules: 'many' is no whole number of 1 or more"),
        (
            ["--work", "~nobody-here/x"],
            "the path '~nobody-here/x' begins with the home of a user who is not known here",
        ),
        (["--text-tower", "~nobody-here/x.pt"], "the path '~nobody-here/x.pt' begins with the home of a user who is"),
        (["--preset", "~nobody-here/x.toml"], "the path '~nobody-here/x.toml' begins with the home of a user who is"),
        (["--plugin", "nowhere.py"], "nowhere.py is no Python file"),
        (["--no-such-option"], "unrecognized arguments: --no-such-option"),
    ],
)
def test_bad_input_is_one_sentence_and_status_2(capsys, tmp_path, arguments, sentence):
    out_folder = tmp_path / "out"
    status, out, err = call(capsys, *SMOKE, "--out", str(out_folder), *arguments)
    assert status == 2 and out == ""
    assert sentence in err and err.startswith("run_all.py: ") and err.count("\n") == 1
    assert not out_folder.exists()


@pytest.mark.parametrize("change", [["--label-rule", "text"], ["--folds", "3"], ["--text-tower", "openai"]])
def test_a_folder_of_another_run_is_refused_and_left_alone(finished, capsys, change):
    before = files(finished)
    status, _, err = call(capsys, *SMOKE, "--methods", "ce", "--out", str(finished), *change)
    assert status == 2 and "holds a run with " in err and "--out" in err
    assert files(finished) == before


@pytest.fixture
def prepared(finished) -> Path:
    """The cohort of the finished run, wherever this user's work is kept."""
    return next((work_folder(None) / "cohorts").glob("phantom-200-*.npz"))


def test_a_damaged_prepared_file_is_refused_by_name(prepared, capsys, tmp_path):
    damaged = tmp_path / "damaged.npz"
    content = bytearray(prepared.read_bytes())
    content[len(content) // 2] ^= 1
    damaged.write_bytes(content)
    status, _, err = call(capsys, *SMOKE, "--cohort", str(damaged), "--out", str(tmp_path / "out"))
    assert status == 2 and "damaged.npz" in err and err.count("\n") == 1


PLUGIN = """
import torch
from torch import nn
import methods
from benchmark.contracts import Method, Unsupported

class Spoilt(Method):
    title = "Spoilt"

    def __init__(self, task):
        super().__init__()
        if task.num_classes == 2:
            raise Unsupported("it wants three classes")
        self.head = nn.Linear(1, task.num_classes)
        self.batches = 0

    def loss(self, batch):
        self.batches += 1
        spoil = torch.nan if torch.initial_seed() == {seed} else 1.0
        logits = self.head(batch.images.mean(dim=(1, 2, 3))[:, None])
        return {{"ce": spoil * nn.functional.cross_entropy(logits, batch.labels)}}

    def predict_proba(self, images):
        return self.head(images.mean(dim=(1, 2, 3))[:, None]).softmax(1)

methods.register("spoilt", Spoilt)
"""


def test_a_fit_that_breaks_is_a_footnote_and_status_1_and_the_rest_goes_on(capsys, tmp_path, monkeypatch):
    monkeypatch.setattr(methods, "ROWS", dict(methods.ROWS))  # so that the plugin does not stay registered
    plugin = tmp_path / "spoilt.py"
    plugin.write_text(PLUGIN.format(seed=seed_of(FitSpec("three", "spoilt", 1, 0))))
    out_folder = tmp_path / "out"
    arguments = ["--methods", "spoilt", "--workers", "0", "--plugin", str(plugin), "--out", str(out_folder)]
    status, out, err = call(capsys, *SMOKE, *arguments)
    assert status == 1 and "1 of 20 fits failed" in err
    assert "Spoilt on LIDC-A failed on fold 1: TrainingFailed: the loss term 'ce' is nan in epoch 1" in out
    assert "Spoilt on LIDC-C does not apply: it wants three classes" in out
    assert "(n=1)" in (out_folder / "table1.md").read_text()


@pytest.fixture
def no_weights(tmp_path, monkeypatch):
    """A machine without OpenAI's weights and without a network."""
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path))


def test_missing_weights_are_said_before_the_cohort_is_prepared_and_never_fallen_back_on(
    no_weights, capsys, tmp_path, monkeypatch
):
    monkeypatch.setattr(run_all, "prepare", lambda *_: pytest.fail("hours of reading CT"))
    arguments = ["--preset", "paper", "--methods", "clip", "--device", "cpu", "--out", str(tmp_path / "out")]
    status, _, err = call(capsys, *arguments)
    assert status == 2 and "--text-tower" in err and err.count("\n") == 1
    assert not (tmp_path / "out").exists()


TINY = """
base = "smoke"
[encoder]
channels = [2, 4, 8, 512]
[text_tower]
name = "openai"
width = 512
layers = 12
heads = 8
"""

SPEC_ONLY = """
import torch
from torch import nn
import methods
from benchmark.contracts import Method
from methods._tower import load_text_tower

class Told(Method):
    title = "Told"
    reads_text = True

    def __init__(self, task):
        super().__init__()
        self.register_buffer("scale", load_text_tower(task.text_tower).clip.logit_scale.clone())
        self.head = nn.Linear(1, task.num_classes)

    def loss(self, batch):
        logits = self.scale * self.head(batch.images.mean(dim=(1, 2, 3))[:, None])
        return {"ce": nn.functional.cross_entropy(logits, batch.labels)}

    def predict_proba(self, images):
        return self.head(images.mean(dim=(1, 2, 3))[:, None]).softmax(1)

methods.register("told", Told)
"""


def test_one_run_has_one_text_tower_and_every_table_names_it(no_weights, capsys, tmp_path, monkeypatch):
    """Finish a run with one file of weights, delete a record, run again with another file."""
    monkeypatch.setattr(methods, "ROWS", dict(methods.ROWS))
    for name, value in (("preset.toml", TINY), ("told.py", SPEC_ONLY)):
        (tmp_path / name).write_text(value)
    clip = open_clip.CLIP(**open_clip.get_model_config("ViT-B-16-quickgelu")).requires_grad_(False).half()
    clip.logit_scale.fill_(4.6055)
    torch.save(clip.state_dict(), tmp_path / "one.pt")
    clip.ln_final.bias[0] += 1
    torch.save(clip.state_dict(), tmp_path / "other.pt")
    out = tmp_path / "out"
    arguments = ["--preset", str(tmp_path / "preset.toml"), "--plugin", str(tmp_path / "told.py"), "--folds", "2"]
    arguments += ["--methods", "told", "--datasets", "C", "--device", "cpu", "--workers", "0", "--out", str(out)]
    one, other = (["--text-tower", str(tmp_path / f"{name}.pt")] for name in ("one", "other"))
    assert call(capsys, *arguments, *one)[0] == 0
    run = json.loads((out / "run.json").read_text())
    named = f"unverified weights (hash {run['text_weights']['sha256'][:12]})"
    for name in ("table2.md", "table2.csv", "table2.tex"):
        text = (out / name).read_text()
        assert named in text and "OpenAI" not in text, name
    record = out / "fits" / "two" / "told" / "fold1-seed0.json"
    before = record.read_bytes()
    record.unlink()
    status, _, err = call(capsys, *arguments, *other)
    assert status == 2 and f"holds a run whose text tower has {named}" in err.splitlines()[-1]
    assert not record.exists()
    assert call(capsys, *arguments, *one)[0] == 0
    assert json.loads(before)["record"]["proba"] == json.loads(record.read_text())["record"]["proba"]
    # A finished run is shown without any weights, and another file that is named is still refused.
    status, shown, _ = call(capsys, *arguments)
    assert status == 0 and named in " ".join(shown.split())
    assert call(capsys, *arguments, *other)[0] == 2


def test_a_tower_of_any_width_runs_in_a_small_preset_and_its_place_is_not_its_identity(capsys, tmp_path):
    config = towers.model_cfg(quick=False)
    state = towers.clip_of(config).state_dict()
    out, (one, other, changed) = tmp_path / "out", (tmp_path / name / "model" for name in "abc")
    for folder in (one, other):
        towers.write(folder, config, state)
    towers.write(changed, config | {"quick_gelu": True}, state)
    arguments = [*SMOKE, "--methods", "clip", "clip_lung", "--datasets", "C", "--folds", "2", "--workers", "0"]
    arguments += ["--out", str(out), "--text-tower"]
    status, _, err = call(capsys, *arguments, f"local-dir:{one}")
    assert status == 0, err
    run = json.loads((out / "run.json").read_text())
    named = f"local-dir:model, unverified weights (hash {run['text_weights']['sha256'][:12]})"
    assert run["identity"]["text_tower"]["config"]["activation"] == "gelu"
    assert str(tmp_path) not in json.dumps({key: run[key] for key in ("identity", "text_weights")})
    for name in ("table2.md", "table2.tex"):
        text = (out / name).read_text()
        assert named in text and "24 features meet the encoder's 64 through a random projection" in text, name
    records = sorted((out / "fits").rglob("two/*/*.json"))
    said = [json.loads(record.read_text())["record"]["metadata"]["method"] for record in records]
    said = [tower["text_tower"] for tower in said if "text_tower" in tower]
    assert len(said) == 4 and all(tower == said[0] for tower in said) and said[0]["projection"]["to"] == 64
    assert (said[0]["name"], said[0]["sha256"]) == (named, run["text_weights"]["sha256"])
    before = [record.read_bytes() for record in records]
    assert call(capsys, *arguments, f"local-dir:{other}")[0] == 0  # the same tower elsewhere
    assert [record.read_bytes() for record in records] == before
    status, _, err = call(capsys, *arguments, f"local-dir:{changed}")
    assert status == 2 and "holds a run with another text tower" in err and "'activation': 'gelu'" in err


def test_a_text_tower_that_cannot_be_used_is_refused_before_the_cohort_is_prepared(capsys, tmp_path, monkeypatch):
    monkeypatch.setattr(run_all, "prepare", lambda *_: pytest.fail("hours of reading CT"))
    config = towers.model_cfg()
    state = {name: tensor for name, tensor in towers.clip_of(config).state_dict().items() if "ln_final" not in name}
    cases = {
        "siglip": (config | {"init_logit_bias": -10}, state, "local-dir:siglip is a SigLIP"),
        "torn": (config, state, "does not hold the text tower of its configuration (ln_final.bias is absent"),
    }
    for name, (written, tensors, sentence) in cases.items():
        tower = towers.write(tmp_path / name, written, tensors)
        arguments = [*SMOKE, "--methods", "clip", "--out", str(tmp_path / "out"), "--text-tower", tower]
        status, _, err = call(capsys, *arguments)
        assert status == 2 and sentence in err and err.count("\n") == 1
    assert not (tmp_path / "out").exists()


def test_a_call_for_less_takes_nothing_out_of_the_tables(finished, capsys, tmp_path):
    out_folder = tmp_path / "copy"
    shutil.copytree(finished, out_folder)
    before = {name: content for name, content in files(out_folder).items() if name != "run.json"}
    protocols = json.loads((out_folder / "run.json").read_text())["protocols"]
    for less in (["--methods", "ce"], ["--datasets", "A", "--methods", "poisson"], ["--datasets", "C"]):
        status, out, _ = call(capsys, *SMOKE, "--methods", "ce", *less, "--workers", "0", "--out", str(out_folder))
        assert status == 0 and all(word in out for word in ("Table 1", "Table 2", "Poisson", "CE"))
    assert {name: content for name, content in files(out_folder).items() if name != "run.json"} == before
    assert json.loads((out_folder / "run.json").read_text())["protocols"] == protocols


def test_a_row_that_is_added_for_one_dataset_says_where_it_is_still_to_be_made(finished, capsys, tmp_path):
    out_folder = tmp_path / "copy"
    shutil.copytree(finished, out_folder)
    arguments = ["--methods", "sord", "--datasets", "A", "--workers", "0", "--out", str(out_folder)]
    status, out, _ = call(capsys, *SMOKE, *arguments)
    assert status == 0 and "SORD on LIDC-C: every fold still to be made" in out
    assert "Poisson" in (out_folder / "table1.md").read_text() and "SORD" in (out_folder / "table1.md").read_text()


@pytest.mark.parametrize("how", ["-I", "PYTHONSAFEPATH"])
def test_it_starts_where_python_leaves_the_scripts_folder_out(how, prepared, tmp_path):
    root = Path(run_all.__file__).parent
    if how == "-I":  # with a process of its own, which must find the project too
        command = [sys.executable, "-I", str(root / "run_all.py"), *SMOKE, "--methods", "ce", "--datasets", "C"]
        command += ["--workers", "1", "--cohort", str(prepared), "--out", str(tmp_path / "out")]
        environment = dict(os.environ)
    else:
        command, environment = [sys.executable, str(root / "run_all.py"), "--list"], os.environ | {how: "1"}
    done = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert "Accuracy" in done.stdout or "--methods" in done.stdout


def test_a_finished_run_can_be_accepted_and_then_passes_its_check(finished, capsys, tmp_path):
    copy_results(tmp_path)
    place = "--results", str(tmp_path)
    assert check(capsys, finished, *place, "--accept", "the first")[0] == 0
    status, out = check(capsys, finished, *place)
    assert status == 0 and "PASS: all" in out and "says nothing about the paper" in " ".join(out.split())


def test_probabilities_of_every_fold_cover_the_cohort_once(finished):
    with (finished / "cohort.csv").open() as file:
        ids = sorted(row["nodule_id"] for row in csv.DictReader(file))
    records = [json.loads(p.read_text())["record"] for p in (finished / "fits" / "three" / "ce").glob("*.json")]
    assert sorted(i for record in records for i in record["nodule_ids"]) == ids
    assert all(np.isclose(sum(row), 1) for record in records for row in record["proba"])


def test_a_setting_from_outside_makes_a_run_of_its_own_whose_records_say_so(finished, capsys, tmp_path):
    arguments = [*SMOKE, "--methods", "poisson", "--datasets", "C", "--workers", "0", "--set", "poisson.tau=0.5"]
    out_folder = tmp_path / "out"
    assert call(capsys, *arguments, "--out", str(out_folder))[0] == 0
    record = json.loads((out_folder / "fits" / "two" / "poisson" / "fold0-seed0.json").read_text())["record"]
    assert record["settings"]["tau"] == 0.5 and record["identity"]["settings"] == {"poisson.tau": 0.5}
    assert "Changed by hand: poisson.tau = 0.5." in (out_folder / "table2.md").read_text()
    before = files(finished)
    status, _, err = call(capsys, *arguments, "--out", str(finished))
    assert status == 2 and "holds a run with other settings (poisson.tau: None there, 0.5 now)" in err
    assert files(finished) == before


def test_records_that_cannot_be_used_are_set_aside_and_made_anew(finished, capsys, tmp_path):
    out_folder = tmp_path / "copy"
    shutil.copytree(finished, out_folder)
    place = out_folder / "fits" / "two" / "poisson"
    edited, torn = place / "fold0-seed0.json", place / "fold1-seed0.json"
    content = json.loads(edited.read_text())
    content["record"]["labels"][0] ^= 1
    edited.write_text(json.dumps(content))
    torn.write_bytes(torn.read_bytes()[:100])
    arguments = [*SMOKE, "--methods", "ce", "poisson", "--workers", "0", "--out", str(out_folder)]
    _, plan, _ = call(capsys, *arguments, "--dry-run")
    assert "2 of 24 fits to do" in plan
    status, _, err = call(capsys, *arguments)
    assert status == 0 and err.count("set aside") == 2
    assert "set aside two/poisson/fold0-seed0.json: edited or damaged" in err
    kept = sorted(path.suffix for path in (out_folder / "aside").iterdir())
    assert kept == [".json"] * 2 + [".safetensors"] * 2
    for path in finished.glob("table*"):
        assert (out_folder / path.name).read_bytes() == path.read_bytes()
    assert "set aside" not in call(capsys, *arguments)[2]


def test_a_plugins_row_is_made_in_worker_processes_too(capsys, tmp_path, monkeypatch):
    monkeypatch.setattr(methods, "ROWS", dict(methods.ROWS))
    plugin = tmp_path / "random.py"  # a name that a standard module has
    plugin.write_text(PLUGIN.format(seed=-1).replace("spoilt", "unspoilt"))
    arguments = ["--methods", "unspoilt", "--datasets", "A", "--workers", "1", "--plugin", str(plugin)]
    status, out, _ = call(capsys, *SMOKE, *arguments, "--out", str(tmp_path / "out"))
    assert status == 0 and "Spoilt" in out
    assert "(plugin) Spoilt" in (tmp_path / "out" / "table1.md").read_text()


def test_a_collection_of_ones_own_needs_one_file(capsys, tmp_path, monkeypatch):
    import datasets

    monkeypatch.setattr(datasets, "COLLECTIONS", {})
    plugin = tmp_path / "mine.py"
    plugin.write_text(COLLECTION)
    arguments = ["--collection", "mine", "--methods", "ce", "clip_lung", "--workers", "0", "--plugin", str(plugin)]
    arguments += ["--work", str(tmp_path / "results")]
    status, out, _ = call(capsys, *SMOKE, *arguments)
    assert status == 0 and "Mine-C" in out and "Mine-A" not in out  # it has no unsure nodule
    text = (tmp_path / "results" / "runs" / "smoke-mine-published" / "table2.md").read_text()
    assert "- Made up." in text and "CLIP-Lung on Mine-C does not apply: " in text
    assert "Log diameter on Mine-C does not apply: the collection does not give every nodule's diameter" in text
    status, _, err = call(capsys, *SMOKE, *arguments, "--datasets", "A")
    assert status == 2 and "the collection Mine has no unsure nodule, so only C can be made" in err


COLLECTION = """
import numpy as np
import datasets
from benchmark.contracts import Collection, NoduleInfo

class Mine(Collection):
    title, source, note = "Mine", "mine", "Made up."

    def nodules(self):
        return [NoduleInfo(f"n{i}", f"p{i}", label=("benign", "malignant")[i % 2]) for i in range(20)]

    def volume(self, nodule):
        return np.full((32, 32, 32), -500 if nodule.label == "benign" else 50, dtype=np.int16)

datasets.register("mine", Mine)
"""
