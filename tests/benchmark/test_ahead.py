import subprocess
import sys
from dataclasses import replace

import pytest

import methods
from benchmark import ahead, commandline, owners
from benchmark.commands._prepare import prepare
from benchmark.contracts import InputError
from benchmark.identity import ROOT
from benchmark.means import Means
from benchmark.recipe import PRESETS
from benchmark.scheduler import Scheduler
from benchmark.screen import consoles
from fakes import LINEAR, PRESET

HERE = Means("cpu", 1)
CLIP, OPENAI = methods.ROWS["clip"], PRESET.text_tower
COHORTS = "work/cohorts/.a.npz", "work/cohorts/parts/.b.npz"
NOBODY = Scheduler("tcp://127.0.0.1:1")


def gone(_: object) -> None:
    raise InputError("the weights are gone")


def test_the_text_tower_is_looked_for_before_the_work(tmp_path):
    with pytest.raises(InputError, match="the weights are gone"):
        ahead.look(tmp_path / "run", [LINEAR, CLIP], OPENAI, gone, HERE)
    with pytest.raises(InputError, match="the weights are gone"):
        ahead.look(tmp_path / "run", [CLIP], replace(OPENAI, name="causal"), gone, HERE)
    ahead.look(tmp_path / "run", [LINEAR], OPENAI, gone, HERE)
    ahead.look(tmp_path / "run", [CLIP], PRESETS["quick"].text_tower, gone, HERE)  # random: nothing can be missing
    assert list(tmp_path.iterdir()) == []


def test_the_cluster_is_asked_before_the_work(tmp_path):
    with pytest.raises(InputError, match=r"no dask scheduler answers at tcp://127\.0\.0\.1:1 "):
        ahead.look(tmp_path / "run", [LINEAR], OPENAI, gone, Means("cpu", 1, NOBODY))


def test_where_nothing_is_to_be_made_neither_weights_nor_cluster_are_needed(tmp_path):
    assert ahead.look(tmp_path / "run", [], OPENAI, gone, Means("cpu", 1, NOBODY)) == []


def test_the_folder_is_judged_first(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(InputError, match=r"nothing can be written to .*file/run .*: give another folder with --out$"):
        ahead.judge(tmp_path / "file" / "run", [LINEAR], OPENAI, gone, HERE)


def test_weights_in_a_named_file_are_judged_and_nobody_is_asked_for_others(tmp_path):
    with pytest.raises(InputError, match="the weights are gone"):
        ahead.judge(tmp_path / "run", [CLIP], replace(OPENAI, path="/a/file.pt"), gone, HERE)
    for tower in (OPENAI, replace(OPENAI, path="hf-hub:a/b"), PRESETS["quick"].text_tower):
        ahead.judge(tmp_path / "run", [CLIP], tower, gone, Means("cpu", 1, NOBODY))
    ahead.judge(tmp_path / "run", [LINEAR], replace(OPENAI, path="/a/file.pt"), gone, HERE)


def test_slurms_file_and_the_credentials_of_a_scheduler_are_judged(tmp_path):
    (tmp_path / "bad.toml").write_text("jobs = 0\n")
    with pytest.raises(InputError, match=r"bad\.toml, line 1, key memory: is missing"):
        ahead.judge(tmp_path / "run", [LINEAR], OPENAI, gone, Means("cpu", 1, slurm=tmp_path / "bad.toml"))
    with pytest.raises(InputError, match=r"authority's certificates .*none cannot be read"):
        scheduler = Scheduler("tls://127.0.0.1:1", tmp_path / "none", tmp_path / "none")
        ahead.judge(tmp_path / "run", [LINEAR], OPENAI, gone, Means("cpu", 1, scheduler))


def test_what_commands_that_were_killed_left_half_written_in_a_run_or_of_a_cohort_is_removed(tmp_path, monkeypatch):
    script = "from benchmark import owners; print(owners.mark())"
    gone = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, cwd=ROOT).stdout.strip()
    places = (
        "run/.table1.md",
        "run/fits/three/ce/.fold0-seed0.json",
        "work/.timings.json",
        "work/cohorts/.a.npz",
        "work/cohorts/parts/.b.npz",
    )
    for place in places:
        (tmp_path / place).parent.mkdir(parents=True, exist_ok=True)
        for mark in (gone, owners.mark()):
            (tmp_path / f"{place}.01.{mark}.tmp").write_text("")
    ahead.look(tmp_path / "run", [LINEAR], OPENAI, lambda _: None, HERE)
    monkeypatch.setattr("benchmark.commands._prepare.datasets.open_any", gone_away)
    with pytest.raises(InputError, match="no collection"):
        prepare(commandline.parse(["--work", str(tmp_path / "work")]), PRESETS["smoke"], 1, consoles()[1])
    left = {path.relative_to(tmp_path).as_posix() for path in tmp_path.rglob("*.tmp")}
    assert left == {f"{place}.01.{owners.mark()}.tmp" for place in places}


def gone_away(*_: object, **__: object) -> None:
    raise InputError("no collection")
