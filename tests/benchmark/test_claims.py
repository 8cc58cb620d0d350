"""Who makes which fit."""

import os
import subprocess
import sys
import time
from dataclasses import replace

import pytest

from benchmark import claims, pulse
from benchmark.claims import Claim, Taken, claimed, overdue, sweep

FIT = "three/ce/fold0-seed0.json"


@pytest.fixture
def dead() -> Claim:
    """A claim of a process of this machine that is dead."""
    gone = subprocess.Popen([sys.executable, "-c", ""])
    gone.wait()
    return Claim(FIT, "driver", pid=gone.pid, started="1")


def put(run, claim: Claim) -> None:
    assert claims._created(claim.file(run), claim)


def test_a_fit_is_held_by_one_and_free_afterwards(tmp_path):
    with claimed(tmp_path, Claim(FIT, "one")):
        with pytest.raises(Taken), claimed(tmp_path, Claim(FIT, "two")):
            pass
        with claimed(tmp_path, Claim("three/ce/fold1-seed0.json", "two")):
            pass
    assert list(tmp_path.iterdir()) == []
    with claimed(tmp_path, Claim(FIT, "two")):
        pass


def test_a_claim_is_given_back_by_whatever_ends_the_fit(tmp_path):
    with pytest.raises(KeyboardInterrupt), claimed(tmp_path, Claim(FIT, "one")):
        raise KeyboardInterrupt
    assert list(tmp_path.iterdir()) == []


def test_the_claim_of_a_dead_process_is_taken_over_with_what_it_left_half_written(tmp_path, dead):
    put(tmp_path, dead)
    half = tmp_path / "fits" / "three" / "ce" / ".fold0-seed0.json.12.tmp"
    half.parent.mkdir(parents=True)
    half.write_text("{")
    other = half.with_name(".fold0-seed1.json.12.tmp")
    other.write_text("{")
    with claimed(tmp_path, Claim(FIT, "two")):
        assert not half.exists() and other.exists()


def test_a_process_that_got_the_number_of_a_dead_one_is_not_taken_for_it(tmp_path):
    mine = Claim(FIT, "one")
    assert not mine.is_orphaned and replace(mine, started="1").is_orphaned


@pytest.mark.parametrize(("age_s", "patience_s", "lapses"), [(50.0, 60.0, False), (70.0, 60.0, True)])
def test_a_claim_of_another_machine_lapses_by_the_clock_of_the_file_system(
    tmp_path, monkeypatch, age_s, patience_s, lapses
):
    there = Claim(FIT, "one", "tcp://far:1", patience_s, host="far")
    put(tmp_path, there)
    touched = time.time() - age_s
    os.utime(there.file(tmp_path), (touched, touched))
    monkeypatch.setattr(time, "time", lambda: 0.0)  # this machine's own clock is not asked
    assert overdue(tmp_path, "one") == ({FIT: "tcp://far:1"} if lapses else {}) and overdue(tmp_path, "two") == {}
    if lapses:
        with claimed(tmp_path, Claim(FIT, "two")):
            pass
    else:
        with pytest.raises(Taken), claimed(tmp_path, Claim(FIT, "two")):
            pass


def test_every_beat_of_the_pulse_keeps_a_claim_fresh_at_most_once_a_second(tmp_path, monkeypatch):
    claim, now = Claim(FIT, "one"), [0.0]
    monkeypatch.setattr(time, "monotonic", lambda: now[0])
    with claimed(tmp_path, claim):
        file = claim.file(tmp_path)
        for at, is_touched in ((0.5, False), (1.1, True), (1.9, False), (2.2, True)):
            os.utime(file, (1, 1))
            now[0] = at
            pulse.beat()
            assert (file.stat().st_mtime > 1) == is_touched
    pulse.beat()  # nobody listens


def test_who_lost_a_claim_does_not_give_back_the_others(tmp_path):
    mine, other = Claim(FIT, "one"), Claim(FIT, "two")
    with claimed(tmp_path, mine):
        mine.file(tmp_path).unlink()
        put(tmp_path, other)
    assert claims._read(other.file(tmp_path)) == other


def test_a_driver_sweeps_its_own_claims_and_dead_ones_alone(tmp_path, dead):
    far = Claim("two/ce/fold0-seed0.json", "far", host="far")
    mine = Claim("two/ce/fold1-seed0.json", "mine", host="far")
    for claim in (far, mine, dead):
        put(tmp_path, claim)
    sweep(tmp_path, "mine")
    assert [path.name for path in (tmp_path / "claims").iterdir()] == ["two-ce-fold0-seed0.json"]


@pytest.mark.parametrize("content", [b"", b"{", b"\xff", b"[]"])
def test_a_claim_that_cannot_be_read_holds_until_it_is_old(tmp_path, content):
    file = Claim(FIT, "").file(tmp_path)
    file.parent.mkdir()
    file.write_bytes(content)
    with pytest.raises(Taken), claimed(tmp_path, Claim(FIT, "one")):
        pass
    os.utime(file, (1, 1))
    with claimed(tmp_path, Claim(FIT, "one")):
        pass
