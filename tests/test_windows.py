"""Consecutive patients, as people download them first, from the cohort to the tables: whole tables, or one sentence."""

import csv
from collections import Counter
from pathlib import Path

import numpy as np
import pytest

import run_all
from benchmark.contracts import NoduleInfo
from datasets import cohort
from datasets.lidc.collections import Phantom

NAMED = ((230, 234, 3), (945, 957, 3), (8, 17, 5))  # these were reported
IN_CI, ALL = 9, 57  # beside the named ones


class Window(Phantom):
    """The phantom of some patients."""

    def __init__(self, whole: Phantom, patients: set[str]) -> None:
        self.whole, self.chosen = whole, patients

    @property
    def _lidc(self):
        return self.whole._lidc

    def nodules(self) -> list[NoduleInfo]:
        return [nodule for nodule in self.whole.nodules() if nodule.patient_id in self.chosen]


def drawn(patients: list[str], number: int) -> list[tuple[set[str], int]]:
    """Return windows of 5 to 20 patients, and how many folds to cut each into."""
    rng = np.random.default_rng(9)
    found = [({f"LIDC-IDRI-{i:04}" for i in range(first, last + 1)}, folds) for first, last, folds in NAMED]
    for _ in range(number):
        size = int(rng.integers(5, 21))
        start = int(rng.integers(0, len(patients) - size + 1))
        found.append((set(patients[start : start + size]), int(rng.choice([3, 5]))))
    return found


def run_window(whole: Phantom, patients: set[str], folds: int, folder: Path, capsys) -> str:
    """Make the tables of a window; see that they are whole, or that one sentence says why not."""
    file = cohort.prepare(Window(whole, patients), folder)
    arguments = ["--preset", "smoke", "--methods", "ce", "--cohort", str(file), "--folds", str(folds)]
    status = run_all.main([*arguments, "--device", "cpu", "--workers", "0", "--out", str(folder / "run")])
    told = capsys.readouterr()
    if status == 2:
        assert told.err.splitlines()[-1].startswith("run_all.py: ") and told.err.count("\n") <= 2 and told.out == ""
        assert not (folder / "run").exists()
        return "refused"
    assert status == 0, told.err
    for path in sorted((folder / "run").glob("table*.csv")):
        for line in csv.DictReader(path.read_text().splitlines()):
            assert line["mean"] != "nan" and line["std"] != "nan" and int(line["n"]) == folds, (path.name, line)
        assert "| -" not in path.with_suffix(".md").read_text().replace("|--", "").replace("|:-", "")
    return "tables"


@pytest.fixture(scope="module")
def whole() -> Phantom:
    return Phantom()


def test_windows_of_patients_end_in_whole_tables_or_one_sentence(whole, tmp_path, capsys, request):
    """Twelve windows, and sixty by `--all-windows`; the three that were reported are among them."""
    patients = sorted({nodule.patient_id for nodule in whole.nodules()})
    number = ALL if request.config.getoption("--all-windows") else IN_CI
    ends = []
    for index, (window, folds) in enumerate(drawn(patients, number)):
        ends.append(run_window(whole, window, folds, tmp_path / str(index), capsys))
    assert ends[:3] == ["refused", "refused", "tables"], "no malignant nodule, none again, five folds of ten"
    assert Counter(ends)["tables"] >= 3, ends
