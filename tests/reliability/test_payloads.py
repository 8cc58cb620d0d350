"""Files and values made by somebody who means harm: a sentence, exit status 2, and nothing is run or written."""

import io
import json
import lzma
import os
import pickle
import struct
import tarfile
import warnings
import zipfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch

import run_all
from benchmark import archive
from benchmark.commands.report import main as report_main
from benchmark.contracts import InputError
from benchmark.figures.folder import SHARES, csv_text, parse
from benchmark.files import write_atomically
from benchmark.prediction import read_crops
from benchmark.records import FitSpec, Unusable, seal
from benchmark.run import Run
from datasets import store
from fakes import make_cohort
from methods._weights import read
from runs import write_run

DEEP = 100_000
NESTED = "[" * DEEP + "]" * DEEP
NPY = b"\x93NUMPY\x01\x00v\x00"


class Bad:
    """Unpickling it leaves a file."""

    def __init__(self, canary: Path) -> None:
        self.canary = canary

    def __reduce__(self):
        return Path.touch, (self.canary,)


def npy(header: str) -> bytes:
    return NPY + header.ljust(117).encode() + b"\n"


def bomb(file: Path, name: str, size: int = 320 << 20) -> None:
    """A zip of some 300 kB whose one member unpacks to 320 MiB, and claims 2 GiB for its array."""
    with zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED) as made, made.open(name, "w", force_zip64=True) as member:
        member.write(npy("{'descr': '<i2', 'fortran_order': False, 'shape': (1073741760,), }"))
        for _ in range(size >> 24):
            member.write(ZEROS)


ZEROS = bytes(1 << 24)


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


@pytest.fixture
def canary(tmp_path) -> Path:
    return tmp_path / "canary"


@pytest.mark.parametrize("name", RUN_ALL)
def test_run_all_answers_with_a_sentence(name, tmp_path, canary, capsys):
    arguments = RUN_ALL[name](tmp_path, canary)
    preset = [] if "--preset" in arguments else ["--preset", "smoke"]
    refused(run_all.main, [*arguments, *preset, "--workers", "0", "--out", str(tmp_path / "run")], canary, capsys)


def refused(main: Callable[[list[str]], int], arguments: list[str], canary: Path, capsys) -> None:
    """A sentence of one line, exit status 2, no code run, and the run not begun."""
    capsys.readouterr()
    assert main(arguments) == 2
    err = capsys.readouterr().err
    last = err.strip().splitlines()[-1]
    assert last.startswith(("run_all.py: ", "benchmark.report: ")) and "Traceback" not in err
    assert not canary.exists() and not (canary.parent / "run" / "fits").exists()


@pytest.fixture(scope="module")
def run(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("payloads") / "run"
    write_run(folder, {"ce": 0.6, "majority": 0.4}, tested=20)
    (folder / "cohort.csv").write_text("nodule_id\n")
    return folder


def packed(path: Path, *entries: tuple[tarfile.TarInfo, bytes], xz: bool = False) -> None:
    made = io.BytesIO()
    with tarfile.open(fileobj=made, mode="w") as archive:
        for entry, content in entries:
            entry.size = len(content)
            archive.addfile(entry, io.BytesIO(content))
    path.write_bytes(lzma.compress(made.getvalue()) if xz else made.getvalue())


def member(name: str, kind: bytes = tarfile.REGTYPE, link: str = "") -> tarfile.TarInfo:
    made = tarfile.TarInfo(name)
    made.type, made.linkname = kind, link
    return made


def xz_bomb(path: Path) -> None:
    """Some 20 kB of nothing but zeros, 96 MiB of them."""
    packer = lzma.LZMACompressor(preset=0)
    with path.open("wb") as file:
        for _ in range(6):
            file.write(packer.compress(ZEROS))
        file.write(packer.flush())


RUNS: dict[str, Callable[[Path], None]] = {
    "a file outside of a packed run": lambda path: packed(path, (member("../outside"), b"x")),
    "a file from the root in a packed run": lambda path: packed(path, (member(f"{path.parent}/outside"), b"x")),
    "a link out of a packed run": lambda path: packed(path, (member("run.json", tarfile.SYMTYPE, "/etc/passwd"), b"")),
    "a device in a packed run": lambda path: packed(path, (member("run.json", tarfile.CHRTYPE), b"")),
    "a bomb for a packed run": xz_bomb,
    "a packed run that wants the memory": lambda path: path.write_bytes(
        lzma.compress(b"x", filters=[{"id": lzma.FILTER_LZMA2, "preset": 0, "dict_size": 1 << 29}])
    ),
    "a pickle for a packed run": lambda path: path.write_bytes(pickle.dumps(Bad(path.parent / "canary"))),
    "deep nesting for run.json": lambda path: packed(path, (member("run.json"), b'{"a":' + NESTED.encode() + b"}")),
    "a giant number for run.json": lambda path: packed(path, (member("run.json"), b"9" * 5000), xz=True),
}


@pytest.mark.parametrize("name", RUNS)
def test_a_report_of_a_run_answers_with_a_sentence(name, tmp_path, canary, capsys, monkeypatch):
    monkeypatch.setattr(archive, "MOST", 1 << 26)
    folder = tmp_path / "in"
    folder.mkdir()
    RUNS[name](folder / "run.tar.xz")
    refused(report_main, [str(folder / "run.tar.xz")], canary, capsys)
    assert {path.name for path in tmp_path.rglob("*")} == {"in", "run.tar.xz"}


@pytest.mark.parametrize(
    "content",
    [
        seal(b'{"labels":' + NESTED.encode() + b"}"),
        seal(b'{"x":' + NESTED.encode() + b"}"),
        seal(b'{"labels":[1' + b"0" * 30 + b'],"proba":[[1,0]]}'),
        seal(b'{"labels":[0],"proba":[[1e999,0]]}'),
        seal(b'{"labels":[0],"proba":"../../etc/passwd"}'),
    ],
    ids=["deep labels", "deep", "a giant label", "an infinite probability", "a path for numbers"],
)
def test_a_hostile_record_is_a_damaged_one(content, run, tmp_path):
    copy = Run(tmp_path / "run", Run.open(run).identity)
    spec = FitSpec("three", "ce", 0, 0)
    write_atomically(copy.path(spec), content)
    with pytest.raises(Unusable, match=r"^(damaged|edited)"):
        copy.read(spec)


@pytest.mark.parametrize("name", ["..", "../..", "/etc", "a/b", "C:", "a\\b", "", "."])
def test_no_name_of_a_fit_is_a_path(name, run):
    for spec in (FitSpec(name, "ce", 0, 0), FitSpec("three", name, 0, 0)):
        with pytest.raises(Unusable, match="is no name of a folder"):
            Run.open(run).read(spec)


def pickled(path: Path, canary: Path) -> None:
    torch.save({"state_dict": {"x": Bad(canary)}}, path)


def old_pickle(path: Path, canary: Path) -> None:
    path.write_bytes(pickle.dumps(Bad(canary)))


def program(path: Path, canary: Path) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        torch.jit.trace(torch.nn.Linear(1, 1), torch.zeros(1), check_trace=False).save(path)


def endless_header(path: Path, canary: Path) -> None:
    path.write_bytes(struct.pack("<Q", 1 << 60) + b'{"x":')


def false_header(path: Path, canary: Path) -> None:
    header = json.dumps({"x": {"dtype": "F32", "shape": [1 << 40], "data_offsets": [0, 1 << 42]}}).encode()
    path.write_bytes(struct.pack("<Q", len(header)) + header)


@pytest.mark.parametrize("make", [pickled, old_pickle, program, endless_header, false_header])
def test_weights_of_a_text_tower_run_no_code(make, tmp_path, canary):
    for name in ("w.safetensors", "w.pt"):
        make(tmp_path / name, canary)
        with pytest.raises(InputError, match=r"cannot read CLIP weights from|is a TorchScript archive"):
            read(tmp_path / name, "get others")
    assert not canary.exists()


@pytest.mark.parametrize("name", ["=1+1", "+cmd|x", "@x", "-A1"])
def test_a_formula_comes_into_no_csv(name, tmp_path):
    np.savez(tmp_path / "x.npz", volumes=np.zeros((1, 32, 32, 32), np.int16), nodule_ids=np.array([name]))
    with pytest.raises(InputError, match="is a formula to a spreadsheet"):
        read_crops(tmp_path / "x.npz")
    for changes in ({"nodule_ids": (name, *make_cohort().nodule_ids[1:])}, {"strata": {"site": (name,) * 30}}):
        with pytest.raises(InputError, match="is a formula to a spreadsheet"):
            store.csv_of(make_cohort(**changes), "published", np.zeros(30, int))


def test_a_bomb_is_refused_by_what_it_promises_and_not_by_what_came_out(tmp_path, monkeypatch):
    bomb(tmp_path / "x.npz", "volumes.npy")
    monkeypatch.setattr(np, "load", lambda *_, **__: pytest.fail("it was opened"))
    with pytest.raises(InputError, match="unpacks to more than its own size"):
        store.load(tmp_path / "x.npz")
    with pytest.raises(InputError, match="unpacks to hundreds of times its size"):
        read_crops(tmp_path / "x.npz")


def test_shares_name_no_path(run):
    line = b"../..,ce,0,0,x,t,1,0,inside,0.5,0.4,0.6\n"
    (found,), _ = parse(csv_text([], "note").encode() + line)
    with pytest.raises(Unusable, match="is no name of a folder"):
        Run.open(run).path(found.spec)
    assert SHARES == "shares.csv" and os.sep not in SHARES


def test_there_are_fifty_payloads():
    assert len(RUN_ALL) + len(RUNS) >= 50
