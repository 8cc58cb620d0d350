from dataclasses import replace

import pytest

import methods
from benchmark import ahead
from benchmark.contracts import InputError
from benchmark.means import Means
from benchmark.recipe import PRESETS
from benchmark.scheduler import Scheduler
from fakes import LINEAR, PRESET

HERE = Means("cpu", 1)
CLIP, OPENAI = methods.ROWS["clip"], PRESET.text_tower
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
