"""Files and values made by somebody who means harm: a sentence, exit status 2, and nothing is run or written."""

import json
import pickle
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

import run_all
from datasets import store
from fakes import make_cohort
from payloads import NESTED, Bad, bomb, npy, refused


def cohort(**changes: object) -> Callable[[Path, Path], list[str]]:
    """A prepared cohort of which the description, or an array, is another."""

    def build(folder: Path, canary: Path) -> list[str]:
        store.write(make_cohort(), folder / "good.npz")
        with np.load(folder / "good.npz") as good:
            arrays = {name: good[name] for name in good}
        meta = json.loads(str(arrays["meta"]))
        for name, change in changes.items():
            if name in arrays:
                arrays[name] = change(canary) if callable(change) else change
            else:
                meta[name] = change
        if "meta" not in changes:
            arrays["meta"] = np.array(json.dumps(meta))
        np.savez(folder / "cohort.npz", **arrays)
        return ["--cohort", str(folder / "cohort.npz")]

    return build


def cohort_file(content: bytes | Callable[[Path], None]) -> Callable[[Path, Path], list[str]]:
    def build(folder: Path, canary: Path) -> list[str]:
        content(folder / "cohort.npz") if callable(content) else (folder / "cohort.npz").write_bytes(content)
        return ["--cohort", str(folder / "cohort.npz")]

    return build


def table(**cells: str) -> Callable[[Path, Path], list[str]]:
    """A user's table of one nodule with a cell that is another."""

    def build(folder: Path, canary: Path) -> list[str]:
        given = {"nodule_id": "n", "patient_id": "p", "file": "n.npy", "label": "benign", "diameter_mm": "5"} | cells
        root = folder / "collection"
        root.mkdir()
        np.save(root / "n.npy", np.zeros((32, 32, 32), np.int16))
        (root / "objects.npy").write_bytes(npy("{'descr': '|O', 'fortran_order': False, 'shape': (1,), }"))
        with (root / "objects.npy").open("ab") as file:
            pickle.dump([Bad(canary)], file)
        (root / "huge.npy").write_bytes(npy("{'descr': '<i2', 'fortran_order': False, 'shape': (99999,99999,99999), }"))
        (root / "code.npy").write_bytes(npy(f"__import__('pathlib').Path({str(canary)!r}).touch()"))
        (root / "link.npy").symlink_to(folder / "outside.npy")
        np.save(folder / "outside.npy", np.zeros((32, 32, 32), np.int16))
        quoted = ('"' + cell.replace('"', '""') + '"' for cell in given.values())
        (root / "nodules.csv").write_text(",".join(given) + "\n" + ",".join(quoted) + "\n", newline="")
        return ["--collection", str(root), "--work", str(folder / "work")]

    return build


def preset(text: str) -> Callable[[Path, Path], list[str]]:
    def build(folder: Path, canary: Path) -> list[str]:
        (folder / "p.toml").write_text(text)
        return ["--preset", str(folder / "p.toml"), "--dry-run"]

    return build


def options(*given: str) -> Callable[[Path, Path], list[str]]:
    return lambda folder, canary: [*given, "--dry-run"]


RUN_ALL = {
    "a pickled cohort": cohort_file(lambda path: path.write_bytes(pickle.dumps(Bad(path.parent / "canary")))),
    "objects among a cohort's arrays": cohort(n_readers=lambda canary: np.array([Bad(canary)] * 30, dtype=object)),
    "objects for a cohort's voxels": cohort(volumes=lambda canary: np.array([Bad(canary)], dtype=object)),
    "a bomb for a cohort": cohort_file(lambda path: bomb(path, "meta.npy")),
    "a bomb for a cohort's voxels": cohort_file(lambda path: bomb(path, "volumes.npy")),
    "deep nesting in a cohort": cohort(meta=np.array('{"format": 2, "note": ' + NESTED + "}")),
    "a giant number in a cohort": cohort(meta=np.array('{"format": ' + "9" * 5000 + "}")),
    "a cohort of another format": cohort(format=10**30),
    "a path for a cohort's format": cohort(format="../../etc/passwd"),
    "a strange key in a cohort": cohort(__class__="x"),
    "edited ids in a cohort": cohort(nodule_ids=["../../../evil"] * 30),
    "an array of a petabyte": cohort_file(npy("{'descr': '<i2', 'fortran_order': False, 'shape': (10**15,), }")),
    "the parent folder as a file": table(file="../outside.npy"),
    "a path from the root as a file": table(file="/etc/passwd"),
    "a link out of the folder as a file": table(file="link.npy"),
    "a path of Windows as a file": table(file="..\\outside.npy"),
    "a null byte in a file's name": table(file="n.npy\0.txt"),
    "an endless file name": table(file="n" * 70_000),
    "the folder itself as a file": table(file="."),
    "a web address as a file": table(file="http://192.0.2.1/n.npy"),
    "pickled voxels": table(file="objects.npy"),
    "voxels of a petabyte": table(file="huge.npy"),
    "code in an array's header": table(file="code.npy"),
    "a formula as a nodule's id": table(nodule_id='=HYPERLINK("http://192.0.2.1","x")'),
    "a formula as a patient's id": table(patient_id="@SUM(1+1)*cmd|' /C calc'!A0"),
    "a formula behind a sign": table(patient_id="-2+3+cmd|' /C calc'!A0"),
    "a formula in the next line of an id": table(nodule_id="n\r=1+1"),
    "a formula behind a tab": table(nodule_id="n\t=1+1"),
    "a formula behind a semicolon": table(patient_id="p;=1+1"),
    "a formula in full width": table(nodule_id="\uff1d1+1"),
    "a call in full width": table(patient_id="\uff20SUM(1)"),
    "an escape sequence in an id": table(nodule_id="\x1b]0;gone\x07"),
    "a giant diameter": table(diameter_mm="9" * 400),
    "an infinite diameter": table(diameter_mm="1e999"),
    "a giant score": table(label="", malignancy="1e308|5"),
    "HTML as a label": table(label="<script>alert(1)</script>"),
    "a cell beyond all bounds": table(label="x" * 200_000),
    "deep nesting in a preset": preset("base = 'quick'\nx = " + NESTED),
    "a giant number in a preset": preset("base = 'quick'\n[recipe]\nepochs = " + "9" * 5000),
    "an infinite rate in a preset": preset("base = 'quick'\n[recipe]\nlr = inf"),
    "a path for a preset's base": preset("base = '../../etc/passwd'"),
    "deep nesting in a setting": options("--set", f"ce_diameter.x={NESTED}"),
    "a giant number in a setting": options("--set", "clip_lung.alpha=" + "9" * 5000),
    "code as a setting": options("--set", "clip_lung.alpha=__import__('os')"),
    "a path as a row": options("--methods", "../../etc/passwd"),
    "a path as a source": options("--source", "../../etc"),
}


@pytest.mark.parametrize("name", RUN_ALL)
def test_run_all_answers_with_a_sentence(name, tmp_path, canary, capsys):
    arguments = RUN_ALL[name](tmp_path, canary)
    preset = [] if "--preset" in arguments else ["--preset", "smoke"]
    refused(run_all.main, [*arguments, *preset, "--workers", "0", "--out", str(tmp_path / "run")], canary, capsys)


def test_there_are_enough_payloads():
    assert len(RUN_ALL) >= 45
