from dataclasses import replace

import pytest

import methods
from benchmark import ahead
from benchmark.contracts import InputError, Provenance
from benchmark.means import Means
from benchmark.recipe import PRESETS
from benchmark.run import Run
from benchmark.runfile import RunMetadata
from benchmark.scheduler import Scheduler
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
