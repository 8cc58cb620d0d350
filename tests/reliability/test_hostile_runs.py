"""Runs, records and weights made by somebody who means harm: a sentence, exit status 2, and no code is run."""

import io
import json
import lzma
import os
import pickle
import struct
import tarfile
import warnings
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch

from benchmark import archive
from benchmark.commands.report import main as report_main
from benchmark.contracts import InputError
from benchmark.figures.folder import SHARES, csv_text, parse
from benchmark.files import footed, sealed, unfooted, write_atomically
from benchmark.prediction import read_crops
from benchmark.records import FitSpec, Unusable, seal
from benchmark.run import Run
from datasets import store
from fakes import make_cohort
from methods._weights import read
from payloads import NESTED, ZEROS, Bad, bomb, refused
from runs import write_run


@pytest.fixture(scope="module")
def run(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("payloads") / "run"
    write_run(folder, {"ce": 0.6, "majority": 0.4}, tested=20)
    (folder / "cohort.csv").write_text("nodule_id\n")
    return folder


def packed(path: Path, *entries: tuple[tarfile.TarInfo, bytes], xz: bool = False, hole: bytes = b"") -> None:
    """Write a tar; a hole of zeros hides the header of that name."""
    made = io.BytesIO()
    with tarfile.open(fileobj=made, mode="w") as archive:
        for entry, content in entries:
            entry.size = len(content)
            archive.addfile(entry, io.BytesIO(content))
    tar = made.getvalue()
    if hole:
        at = tar.index(hole + b"\0" * 90)
        tar = tar[:at] + bytes(512) + tar[at + 512 :]
    path.write_bytes(lzma.compress(tar) if xz else tar)


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


DEEP_OBJECT = b'{"a":' + NESTED.encode() + b"}"
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
    "deep nesting for run.json": lambda path: packed(path, (member("run.json"), DEEP_OBJECT)),
    "a member behind a packed run's end": lambda path: packed(
        path, (member("a"), b"x"), (member("b"), bytes(1024)), (member("c"), b"x"), hole=b"b"
    ),
    "a list of what is not there": lambda path: packed(path, (member(archive.LIST), sealed(b'{"run.json": "0"}'))),
    "a list without a seal": lambda path: packed(path, (member(archive.LIST), b'{"run.json": "0"}'), xz=True),
    "deep nesting for a list": lambda path: packed(
        path, (member(archive.LIST), sealed(b'{"a":' + NESTED.encode() + b"}"))
    ),
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


FORMULAS = {
    "equals": "=1+1",
    "plus": "+cmd|x",
    "at": "@x",
    "minus": "-A1",
    "behind a return": "a\r=1",
    "behind a line feed": "a\n=1",
    "behind a tab": "a\t=1",
    "behind a semicolon": "a;=1",
    "full width": "\uff1d1",
    "two lines": "a\rb",
}


@pytest.mark.parametrize("way", FORMULAS)
def test_a_formula_comes_into_no_csv(way, tmp_path):
    name = FORMULAS[way]
    np.savez(tmp_path / "x.npz", volumes=np.zeros((1, 32, 32, 32), np.int16), nodule_ids=np.array([name]))
    with pytest.raises(InputError, match="is a formula to a spreadsheet"):
        read_crops(tmp_path / "x.npz")
    others = make_cohort().nodule_ids[1:]
    strata = {"site": (name,) * 30}, {f"a;{name}": ("x",) * 30}
    for changes in (
        {"nodule_ids": (name, *others)},
        {"patient_ids": (name, *others)},
        *({"strata": s} for s in strata),
    ):
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
    (found,), _ = parse(footed(unfooted(csv_text([], "note").encode(), "# {}") + line, "# {}"))
    with pytest.raises(Unusable, match="is no name of a folder"):
        Run.open(run).path(found.spec)
    assert SHARES == "shares.csv" and os.sep not in SHARES


def test_there_are_enough_payloads():
    assert len(RUNS) >= 13
