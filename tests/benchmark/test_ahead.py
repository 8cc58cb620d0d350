import subprocess
import sys
from dataclasses import replace

import pytest

import methods
from benchmark import ahead, commandline, owners
from benchmark.commands.prepare import prepare
from benchmark.contracts import InputError, Provenance
from benchmark.identity import ROOT
from benchmark.means import Means
from benchmark.recipe import PRESETS
from benchmark.run import Run
from benchmark.runfile import RunMetadata
from benchmark.scheduler import Scheduler
from benchmark.screen import consoles
from fakes import IDENTITY, LINEAR, PRESET, A

HERE = Means("cpu", 1)
CLIP, OPENAI = methods.ROWS["clip"], PRESET.text_tower


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


def test_the_cluster_and_the_folder_are_tried_before_the_work(tmp_path):
    with pytest.raises(InputError, match="no dask scheduler answers at nowhere"):
        ahead.look(tmp_path / "run", [LINEAR], OPENAI, gone, Means("cpu", 1, Scheduler("nowhere")))
    (tmp_path / "file").write_text("")
    with pytest.raises(InputError, match=r"nothing can be written to .*file/run"):
        ahead.look(tmp_path / "file" / "run", [LINEAR], OPENAI, gone, HERE)


def test_a_finished_run_needs_neither_weights_nor_cluster(tmp_path):
    run = Run(tmp_path / "run", IDENTITY)
    run.start("command", RunMetadata({}, "cpu", "", Provenance(None, "", None)), [A])
    with pytest.raises(InputError, match="the weights are gone"):
        ahead.look(run.folder, [CLIP], OPENAI, gone, HERE)
    run.finish([A])
    ahead.look(run.folder, [CLIP], OPENAI, gone, Means("cpu", 1, Scheduler("nowhere")))


def test_what_commands_that_were_killed_left_half_written_in_a_run_or_of_a_cohort_is_removed(tmp_path, monkeypatch):
    script = "from benchmark import owners; print(owners.mark())"
    gone = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, cwd=ROOT).stdout.strip()
    places = "run/.table1.md", "run/fits/three/ce/.fold0-seed0.json", "work/cohorts/.a.npz", "work/cohorts/parts/.b.npz"
    for place in places:
        (tmp_path / place).parent.mkdir(parents=True, exist_ok=True)
        for mark in (gone, owners.mark()):
            (tmp_path / f"{place}.01.{mark}.tmp").write_text("")
    ahead.look(tmp_path / "run", [LINEAR], OPENAI, lambda _: None, HERE)
    monkeypatch.setattr("benchmark.commands.prepare.datasets.open_any", gone_away)
    with pytest.raises(InputError, match="no collection"):
        prepare(commandline.parse(["--work", str(tmp_path / "work")]), PRESETS["smoke"], 1, consoles()[1])
    left = {path.relative_to(tmp_path).as_posix() for path in tmp_path.rglob("*.tmp")}
    assert left == {f"{place}.01.{owners.mark()}.tmp" for place in places}


def gone_away(*_: object, **__: object) -> None:
    raise InputError("no collection")
