"""One whole fit of each row at the paper's size on a GPU: what the profile foretells, and what it takes.

    python -m pytest tests/performance/test_paper_fold.py -o addopts=--import-mode=importlib -s

(without the project's own options, as the other timings). The text tower has the paper's size and random weights, so
that no file is needed: they cost the same. The default run of the tests trains one epoch.
"""

from dataclasses import replace

import pytest
import torch

import methods
from benchmark.commands.profile import KINDS
from benchmark.contracts import Task, TextTowerSpec
from benchmark.profile.invented import invented
from benchmark.profile.measure import measure
from benchmark.recipe import PRESETS
from benchmark.trainer import fit, predict
from vision import ATTRIBUTES, CLASSES

PAPER = PRESETS["paper"]
NODULES, FOLDS = 2651, 5
KEYS = [key for key, row in methods.ROWS.items() if row.kind in ("paper", "control", "added")]


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
@pytest.mark.parametrize("key", KEYS)
def test_a_fold_of_the_paper(benchmark, key):
    device, row = torch.device("cuda"), methods.ROWS[key]
    task = Task(len(CLASSES), CLASSES, ATTRIBUTES, (32, 32, 32), PAPER.encoder, TextTowerSpec(name="random"))
    recipe = PAPER.recipe if benchmark.enabled else replace(PAPER.recipe, epochs=1)
    foretold = measure(row, task, PAPER, device, KINDS, steps=16).fit_s(recipe, NODULES, FOLDS)
    test = NODULES // FOLDS

    def whole_fit():
        torch.manual_seed(0)
        method = row.build(task).to(device)
        fit(method, invented(task, NODULES - test, device), recipe, seed=0)
        shown = invented(task, test, device)
        return predict(method, shown.images, task.num_classes, shown.diameter_mm)

    assert len(benchmark.pedantic(whole_fit, rounds=1)) == test
    if benchmark.enabled:
        took = benchmark.stats.stats.median
        benchmark.extra_info.update(foretold_s=foretold, device=torch.cuda.get_device_name(device))
        print(f"\n{key}: {took:.1f} s, foretold {foretold:.1f} s")
