"""The command as a user types it, on the smoke preset."""

import csv
import json
import shutil
from pathlib import Path

import numpy as np
import pytest

import run_all
from benchmark.check.__main__ import RESULTS
from benchmark.check.__main__ import main as check_main

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
    assert len(list((finished / "fits").rglob("*.json"))) == 5 * 2 * 2  # rows, label sets, folds
    run = json.loads((finished / "run.json").read_text())
    assert run["identity"]["preset"] == "smoke" and run["commands"][0].startswith("python run_all.py --preset smoke")


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
    assert len(list((tmp_path / "r" / "fits" / "three" / "clip_lung").iterdir())) == 2


def test_a_second_call_trains_nothing_and_changes_nothing(finished, capsys, monkeypatch):
    monkeypatch.setattr(run_all, "train", lambda *_: pytest.fail("it trained again"))
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


def test_a_dry_run_writes_nothing(finished, capsys, tmp_path):
    status, out, _ = call(capsys, *SMOKE, "--methods", "ce", "--dry-run", "--out", str(tmp_path / "new"))
    assert status == 0 and "16 of 16 fits to do" in out and not (tmp_path / "new").exists()
    before = files(finished)
    _, out, _ = call(capsys, *SMOKE, "--methods", "ce", "--dry-run", "--out", str(finished))
    assert "0 of 16 fits to do" in out and files(finished) == before


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
        (["--preset", "quik"], "choose from smoke, quick, paper; did you mean 'quick'?"),
        (["--source", "fantom"], "did you mean 'phantom'?"),
        (["--label-rule", "tekst"], "did you mean 'text'?"),
        (["--device", "gpu"], "there is no device 'gpu': choose from"),
        (["--device", "cuda:99"], "the device 'cuda:99' is not on this machine: choose from cpu"),
        (["--folds", "1"], "argument --folds: '1' is no whole number of 2 or more"),
        (["--seeds", "none"], "argument --seeds: 'none' is no whole number of 1 or more"),
        (["--workers", "-1"], "argument --workers"),
        (["--text-tower", "nowhere.pt"], "--text-tower 'nowhere.pt' is neither 'openai', 'random' nor a file"),
        (["--cohort", "nowhere.npz"], "nowhere.npz"),
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
    assert status == 2 and "holds a run with another" in err and "--out" in err
    assert files(finished) == before


def test_a_damaged_prepared_file_is_refused_by_name(finished, capsys, tmp_path):
    prepared = next((Path(run_all.__file__).parent / "results" / "cohorts").glob("phantom*"))
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
from benchmark.contracts import Method

class Spoilt(Method):
    title = "Spoilt"

    def __init__(self, task):
        super().__init__()
        if task.num_classes == 2:
            raise ValueError("it wants three classes")
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
    from benchmark.records import FitSpec
    from benchmark.runner import seed_of

    monkeypatch.setattr(run_all, "METHODS", methods := dict(run_all.METHODS))
    monkeypatch.setattr("methods.METHODS", methods)  # so that the plugin does not stay registered
    plugin = tmp_path / "spoilt.py"
    plugin.write_text(PLUGIN.format(seed=seed_of(FitSpec("three", "spoilt", 1, 0))))
    out_folder = tmp_path / "out"
    arguments = ["--methods", "spoilt", "--workers", "0", "--plugin", str(plugin), "--out", str(out_folder)]
    status, out, err = call(capsys, *SMOKE, *arguments)
    assert status == 1 and "1 of 16 fits failed" in err
    assert "Spoilt on LIDC-A failed on fold 1: TrainingFailed: the loss term 'ce' is nan in epoch 1" in out
    assert "Spoilt on LIDC-C does not apply: it wants three classes" in out
    assert "(n=1)" in (out_folder / "table1.md").read_text()


def test_the_paper_preset_says_how_to_get_the_weights_and_never_falls_back(capsys, tmp_path, monkeypatch):
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path))
    arguments = ["--preset", "paper", "--methods", "clip", "--device", "cpu", "--out", str(tmp_path / "out")]
    prepared = next((Path(run_all.__file__).parent / "results" / "cohorts").glob("phantom*"))
    status, _, err = call(capsys, *arguments, "--cohort", str(prepared))
    assert status == 2 and "--text-tower" in err and err.count("\n") == 1
    assert not (tmp_path / "out").exists()


def test_a_finished_run_can_be_accepted_and_then_passes_its_check(finished, capsys, tmp_path):
    shutil.copytree(RESULTS / "published", tmp_path / "published")
    shutil.copy(RESULTS / "margins.toml", tmp_path)
    place = "--results", str(tmp_path)
    assert check(capsys, finished, *place, "--accept", "the first")[0] == 0
    status, out = check(capsys, finished, *place)
    assert status == 0 and "PASS: all" in out and "says nothing about the paper" in " ".join(out.split())


def test_probabilities_of_every_fold_cover_the_cohort_once(finished):
    with (finished / "cohort.csv").open() as file:
        ids = sorted(row["nodule_id"] for row in csv.DictReader(file))
    records = [json.loads(p.read_text()) for p in (finished / "fits" / "three" / "ce").glob("*.json")]
    assert sorted(i for record in records for i in record["nodule_ids"]) == ids
    assert all(np.isclose(sum(row), 1) for record in records for row in record["proba"])
