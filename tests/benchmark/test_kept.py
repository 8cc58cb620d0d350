"""Damaged weights are noticed by the next run of the command, and the fit is made anew; lost ones are only told."""

import struct
from dataclasses import replace

import pytest
import torch
from safetensors.torch import save

from benchmark import kept
from benchmark.contracts import InputError
from benchmark.extras import Extras
from benchmark.files import sha256
from benchmark.records import FitRecord, FitSpec
from benchmark.runner import Setup, run_fit
from benchmark.weightfiles import said
from fakes import LINEAR, PRESET

SPEC, OTHER = FitSpec("three", "linear", 0, 0), FitSpec("three", "linear", 0, 1)


@pytest.fixture
def found(run, data) -> dict[FitSpec, FitRecord]:
    setup = Setup(PRESET, torch.device("cpu"), "key", Extras(weights=True))
    return {spec: run_fit(run, spec, LINEAR, data, setup) for spec in (SPEC, OTHER)}


def flipped(content: bytes, at: int) -> bytes:
    return content[:at] + bytes([content[at] ^ 1]) + content[at + 1 :]


def test_whole_weights_are_no_damage_whether_read_whole_or_not(run, found):
    assert kept.damaged(run, found) == kept.damaged(run, found, most=0) == {} and kept.lost(run, found) == []


@pytest.mark.parametrize(
    "spoil",
    [
        lambda whole: b"",
        lambda whole: whole[:5],
        lambda whole: whole[:-1],
        lambda whole: whole + b"\0",
        lambda whole: bytes(len(whole)),
        lambda whole: b"\xff" * 8 + whole[8:],
        lambda whole: flipped(whole, 12),
        lambda whole: whole[:8] + b"[" * 100_000,
        lambda whole: struct.pack("<Q", 100_005) + b'{"a":' + b"[" * 100_000,
        lambda whole: struct.pack("<Q", 2) + b"{}",
    ],
    ids=[
        "empty",
        "five bytes",
        "cut",
        "longer",
        "zeros",
        "endless",
        "name changed",
        "deep",
        "deep within",
        "nothing in it",
    ],
)
def test_what_the_beginning_and_the_size_show_is_seen_however_many_weights_there_are(run, found, spoil):
    path = run.weights_path(SPEC)
    path.write_bytes(spoil(path.read_bytes()))
    assert list(kept.damaged(run, found, most=0)) == [SPEC] == list(kept.damaged(run, found))


def test_a_changed_number_is_seen_where_all_is_read(run, found):
    path = run.weights_path(SPEC)
    path.write_bytes(flipped(path.read_bytes(), -1 + path.stat().st_size))
    assert kept.damaged(run, found) == {SPEC: "its kept weights are damaged, or of another training"}
    both = sum(run.weights_path(spec).stat().st_size for spec in found)
    assert list(kept.damaged(run, found, most=both)) == [SPEC] and kept.damaged(run, found, most=both - 1) == {}


@pytest.mark.parametrize("most", [0, 10**9])
def test_weights_of_a_method_that_has_none_are_no_damage(run, found, most):
    path = run.weights_path(SPEC)
    path.write_bytes(save({}, said(path.read_bytes())))
    metadata = replace(found[SPEC].metadata, weights=sha256(path.read_bytes()))
    assert kept.damaged(run, {SPEC: replace(found[SPEC], metadata=metadata)}, most) == {}


@pytest.mark.parametrize("most", [0, 10**9])
def test_another_fits_weights_are_seen(run, found, most):
    run.weights_path(SPEC).write_bytes(run.weights_path(OTHER).read_bytes())
    assert kept.damaged(run, found, most) == {SPEC: "its kept weights are those of another fit"}
    assert list(kept.damaged(run, {OTHER: replace(found[OTHER], key="other")}, most)) == [OTHER]


def test_weights_that_somebody_took_away_are_told_and_train_nothing_again(run, found):
    run.weights_path(OTHER).unlink()
    assert kept.damaged(run, found) == {}
    (said,) = kept.lost(run, found)
    assert "of 1 finished fits are gone, three/linear/fold0-seed1.safetensors first" in said and "\n" not in said


def test_a_fit_that_kept_none_is_not_asked_for_them(run, found):
    without = replace(found[SPEC], metadata=replace(found[SPEC].metadata, weights=""))
    run.weights_path(SPEC).write_bytes(b"strange")
    run.weights_path(OTHER).unlink()
    assert kept.damaged(run, {SPEC: without, OTHER: None}) == {} and kept.lost(run, {SPEC: without, OTHER: None}) == []


def test_weights_that_the_system_refuses_are_a_sentence(run, found, monkeypatch):
    def refuse(self, *_):
        raise PermissionError(13, "Permission denied", str(self))

    monkeypatch.setattr(type(run.folder), "open", refuse)
    with pytest.raises(InputError, match=r"fold0-seed0\.safetensors cannot be read \(Permission denied\)"):
        kept.damaged(run, found)
