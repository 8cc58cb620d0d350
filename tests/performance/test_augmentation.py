"""An epoch of shuffled, augmented batches against a DataLoader whose data set turns one image after the other.

    python -m pytest tests/performance/test_augmentation.py -o addopts=--import-mode=importlib -s

(without the project's own options: these switch benchmarks off, and shape checks on). Both give the same images, of the
same crops of int16, and the columns of a batch. The loader works in this process, or in one of its own as is usual;
what that one computes is counted too. By turns, in processor seconds; the ratio is printed. The default run of the
tests checks that both give the same images.
"""

import resource
import statistics
from dataclasses import replace

import numpy as np
import pytest
import torch
from torch.utils.data import DataLoader, Dataset

from benchmark.batches import epoch_batches, part_of
from benchmark.recipe import Recipe
from benchmark.voxels import place
from fakes import make_cohort

RECIPE = Recipe(batch_size=64)
CPU = torch.device("cpu")


class Turned(Dataset):
    """What is usually written: an image, its window and its turn at a time, in NumPy, with what is known of it."""

    def __init__(self, crops: np.ndarray, columns: list[np.ndarray], order: list[int], turns: list[int]) -> None:
        self.crops, self.columns, self.order, self.turns = crops, columns, order, turns

    def __len__(self) -> int:
        return len(self.order)

    def __getitem__(self, number: int) -> tuple[np.ndarray, ...]:
        low, high = RECIPE.window_hu
        row = self.order[number]
        image = np.clip((self.crops[row].astype(np.float32) - low) / (high - low), 0, 1)
        code = self.turns[number]
        for bit in range(3):
            if code >> bit & 1:
                image = np.flip(image, bit)
        image = np.ascontiguousarray(np.swapaxes(image, 1, 2) if code >> 3 else image)
        return image, *(column[row] for column in self.columns)


def drawn(count: int) -> tuple[list[int], list[int]]:
    """Draw what `epoch_batches` draws, sorted within batches as it sorts."""
    generator = torch.Generator().manual_seed(0)
    order, turns = torch.randperm(count, generator=generator), torch.randint(16, (count,), generator=generator)
    turns, by_turn = turns.view(-1, 64).sort(dim=1, stable=True)
    return order.view(-1, 64).gather(1, by_turn).flatten().tolist(), turns.flatten().tolist()


def processor_seconds() -> float:
    """Return what this process and its children that have ended have computed so far."""
    used = map(resource.getrusage, (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN))
    return sum(one.ru_utime + one.ru_stime for one in used)


@pytest.mark.benchmark(timer=processor_seconds)
@pytest.mark.parametrize("workers", [0, 1])
def test_an_augmented_epoch(benchmark, workers):
    if workers and not benchmark.enabled:
        pytest.skip("the same images from another process; runs where benchmarks are on")
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    count = 2048 if benchmark.enabled else 64
    crops = np.random.default_rng(0).integers(-1000, 600, (count, 32, 32, 32), dtype=np.int16)
    cohort = make_cohort()
    few = np.arange(count) % len(cohort)
    part = part_of(cohort, place(cohort.volumes, CPU, RECIPE.window_hu), few, few)
    data = replace(part, voxels=place(crops, CPU, RECIPE.window_hu), rows=torch.arange(count))
    known = (data.labels, data.attributes, data.trusted, data.malignancy, data.diameter_mm)
    turned = Turned(crops, [column.numpy() for column in known], *drawn(count))
    loader, seconds = DataLoader(turned, batch_size=64, num_workers=workers), []

    def batched() -> torch.Tensor:
        for batch in epoch_batches(data, RECIPE, torch.Generator().manual_seed(0)):
            last = batch.images
        return last

    def sample_by_sample() -> None:
        start = processor_seconds()
        for images, *_ in loader:
            last = images
        seconds.append(processor_seconds() - start)
        torch.testing.assert_close(batched(), last, atol=1e-6, rtol=0)

    benchmark.pedantic(batched, setup=sample_by_sample, rounds=7 if benchmark.enabled else 1)
    torch.set_num_threads(threads)
    if benchmark.enabled:
        ours, theirs = benchmark.stats.stats.median, statistics.median(seconds)
        benchmark.extra_info.update(loader_s=theirs, times_faster=theirs / ours)
        print(f"\n{1e6 * ours / count:.0f} us an image against {1e6 * theirs / count:.0f}: {theirs / ours:.1f} times")
