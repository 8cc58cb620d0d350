import errno
import os
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from benchmark import checkpoint, runner
from benchmark.contracts import Batch, Task
from benchmark.extras import Extras
from benchmark.files import remains
from benchmark.records import FitSpec
from benchmark.runner import Setup, run_fit
from benchmark.state import unheld
from benchmark.step import Step
from benchmark.trainer import Training
from fakes import LINEAR, PRESET, TASK, Linear

SPEC = FitSpec("three", "linear", 0, 0)
PRESET = replace(PRESET, recipe=replace(PRESET.recipe, epochs=4))  # of two steps each


class Loses(Linear):
    """Drops inputs, so that the global generator decides its bits."""

    def loss(self, batch: Batch) -> dict[str, Tensor]:
        return super().loss(replace(batch, images=nn.functional.dropout(batch.images, 0.5, self.training)))


class Counts(Loses):
    """Weighs its loss by a count of its own, which no state dict holds."""

    steps = 0

    def loss(self, batch: Batch) -> dict[str, Tensor]:
        self.steps += 1
        return {name: term * self.steps for name, term in super().loss(batch).items()}


class Tells(Counts):
    """The same, and says what it counts."""

    def get_extra_state(self) -> dict[str, int]:
        return {"steps": self.steps}

    def set_extra_state(self, state: dict[str, int]) -> None:
        self.steps = state["steps"]


class TellsTuples(Tells):
    """Says it in a form that JSON does not give back."""

    def get_extra_state(self) -> tuple[int, ...]:
        return (self.steps,)

    def set_extra_state(self, state: tuple[int, ...]) -> None:
        (self.steps,) = state


class Later(Linear):
    """Has a second term from its fifth step on, which is drawn into the history of that epoch alone."""

    def loss(self, batch: Batch) -> dict[str, Tensor]:
        terms = super().loss(batch)
        return terms if self.head.bias.sum() == 0 else terms | {"size": 0.1 * self.head.weight.square().sum()}


class Large(Linear):
    """Memory holds three nodules of it."""

    most = 3

    def loss(self, batch: Batch) -> dict[str, Tensor]:
        if len(batch) > self.most:
            raise torch.OutOfMemoryError("CUDA out of memory.")
        return super().loss(batch)


@pytest.fixture
def fit(run, data, monkeypatch):
    """Make a fit; interrupt it at a step, if one is named."""

    def fit(make=Loses, at_step: int = 10**6, key: str = "key", data=data, preset=PRESET, **extras: object):
        taken, whole = iter(range(1, 10**6)), Step.__call__

        def step(self: Step, batch: Batch) -> None:
            if next(taken) == at_step:
                raise KeyboardInterrupt
            whole(self, batch)

        setup = Setup(preset, torch.device("cpu"), key, Extras(**{"checkpoint_s": 0.0} | extras))
        with monkeypatch.context() as patch:
            patch.setattr(Step, "__call__", step)
            try:
                return run_fit(run, SPEC, replace(LINEAR, make=make), data, setup)
            except KeyboardInterrupt:
                return None

    return fit


def unbroken(fit, run, make=Loses):
    record = fit(make)
    run.path(SPEC).unlink()
    return record


@pytest.mark.parametrize("make", [Loses, Tells, Later])
def test_an_interrupted_fit_ends_with_the_bits_of_an_unbroken_one(fit, run, make):
    whole = unbroken(fit, run, make)
    assert fit(make, at_step=6) is None and run.checkpoint_path(SPEC).is_file()
    torch.rand(7)  # another process stands elsewhere
    broken = fit(make)
    assert np.array_equal(broken.proba, whole.proba) and broken.metadata.history == whole.metadata.history
    assert (broken.metadata.resumed, whole.metadata.resumed) == ([2], [])
    assert not run.checkpoint_path(SPEC).exists()


def test_an_interrupted_average_of_weights_goes_on_as_heavy_as_it_was(fit, run):
    averaged = replace(PRESET, recipe=replace(PRESET.recipe, ema=0.9))
    whole = fit(preset=averaged)
    run.path(SPEC).unlink()
    assert fit(at_step=6, preset=averaged) is None
    broken = fit(preset=averaged)
    assert broken.metadata.resumed == [2] and np.array_equal(broken.proba, whole.proba)


def test_a_fit_that_memory_held_whole_and_holds_no_more_begins_anew(fit, run, monkeypatch):
    whole = unbroken(fit, run, Large)
    with monkeypatch.context() as patch:
        patch.setattr(Large, "most", 100)
        assert fit(Large, at_step=6) is None and run.checkpoint_path(SPEC).is_file()
    broken = fit(Large)
    assert (broken.metadata.micro_batch, broken.metadata.resumed) == (2, [])
    assert np.array_equal(broken.proba, whole.proba) and broken.metadata.history == whole.metadata.history


def test_the_test_curve_goes_on_too(fit, run, monkeypatch):
    whole = fit(test_curve=True).metadata.test_curve
    run.path(SPEC).unlink()
    fit(at_step=6, test_curve=True)
    assert fit(test_curve=True).metadata.test_curve == whole and len(whole) == 4


def test_a_fit_with_fewer_nodules_at_once_goes_on_with_as_few(fit, run):
    whole = unbroken(fit, run, Large)
    assert fit(Large, at_step=9) is None  # two attempts ended at their first step
    assert run.checkpoint_path(SPEC).is_file()
    broken = fit(Large)
    assert np.array_equal(broken.proba, whole.proba) and broken.metadata.micro_batch == 2
    assert broken.metadata.resumed == [3]


@pytest.mark.parametrize("make", [Counts, TellsTuples])
def test_a_method_that_keeps_what_a_checkpoint_cannot_hold_is_made_anew(fit, run, make):
    whole = unbroken(fit, run, make)
    assert fit(make, at_step=6) is None and not run.checkpoint_path(SPEC).exists()
    broken = fit(make)
    assert np.array_equal(broken.proba, whole.proba) and broken.metadata.resumed == []


def test_every_change_outside_a_state_dict_is_seen():
    method = Linear(TASK)
    method.register_buffer("hidden", torch.zeros(2), persistent=False)
    method.head.table, method.head.numbers, method.head.thing = {"a": [1]}, torch.zeros(2), object()
    changes = [
        lambda: method.hidden.add_(1),
        lambda: method.head.table["a"].append(2),
        lambda: method.head.numbers.add_(1),
        lambda: setattr(method.head, "thing", object()),
        lambda: setattr(method, "spoil", "other"),
    ]
    for change in changes:
        before = unheld(method)
        assert before == unheld(method)
        change()
        assert unheld(method) != before
    before = unheld(method.train())
    method.eval()
    with torch.no_grad():
        method.head.weight.add_(1)  # held
    assert unheld(method) == before


def other_versions(monkeypatch) -> None:
    monkeypatch.setattr(runner, "versions", lambda: {"torch": "1.0"})


def other_device(monkeypatch) -> None:
    monkeypatch.setattr(runner, "_device_name", lambda device: "another")


@pytest.mark.parametrize("change", [other_versions, other_device])
def test_a_checkpoint_of_other_libraries_or_another_device_is_not_used(fit, monkeypatch, change):
    fit(at_step=6)
    change(monkeypatch)
    assert fit().metadata.resumed == []


def test_a_checkpoint_of_other_code_data_or_extras_is_not_used(fit, run, data):
    flipped = replace(data, train_labels=data.train_labels[::-1].copy())
    for given in ({"key": "other"}, {"data": flipped}, {"test_curve": True}):
        fit(at_step=6)
        assert fit(**given).metadata.resumed == []
        run.path(SPEC).unlink()


def test_a_checkpoint_of_another_fit_is_not_used(fit, run, data):
    fit(at_step=6)
    other = replace(SPEC, seed=1)
    run.checkpoint_path(SPEC).rename(run.checkpoint_path(other))
    setup = Setup(PRESET, torch.device("cpu"), "key", Extras(checkpoint_s=0.0))
    assert run_fit(run, other, replace(LINEAR, make=Loses), data, setup).metadata.resumed == []


def test_a_fit_that_is_over_before_the_first_is_due_leaves_none(fit, run, monkeypatch):
    written = []
    monkeypatch.setattr(checkpoint, "write_atomically", lambda path, content: written.append(path))
    fit(checkpoint_s=60.0)
    assert written == []


def test_one_is_written_when_so_many_seconds_have_passed_since_the_last(run, data, tmp_path, monkeypatch):
    now, written = [0.0], []
    monkeypatch.setattr(checkpoint, "write_atomically", lambda path, content: written.append(now[0]))
    about = checkpoint.About(SPEC, "key", "data", {}, "cpu", False)
    kept = checkpoint.Checkpoints(tmp_path / "one.checkpoint", about, 60.0, lambda: now[0])
    monkeypatch.setattr(kept, "_packed", lambda training: b"")

    method = Linear(TASK)
    training = Training(method, Step(method, PRESET.recipe, False), None, torch.Generator())
    kept.restore(training)
    for now[0] in (59.0, 60.0, 100.0, 119.0, 120.0, 179.9, 180.0):
        kept.epoch_over(training)
    assert written == [60.0, 120.0, 180.0]


def test_the_seconds_are_those_of_all_parts(fit, run, monkeypatch):
    fit(at_step=6)
    monkeypatch.setattr(runner.time, "perf_counter", lambda: 5.0)
    assert 0 < fit().metadata.seconds < 60


@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EIO, errno.EACCES])
def test_a_checkpoint_that_cannot_be_written_ends_no_fit(fit, run, monkeypatch, number):
    whole = unbroken(fit, run)
    fsync = os.fsync

    def fails(descriptor: int) -> None:
        if ".checkpoint." in Path(os.readlink(f"/proc/self/fd/{descriptor}")).name:
            raise OSError(number, os.strerror(number))
        fsync(descriptor)

    monkeypatch.setattr(os, "fsync", fails)
    record = fit()
    assert record.status == "done" and np.array_equal(record.proba, whole.proba)
    assert [path.name for path in run.path(SPEC).parent.iterdir()] == ["fold0-seed0.json"]


def test_what_a_killed_process_left_of_its_writing_goes_with_the_fit(fit, run):
    fit(at_step=6)
    left = run.checkpoint_path(SPEC).with_name(".fold0-seed0.checkpoint.0123456789abcdef.tmp")
    left.write_bytes(b"half")
    other = left.with_name(".fold0-seed1.checkpoint.0123456789abcdef.tmp")
    other.write_bytes(b"half")
    assert remains(run.checkpoint_path(SPEC)) == [left]
    fit()
    assert not left.exists() and other.exists()


def test_a_fit_that_fails_leaves_no_checkpoint(fit, run):
    class Breaks(Linear):
        def loss(self, batch: Batch) -> dict[str, Tensor]:
            if self.head.bias.grad is None and self.head.bias.norm() > bound[0]:
                raise RuntimeError("it broke")
            return super().loss(batch)

    bound = [10.0]
    fit(Breaks, at_step=6)
    bound[0] = 0.0
    assert fit(Breaks).status == "failed" and not run.checkpoint_path(SPEC).exists()


def test_a_method_is_built_before_it_goes_on(fit, run):
    class Built(Loses):
        def __init__(self, task: Task) -> None:
            super().__init__(task)
            self.drawn = nn.Parameter(torch.rand(3))

    fit(Built, at_step=4)
    assert fit(Built).metadata.resumed == [1]
