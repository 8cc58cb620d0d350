"""Captured steps against the usual loop, at the paper preset's encoder and text tower, a batch of 32. Needs a card.

    python -m pytest tests/performance/test_captured_step.py -o addopts=--import-mode=importlib -s

The usual loop is float32 and eager, sends each batch from the host, reads its loss every step, and has one operation
for each parameter. It still has our prompt encoder, which `test_prompt_encoder.py` compares with the usual one: for
rows that read text the two factors multiply. Wall clock, by turns, each round waiting for the card at its end.
"""

import statistics
import time

import pytest
import torch

from benchmark.contracts import Batch, Task, TextTowerSpec
from benchmark.graphs import Captured, CudaGraphs
from benchmark.recipe import PRESETS
from benchmark.runner import deterministic, to_device
from benchmark.step import Step
from methods import ROWS, _precision
from vision import ATTRIBUTES, CLASSES, batch_of

PAPER = PRESETS["paper"]
TOWER = TextTowerSpec(name="random", width=512, layers=12, heads=8)  # of the paper's size, without its weights
KEYS = [key for key, row in ROWS.items() if row.kind in ("paper", "control", "added")]
STEPS = 20  # a round


def a_batch() -> Batch:
    generator = torch.Generator().manual_seed(0)
    images, ratings = torch.rand(32, 32, 32, 32, generator=generator), torch.rand(32, 8, generator=generator)
    return batch_of(images, torch.arange(32) % len(CLASSES), 1 + 4 * ratings)


def on_card(batch: Batch) -> Batch:
    return Batch(*(tensor.to("cuda") for tensor in vars(batch).values()))


class UsualLoop:
    def __init__(self, key: str, task: Task) -> None:
        self.method, self.batch = ROWS[key].build(task).to("cuda").train(), a_batch()
        recipe = PAPER.recipe
        self.optimiser = torch.optim.SGD(
            self.method.param_groups(), recipe.lr, recipe.momentum, weight_decay=recipe.weight_decay, foreach=False
        )

    def round(self) -> float:
        total = 0.0
        for _ in range(STEPS):
            self.optimiser.zero_grad()
            loss = torch.stack(list(self.method.loss(on_card(self.batch)).values())).sum()
            loss.backward()
            self.optimiser.step()
            total += loss.item()
        return total


class Ours:
    def __init__(self, key: str, task: Task) -> None:
        method = to_device(ROWS[key].build(task), torch.device("cuda")).train()
        self.step, self.batch = Step(method, PAPER.recipe, fused=True), on_card(a_batch())
        self.captured = Captured(self.step, CudaGraphs(torch.device("cuda")))

    def round(self) -> float:
        for _ in range(STEPS):
            self.step.set_rate(1.0)
            self.captured(self.batch)
        return sum(self.step.take_totals().values())


@pytest.mark.gpu
@pytest.mark.parametrize("key", KEYS)
def test_captured_step(benchmark, key, monkeypatch):
    if not benchmark.enabled:
        pytest.skip("minutes; runs where benchmarks are on")
    deterministic()
    task = Task(len(CLASSES), CLASSES, ATTRIBUTES, (32, 32, 32), PAPER.encoder, TOWER)
    usual, ours, seconds = UsualLoop(key, task), Ours(key, task), []

    def time_the_usual_loop():
        with monkeypatch.context() as patch:
            patch.setattr(_precision, "REDUCED", ())
            start = time.perf_counter()
            usual.round()
            seconds.append(time.perf_counter() - start)

    benchmark.pedantic(ours.round, setup=time_the_usual_loop, rounds=7, warmup_rounds=2)
    assert ours.captured.outcome == "captured"
    step, plain = benchmark.stats.stats.median / STEPS, statistics.median(seconds) / STEPS
    peak = torch.cuda.max_memory_allocated() / 2**30
    versions = {"device": torch.cuda.get_device_name(), "torch": torch.__version__, "cuda": torch.version.cuda}
    benchmark.extra_info.update(usual_loop_s=plain, times_faster=plain / step, peak_gib=peak, **versions)
    print(f"\n{key}: {1e3 * step:.2f} ms against {1e3 * plain:.2f} ms a step: {plain / step:.1f} times faster")
