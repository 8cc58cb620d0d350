"""A cohort larger than memory: what a process holds of it does not grow with it."""

import io
import json
import subprocess
import sys
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from benchmark.contracts import Cohort, Provenance
from datasets import store

ROOT = Path(__file__).resolve().parents[2]
SMALL, LARGE = 1_500, 100_000  # nodules: 98 MB and 6.6 GB of voxels
EVERY = 97  # nodules: one of them has a voxel that is not zero, which says which it is

BLOCK = 2**16  # bytes
ZEROS = bytes(BLOCK)

READ = """
import json, re, sys
from pathlib import Path
import numpy as np
from datasets import store

def held():  # MB of this process alone: pages of files do not count
    return int(re.search(r"RssAnon:\\s*(\\d+)", Path("/proc/self/status").read_text())[1]) / 1024

path, stamp, before = Path(sys.argv[1]), store.Stamp(*map(int, sys.argv[2:4])), held()
cohort = store.load(path) if sys.argv[4] == "checked" else store.open_once(path, stamp)
order, found, most = np.random.default_rng(0).permutation(len(cohort)), [], held()
for start in range(0, len(order), 64):
    rows = order[start : start + 64]
    marks = cohort.volumes[rows].reshape(len(rows), -1).max(axis=1)
    found += [[int(row), int(mark)] for row, mark in zip(rows, marks) if mark]
    most = max(most, held())
print(json.dumps([before, most, sorted(found)]))
"""


class Holes(io.FileIO):
    """A file that has holes in place of zeros."""

    def write(self, content) -> int:
        content = memoryview(content).cast("B")
        for start in range(0, content.nbytes, BLOCK):
            block = content[start : start + BLOCK]
            if block == ZEROS:
                self.seek(BLOCK, io.SEEK_CUR)
            else:
                super().write(block)
        return content.nbytes


@contextmanager
def holes(path):
    with Holes(path, "w") as file:
        yield file


def invent(count: int, raw: Path) -> Cohort:
    """Return nodules of zeros, but for marks."""
    with raw.open("wb") as file:
        file.truncate(count * 32**3 * 2)
    volumes = np.memmap(raw, np.int16, "r+", shape=(count, 32, 32, 32))
    volumes[::EVERY, 1, 2, 3] = 1 + np.arange(0, count, EVERY) % 1000
    made = Cohort(
        collection="Invented",
        source="invented",
        note="Invented.",
        volumes=volumes,
        nodule_ids=tuple(f"n{row}" for row in range(count)),
        scan_ids=("",) * count,
        patient_ids=tuple(f"p{row // 3}" for row in range(count)),
        reading_ids=((),) * count,
        n_readers=np.zeros(count, dtype=np.int64),
        reader_malignancy=np.full((count, 1), 3.0),
        malignancy=np.full(count, 3.0),
        given_labels=np.full(count, -1),
        ratings=np.ones((count, 8)),
        trusted=np.ones((count, 8), dtype=bool),
        attribute_names=tuple("abcdefgh"),
        diameter_mm=np.ones(count),
        slice_thickness_mm=np.ones(count),
        strata={},
        content_hash="",
        provenance=Provenance(None, "", None),
    )
    return replace(made, content_hash=store.content_hash(made))


@pytest.mark.parametrize("how", ["checked", "trusted"])
def test_a_process_holds_no_more_of_a_large_cohort_than_a_batch(how, tmp_path, monkeypatch, request):
    """In the driver, which hashes all voxels, and in a worker, which does not."""
    status = Path("/proc/self/status")
    if not (status.is_file() and "RssAnon" in status.read_text()):
        pytest.skip("only Linux tells a process how much memory it holds for itself")
    count = LARGE if request.config.getoption("--large-cohort") else SMALL
    path = tmp_path / "invented.npz"
    monkeypatch.setattr(store, "replacing", holes)
    store.write(invent(count, tmp_path / "raw"), path)
    stamp = store.stamp_of(path)
    assert path.stat().st_blocks * 512 < stamp.size / 4, "the file is not sparse"
    command = [sys.executable, "-c", READ, str(path), *map(str, stamp), how]
    told = subprocess.run(command, capture_output=True, check=True, text=True, cwd=ROOT).stdout
    before, most, found = json.loads(told)
    print(f"\n{how}: {count} nodules of {stamp.size / 1e6:.0f} MB: {before:.0f} MB before, {most:.0f} MB at most")
    assert found == [[row, 1 + row % 1000] for row in range(0, count, EVERY)]
    assert most - before < max(40, count / 300) and most < 3_000  # a batch, and ids and ratings
