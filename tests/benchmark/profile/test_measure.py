from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional

from benchmark.contracts import Batch, Method, Row, Task, Unsupported
from benchmark.profile import measure as room
from benchmark.profile import memory
from benchmark.profile.measure import EPOCHS, Profile, begin, matrix_peaks, measure, reference_s
from benchmark.profile.memory import MemoryPeak
from fakes import LINEAR, PRESET, TASK, Linear

CPU = torch.device("cpu")
TIME = [0.0]


class Timed(Method):
    """Moves the clock: 16 to build, 1 a loss and 5 more for a fit's first, 8 after an epoch, 1/4 for a prediction."""

    title = "Timed"

    def __init__(self, task: Task) -> None:
        super().__init__()
        TIME[0] += 16
        self.head = nn.Linear(64, task.num_classes)
        self.is_new = True

    def loss(self, batch: Batch) -> dict[str, Tensor]:
        TIME[0] += 1 + 5 * self.is_new
        self.is_new = False
        return {"ce": functional.cross_entropy(self.head(batch.images.flatten(1)), batch.labels)}

    def predict_proba(self, images: Tensor) -> Tensor:
        TIME[0] += 0.25 * len(images)
        return self.head(images.flatten(1)).softmax(1)

    def after_epoch(self, batches) -> None:
        TIME[0] += 8


TIMED = Row("timed", "Timed", "paper", Timed)


def measured(preset=PRESET) -> Profile:
    return measure(TIMED, TASK, preset, CPU, {"eye": (nn.Conv2d,)}, steps=4, clock=lambda: TIME[0])


def test_each_price_is_found_where_it_is_paid():
    found = measured()
    assert (found.build_s, found.once_s, found.evaluation_s, found.end_s) == (16, 5, 0.25, 0)
    assert found.step_s == (4 * 1 + 8) / 4  # with its share of what follows an epoch


def test_a_row_is_measured_on_the_slices_that_it_sees():
    told = []

    class Asked(Linear):
        def __init__(self, task: Task) -> None:
            super().__init__(task)
            self.head = nn.Linear(16, task.num_classes)

        def predict_proba(self, images: Tensor) -> Tensor:
            told.append(tuple(images.shape[1:]))
            return super().predict_proba(images)

    seen = replace(TASK, encoder=replace(TASK.encoder, slices=1))
    measure(replace(TIMED, make=Asked), seen, PRESET, CPU, {}, steps=2)
    assert set(told) == {(1, 4, 4)}


def test_what_follows_the_last_epoch_is_paid_by_the_nodule():
    averaged = replace(PRESET, recipe=replace(PRESET.recipe, ema=0.9))
    assert measured(averaged).end_s == 8 / (4 * PRESET.recipe.batch_size)


def test_the_shares_are_those_of_a_step_and_an_absent_part_has_none():
    assert measured().shares == {"data": 0, "eye": 0, "head": 1, "optimiser": 0}


def test_the_operations_are_those_of_a_step_forward_and_backward():
    forward = 2 * PRESET.recipe.batch_size * 64 * TASK.num_classes
    assert measured().flop == 2 * forward  # images need no gradient, so backward has the weight's product alone


def test_a_fit_is_its_start_its_steps_and_its_predictions():
    cost = Profile(16.0, 5.0, 3.0, 2.0, 0.25, {}, 0, None)
    recipe = replace(PRESET.recipe, epochs=2, batch_size=8)
    assert cost.fit_s(recipe, nodules=35, folds=5) == 16 + 5 + 2 * (28 // 8) * 3 + 28 * 2 + 7 * 0.25
    assert cost.fit_s(replace(recipe, batch_size=99), nodules=35, folds=5) == 16 + 5 + 2 * 3 + 28 * 2 + 7 * 0.25


def test_a_trainer_that_hides_its_epochs_is_an_error_and_no_number(monkeypatch):
    monkeypatch.setattr(room, "fit", lambda *_, **__: [])
    with pytest.raises(RuntimeError, match=f"{EPOCHS + 1} epochs called after_epoch 0 times"):
        measured()


def test_the_peak_is_that_of_the_fastest_product_after_the_first():
    times = iter([0, 1, 10, 30, *(10 * n + 5 * odd for n in range(10, 18) for odd in (0, 1))])
    assert matrix_peaks(CPU, lambda: float(next(times))) == {"float32": 2 * 1024**3 / 5}


def test_a_reference_is_timed_on_a_fold_of_the_size_asked_for():
    seen = []

    def reference(train, test, labels, classes, seed):
        seen.append((len(train), len(test), len(labels), classes))
        return np.full((len(test), classes), 1 / classes)

    assert reference_s(Row("r", "R", "reference", reference), TASK, nodules=50, folds=5) >= 0
    assert seen == [(40, 10, 40, 3)] * 2
    with pytest.raises(ValueError, match="linear is a method"):
        reference_s(LINEAR, TASK, 50, 5)


def test_what_a_row_cannot_do_is_said_by_its_measure_and_not_by_the_start():
    spoilt = replace(LINEAR, hyperparameters={"spoil": "task"})
    begin((spoilt, TASK))
    begin(None)
    with pytest.raises(Unsupported, match="cannot work on this task"):
        measure(spoilt, TASK, PRESET, CPU, {}, steps=1)


@pytest.mark.skipif(not Path("/proc/self/clear_refs").exists(), reason="only Linux tells a process its own peak memory")
def test_memory_that_is_given_back_still_counts_at_its_peak():
    peak = MemoryPeak(CPU)
    if peak.bytes() is None:
        pytest.skip("this system does not let a process reset its peak")
    first = np.ones(2**23)  # 64 MiB
    del first
    assert peak.bytes() > 60 * 2**20 and MemoryPeak(CPU).bytes() < 30 * 2**20


def test_a_system_that_tells_no_peak_gives_none(monkeypatch, tmp_path):
    monkeypatch.setattr(memory, "_SELF", tmp_path / "nowhere")
    assert MemoryPeak(CPU).bytes() is None


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
def test_on_a_gpu_memory_is_what_torch_allocated():
    device = torch.device("cuda")
    peak = MemoryPeak(device)
    first = torch.ones(2**24, device=device)
    del first
    assert peak.bytes() >= 2**26
