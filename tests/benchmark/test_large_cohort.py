"""A cohort need not fit in memory: what a process holds of it does not grow with it."""

import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from datasets import store
from fakes import make_cohort

HERE = Path(__file__).parents[1]
CROP = 32**3 * 2  # bytes

TRAIN = """
import sys, time
sys.path[:0] = sys.argv[1:3]
import re, warnings
from pathlib import Path
import numpy as np, torch
from benchmark.batches import epoch_batches, part_of
from benchmark.recipe import Recipe
from benchmark.runner import _AT_ONCE
from benchmark.voxels import placed_once
from datasets.folds import fold_data

warnings.simplefilter("error")
torch.set_num_threads(1)

def anonymous():
    return int(re.search(r"RssAnon:\\s*(\\d+)", Path("/proc/self/status").read_text())[1]) * 1024

file, recipe, most = Path(sys.argv[3]), Recipe(batch_size=64), anonymous()
nodules = int(sys.argv[4])
data = fold_data(file, ["three"], "published", np.arange(nodules) % 5)["three", 0]
voxels = placed_once(data.cohort(), torch.device("cpu"), recipe.window_hu)
train = part_of(data.cohort(), voxels, data.train, data.train_labels)
start, shown = time.process_time(), 0
for batch in epoch_batches(train, recipe, torch.Generator().manual_seed(0)):
    shown, most = shown + len(batch), max(most, anonymous())
seconds = time.process_time() - start
for batch in part_of(data.cohort(), voxels, data.test, data.test_labels).split(_AT_ONCE):
    most = max(most, anonymous())
print(shown, most, seconds)
"""


def invented(path: Path, nodules: int) -> None:
    """Write a cohort of so many nodules, of whose voxels none was ever written to."""
    few = make_cohort()
    rows = np.arange(nodules) % len(few)
    columns = {
        name: value[rows] for name, value in vars(few).items() if isinstance(value, np.ndarray) and name != "volumes"
    }
    names = {
        name: tuple(f"{number}" for number in range(nodules)) for name in ("nodule_ids", "scan_ids", "patient_ids")
    }
    cohort = replace(
        few,
        volumes=np.zeros((nodules, 32, 32, 32), dtype=np.int16),
        reading_ids=((),) * nodules,
        strata={},
        **columns,
        **names,
    )
    store.write(replace(cohort, content_hash=store.content_hash(cohort)), path)


def test_memory_does_not_grow_with_the_cohort_that_is_trained_and_tested_on(tmp_path, request):
    if not Path("/proc/self/status").is_file():
        pytest.skip("only Linux tells a process its own anonymous memory")
    nodules = 100_000 if request.config.getoption("--large-cohort") else 6_000
    invented(tmp_path / "cohort.npz", nodules)
    command = [sys.executable, "-c", TRAIN, HERE.parent, HERE / "support", tmp_path / "cohort.npz", nodules]
    outcome = subprocess.run(list(map(str, command)), capture_output=True, text=True)
    assert outcome.returncode == 0, outcome.stderr
    shown, most, seconds = map(float, outcome.stdout.split())
    print(f"\n{nodules} nodules: {most / 2**20:.0f} MiB, {1e6 * seconds / shown:.0f} us a nodule and epoch")
    assert shown > 0.78 * nodules
    assert most < 700 * 2**20  # torch itself has some 300, and 1,024 test images at once take 134
