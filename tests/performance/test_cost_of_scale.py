"""A training step on a cohort of 50,000 nodules against one on LIDC-IDRI's 2,651: what a nodule costs in each.

    python -m pytest tests/performance/test_cost_of_scale.py -o addopts=--import-mode=importlib -s

(without the project's own options, as the other timings). Whole steps as the trainer takes them, at the quick preset:
nodules drawn and turned, read from a map of the file, forward, backward, optimiser. By turns: an epoch of the small
cohort, then as many steps on the large one, until that has had an epoch as well; seconds on the wall, since what a
larger file costs is waiting. The ratio is printed; wanted is one within 10 % of 1. The files are sparse, so no disk is
in it: the large one's pages come from the system once each, the small one's are there from its second epoch on. The
default run of the tests takes two steps of each.
"""

import itertools
import math
import statistics
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from benchmark.batches import Part, epoch_batches, part_of
from benchmark.contracts import Batch, Task
from benchmark.recipe import PRESETS
from benchmark.step import Step
from benchmark.voxels import place
from fakes import make_cohort
from methods import ROWS
from vision import ATTRIBUTES, CLASSES

QUICK, CPU = PRESETS["quick"], torch.device("cpu")
SMALL, LARGE = 2651, 50_000


@pytest.fixture(autouse=True)
def one_thread() -> Iterator[None]:
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


def mapped(file: Path, nodules: int) -> Part:
    """Return so many nodules whose crops are mapped from a file without content."""
    with file.open("wb") as made:
        made.truncate(nodules * 32**3 * 2)
    crops = np.memmap(file, np.int16, "r", shape=(nodules, 32, 32, 32))
    cohort = make_cohort()
    few = np.arange(nodules) % len(cohort)
    window = QUICK.recipe.window_hu
    part = part_of(cohort, place(cohort.volumes, CPU, window), few, few % len(CLASSES))
    return replace(part, voxels=place(crops, CPU, window, QUICK.encoder.slices), rows=torch.arange(nodules))


class Trained:
    """Cross-entropy in training on one cohort, epoch after epoch."""

    def __init__(self, data: Part) -> None:
        torch.manual_seed(0)
        task = Task(len(CLASSES), CLASSES, ATTRIBUTES, (32, 32, 32), QUICK.encoder, QUICK.text_tower)
        self.step = Step(ROWS["ce"].build(ROWS["ce"].sees(task)).train(), QUICK.recipe, fused=False)
        generator = torch.Generator().manual_seed(0)
        epochs = (epoch_batches(data, QUICK.recipe, generator) for _ in itertools.count())
        self.batches: Iterator[Batch] = itertools.chain.from_iterable(epochs)

    def take(self, steps: int) -> float:
        """Take steps; return the mean of their losses."""
        for batch in itertools.islice(self.batches, steps):
            self.step(batch)
        return self.step.take_totals()["ce"] / steps


@pytest.mark.benchmark(timer=time.perf_counter)
def test_a_nodule_costs_the_same_in_a_large_cohort(benchmark, tmp_path):
    small, large = Trained(mapped(tmp_path / "small", SMALL)), Trained(mapped(tmp_path / "large", LARGE))
    steps = SMALL // QUICK.recipe.batch_size if benchmark.enabled else 2
    rounds = LARGE // SMALL if benchmark.enabled else 1
    seconds = []

    def take_an_epoch_of_the_small() -> None:
        start = time.perf_counter()
        small.take(steps)
        seconds.append(time.perf_counter() - start)

    large.take(1), small.take(1)  # whatever torch does but once
    loss = benchmark.pedantic(large.take, (steps,), setup=take_an_epoch_of_the_small, rounds=rounds)
    assert math.isfinite(loss)
    if benchmark.enabled:
        shown = steps * QUICK.recipe.batch_size
        ours, theirs = benchmark.stats.stats.median / shown, statistics.median(seconds) / shown
        benchmark.extra_info.update(small_us=1e6 * theirs, times_small=ours / theirs)
        print(
            f"\n{1e6 * ours:.0f} us a nodule of {LARGE} against {1e6 * theirs:.0f} us of {SMALL}: "
            f"{ours / theirs:.3f} times, medians of {rounds} rounds by turns"
        )
