"""One training step of each method, at the quick preset's encoder and text tower, a batch of 32 on one thread.

    python -m pytest tests/performance/test_training_step.py -o addopts=--import-mode=importlib -s

(without the project's own options: these switch benchmarks off, and shape checks on). Before each timed step plain
cross-entropy takes one, so that both see the same machine; processor seconds. The default run of the tests only takes
one step of each.
"""

import math
import statistics
import time

import pytest
import torch

from benchmark.contracts import Batch, Method, Task
from benchmark.recipe import PRESETS
from methods import ROWS
from vision import ATTRIBUTES, CLASSES, batch_of

QUICK = PRESETS["quick"]
KEYS = [key for key, row in ROWS.items() if row.kind in ("paper", "control", "added")]


@pytest.fixture(autouse=True)
def one_thread():
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


class Trained:
    """A method with its optimiser."""

    def __init__(self, key: str) -> None:
        torch.manual_seed(0)
        task = Task(len(CLASSES), CLASSES, ATTRIBUTES, (32, 32, 32), QUICK.encoder, QUICK.text_tower)
        self.method: Method = ROWS[key].method(task).train()
        self.optimiser = torch.optim.SGD(self.method.param_groups(), lr=1e-3, momentum=0.9, nesterov=True)

    def step(self, batch: Batch) -> float:
        """Return the loss before the step."""
        loss = torch.stack(list(self.method.loss(batch).values())).sum()
        self.optimiser.zero_grad()
        loss.backward()
        self.optimiser.step()
        return loss.item()


@pytest.mark.benchmark(timer=time.process_time)
@pytest.mark.parametrize("key", KEYS)
def test_training_step(benchmark, key):
    generator = torch.Generator().manual_seed(0)
    images, ratings = torch.rand(32, 32, 32, 32, generator=generator), torch.rand(32, 8, generator=generator)
    batch = batch_of(images, torch.arange(32) % len(CLASSES), 1 + 4 * ratings)
    trained, baseline = Trained(key), Trained("ce")
    seconds = []

    def time_cross_entropy():
        start = time.process_time()
        baseline.step(batch)
        seconds.append(time.process_time() - start)

    rounds = 25 if benchmark.enabled else 1
    loss = benchmark.pedantic(
        trained.step, (batch,), setup=time_cross_entropy, rounds=rounds, warmup_rounds=rounds // 5
    )
    assert math.isfinite(loss)
    if benchmark.enabled:
        step, plain = benchmark.stats.stats.median, statistics.median(seconds)
        benchmark.extra_info.update(cross_entropy_s=plain, times_ce=step / plain)
        print(f"\n{key}: {1e3 * step:.1f} ms a step, {step / plain:.2f} times cross-entropy's {1e3 * plain:.1f} ms")
