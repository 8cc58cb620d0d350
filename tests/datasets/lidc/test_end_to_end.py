"""From a partial download to the tables, in the command a user types."""

import json
from pathlib import Path

import numpy as np
import pytest

import run_all
from benchmark.experiment import Experiment
from ct import dataset
from datasets import crops
from datasets.lidc import nodules as lidc
from datasets.lidc.geometry import crop_of, grid_of
from datasets.lidc.phantom import masks
from datasets.protocols import classify
from shared import SCAN


def write_needed(nodule, folder: Path) -> None:
    """Write the slices that a real nodule's crop needs, showing tissue where its readers say there is some."""
    scan, grid = nodule.scan, grid_of(nodule.scan)
    box = crops.box_of(crop_of(nodule), grid)
    mask = masks.consensus(nodule, box)
    folder.mkdir(parents=True)
    for number, level in enumerate(range(box[0].start, box[0].stop)):
        hu = np.full(grid.shape[1:], -850.0)
        hu[box[1:]][mask[number]] = 40.0
        one = dataset(scan, scan.slice_z_mm[level], hu, [scan.pixel_spacing_mm] * 2, number=level)
        one.save_as(folder / f"{number}.dcm", enforce_file_format=True)


@pytest.fixture
def chosen(nodules):
    """Four small nodules of each class, each its patient's only one."""
    patients = [nodule.scan.patient_id for nodule in nodules]
    alone = [nodule for nodule in nodules if patients.count(nodule.scan.patient_id) == 1 and 5 < nodule.diameter_mm < 9]
    classes = classify(np.array([nodule.malignancy for nodule in alone]), "three")
    return [alone[row] for label in range(3) for row in np.flatnonzero(classes == label)[:4]]


def test_a_partial_download_gives_tables_that_say_so(chosen, nodules, tmp_path, monkeypatch, capsys):
    root = tmp_path / "LIDC-IDRI"
    for nodule in chosen:
        write_needed(nodule, root / nodule.scan.patient_id / "study" / "series")
    count = len(chosen)
    if SCAN.is_file() and all(nodule.scan.patient_id != "LIDC-IDRI-0001" for nodule in chosen):
        (root / "LIDC-IDRI-0001.zip").symlink_to(SCAN)
        count += 1
    monkeypatch.setattr(lidc, "load", lambda: nodules)  # clustering them again takes its time
    arguments = ["--source", "dicom", "--dicom-root", str(root), "--preset", "smoke", "--folds", "2", "--device", "cpu"]
    arguments += [
        "--methods",
        "ce",
        "--workers",
        "0",
        "--out",
        str(tmp_path / "run"),
        "--work",
        str(tmp_path / "results"),
    ]
    assert run_all.main(arguments) == 0
    printed = capsys.readouterr()
    for name in ("table1.md", "table2.md", "table1.tex"):
        text = (tmp_path / "run" / name).read_text()
        assert f"A partial cohort: {count} of the 2,651 nodules" in text and "Phantom" not in text
    assert "CT: crops of the LIDC-IDRI scans themselves" in printed.out
    assert "series incomplete" in printed.err and "nodules made" in printed.err
    report = json.loads((tmp_path / "results" / "cohorts" / "dicom" / "prepare.json").read_text())
    assert report["nodules"]["made"] == count and len(report["series"]["found"]) == count
    assert len(report["series"]["incomplete"]) == len(chosen) and report["nodules"]["left out"] == {}

    monkeypatch.setattr(Experiment, "train", lambda *_: pytest.fail("it trained again"))
    assert run_all.main([*arguments, "--verify"]) == 0
    victim = min((root / chosen[0].scan.patient_id).rglob("*.dcm"))
    victim.write_bytes(victim.read_bytes()[:-2] + b"\1\1")
    capsys.readouterr()
    assert run_all.main([*arguments, "--verify"]) == 2
    assert "1 slices are not what they were when they were first read" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (["--source", "dicom", "--dicom-root", "/no/where"], "--dicom-root '/no/where' is neither a folder nor a zip"),
        (["--dicom-root", "."], "is for --source dicom, not for phantom"),
        (["--verify"], "is for --source dicom, not for phantom"),
    ],
)
def test_bad_input_is_one_sentence_and_status_2(arguments, sentence, capsys):
    assert run_all.main(["--preset", "smoke", *arguments]) == 2
    told = capsys.readouterr().err.strip().splitlines()
    assert sentence in told[-1]


def write_scans(nodules, root: Path) -> None:
    """Write the slices that the crops of some nodules need, a folder a scan."""
    of_scan: dict[str, list] = {}
    for nodule in nodules:
        of_scan.setdefault(nodule.scan.series_uid, []).append(nodule)
    for uid, own in of_scan.items():
        scan, grid = own[0].scan, grid_of(own[0].scan)
        slices: dict[int, np.ndarray] = {}
        for nodule in own:
            box = crops.box_of(crop_of(nodule), grid)
            for level, mask in zip(range(box[0].start, box[0].stop), masks.consensus(nodule, box), strict=True):
                slices.setdefault(level, np.full(grid.shape[1:], -850.0))[box[1:]][mask] = 40.0
        (root / scan.patient_id / uid).mkdir(parents=True)
        for level, hu in slices.items():
            one = dataset(scan, scan.slice_z_mm[level], hu, [scan.pixel_spacing_mm] * 2, number=level)
            one.save_as(root / scan.patient_id / uid / f"{level}.dcm", enforce_file_format=True)


def test_a_download_without_a_malignant_nodule_is_refused_in_words_before_any_fit(
    nodules, tmp_path, monkeypatch, capsys
):
    """Patients 0230 to 0234 with three folds, which ended in two libraries' tracebacks."""
    window = [f"LIDC-IDRI-{number:04}" for number in range(230, 235)]
    own = [nodule for nodule in nodules if nodule.scan.patient_id in window]
    write_scans(own, tmp_path / "root")
    monkeypatch.setattr(lidc, "load", lambda: nodules)
    arguments = ["--source", "dicom", "--dicom-root", str(tmp_path / "root"), "--preset", "smoke", "--folds", "3"]
    arguments += ["--workers", "0", "--work", str(tmp_path / "work"), "--out", str(tmp_path / "run")]
    for datasets in (["A"], ["C"], ["A", "B", "C"]):
        assert run_all.main([*arguments, "--methods", "ce", "--datasets", *datasets]) == 2
        told = capsys.readouterr().err.strip().splitlines()[-1]
        assert "the collection LIDC has no malignant nodule by the label rule 'published'" in told
    assert not (tmp_path / "run").exists() and len(own) == 9
