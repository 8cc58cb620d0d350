"""Who makes which fit."""

import os
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import pytest

from benchmark import claims, owners, pulse
from benchmark.claims import Claim, Taken, claimed, overdue, sweep
from benchmark.identity import ROOT

FIT = "three/ce/fold0-seed0.json"


@pytest.fixture
def dead() -> Claim:
    """A claim of a process of this machine that is dead."""
    gone = subprocess.Popen([sys.executable, "-c", ""])
    gone.wait()
    return Claim(FIT, "driver", pid=gone.pid, started="1")


@pytest.fixture
def marks() -> list[str]:
    """The marks of a process of this machine that is dead, and of this one."""
    script = "from benchmark import owners; print(owners.mark())"
    gone = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, cwd=ROOT)
    return [gone.stdout.strip(), owners.mark()]


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


def test_all_that_a_dead_process_left_half_written_of_a_fit_goes_and_nothing_of_the_tenth_seed(tmp_path, dead):
    folder = tmp_path / "fits" / "three" / "ce"
    folder.mkdir(parents=True)
    of_fit = [f".fold0-seed1.{end}.12.tmp" for end in ("json", "safetensors", "checkpoint")]
    for name in (*of_fit, ".fold0-seed10.json.12.tmp"):
        (folder / name).write_text("")
    put(tmp_path, replace(dead, fit="three/ce/fold0-seed1.json"))
    sweep(tmp_path)
    assert [path.name for path in folder.iterdir()] == [".fold0-seed10.json.12.tmp"]


def test_a_process_that_got_the_number_of_a_dead_one_is_not_taken_for_it(tmp_path):
    mine = Claim(FIT, "one")
    assert not mine.is_orphaned and replace(mine, started="1").is_orphaned


def test_a_process_of_another_machine_is_not_taken_for_dead_by_the_numbers_of_this_one(dead):
    assert dead.is_orphaned and not replace(dead, host="far").is_orphaned


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


def test_who_lost_a_claim_does_not_give_back_the_others_nor_removes_what_that_one_writes(tmp_path):
    mine, other = Claim(FIT, "one"), Claim(FIT, "two")
    half = tmp_path / "fits" / "three" / "ce" / ".fold0-seed0.json.12.tmp"
    with claimed(tmp_path, mine):
        mine.file(tmp_path).unlink()
        put(tmp_path, other)
        half.parent.mkdir(parents=True)
        half.write_text("{")
    assert claims._read(other.file(tmp_path)) == other and half.exists()


def test_who_lost_a_claim_that_was_given_back_since_removes_nothing_of_the_fit(tmp_path):
    mine = Claim(FIT, "one")
    half = tmp_path / "fits" / "three" / "ce" / ".fold0-seed0.json.12.tmp"
    half.parent.mkdir(parents=True)
    with claimed(tmp_path, mine):
        mine.file(tmp_path).unlink()
        half.write_text("{")
    assert half.exists()


def test_a_claim_that_another_put_there_in_the_last_moment_is_put_back(tmp_path, monkeypatch):
    mine, other = Claim(FIT, "one"), Claim(FIT, "two")
    put(tmp_path, other)
    seen, read = iter([mine]), claims._read
    monkeypatch.setattr(claims, "_read", lambda file: next(seen, None) or read(file))
    claims._remove(tmp_path, mine.file(tmp_path), mine)
    assert [path.name for path in (tmp_path / "claims").iterdir()] == [other.file(tmp_path).name]
    assert read(other.file(tmp_path)) == other


def test_a_claim_that_is_put_back_does_not_push_a_third_ones_away(tmp_path, monkeypatch):
    mine, other, third = (Claim(FIT, name) for name in ("one", "two", "three"))
    file = mine.file(tmp_path)
    put(tmp_path, other)
    seen, read, rename = iter([mine]), claims._read, Path.rename

    def rename_and_lose(self, target):
        moved = rename(self, target)
        if self == file:
            put(tmp_path, third)
        return moved

    monkeypatch.setattr(claims, "_read", lambda file: next(seen, None) or read(file))
    monkeypatch.setattr(Path, "rename", rename_and_lose)
    claims._remove(tmp_path, file, mine)
    assert read(file) == third and [path.name for path in file.parent.iterdir()] == [file.name]


def test_of_two_that_remove_a_lapsed_claim_the_slower_goes_on(tmp_path, monkeypatch, dead):
    put(tmp_path, dead)
    file, passing = dead.file(tmp_path), claims._passing

    def passing_too_late(folder):
        file.unlink()
        return passing(folder)

    monkeypatch.setattr(claims, "_passing", passing_too_late)
    claims._remove(tmp_path, file, dead)
    assert list(tmp_path.iterdir()) == []


def test_a_claim_that_goes_before_it_is_looked_at_is_taken_at_once(tmp_path, monkeypatch):
    link, held = os.link, iter([True])

    def held_until_now(whole, file):
        if next(held, False):
            raise FileExistsError
        link(whole, file)

    monkeypatch.setattr(os, "link", held_until_now)
    with claimed(tmp_path, Claim(FIT, "one")):
        assert claims._read(Claim(FIT, "").file(tmp_path)).driver == "one"


def test_a_claim_appears_whole(tmp_path, monkeypatch):
    link, before = os.link, []

    def noted(whole, file):
        before.append((file.exists(), claims._read(whole)))
        link(whole, file)

    monkeypatch.setattr(os, "link", noted)
    with claimed(tmp_path, mine := Claim(FIT, "one")):
        assert before == [(False, mine)]


def test_a_disk_without_links_holds_claims_too(tmp_path, monkeypatch):
    def refuse(*_):
        raise PermissionError(1, "Operation not permitted")

    monkeypatch.setattr(os, "link", refuse)
    with claimed(tmp_path, Claim(FIT, "one")):
        assert claims._read(Claim(FIT, "").file(tmp_path)).driver == "one"
        with pytest.raises(Taken), claimed(tmp_path, Claim(FIT, "two")):
            pass
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("again", [False, True], ids=["gone", "made again by another"])
def test_a_folder_that_the_last_holder_takes_away_in_between_is_made_again(tmp_path, monkeypatch, again):
    link, left = os.link, iter([True])

    def taken_away(whole, file):
        if next(left, False):
            whole.unlink(), whole.parent.rmdir()
            again and whole.parent.mkdir()
        link(whole, file)

    monkeypatch.setattr(os, "link", taken_away)
    with claimed(tmp_path, Claim(FIT, "one")):
        assert claims._read(Claim(FIT, "").file(tmp_path)).driver == "one"


def test_a_claim_that_goes_while_it_is_looked_at_is_not_old(tmp_path):
    assert claims._touched(tmp_path / "gone") == float("inf")
    assert claims._clock(tmp_path / "gone") == 0.0


def test_a_claim_that_cannot_be_touched_does_not_end_the_fit(tmp_path, monkeypatch):
    now = [0.0]
    monkeypatch.setattr(time, "monotonic", lambda: now[0])
    with claimed(tmp_path, Claim(FIT, "one")):
        Claim(FIT, "").file(tmp_path).unlink()
        now[0] = 5.0
        pulse.beat()


def test_a_driver_sweeps_its_own_claims_and_dead_ones_alone(tmp_path, dead):
    far = Claim("two/ce/fold0-seed0.json", "far", host="far")
    mine = Claim("two/ce/fold1-seed0.json", "mine", host="far")
    for claim in (far, mine, dead):
        put(tmp_path, claim)
    sweep(tmp_path, "mine")
    assert [path.name for path in (tmp_path / "claims").iterdir()] == ["two-ce-fold0-seed0.json"]


UNREADABLE = {"empty": b"", "cut": b"{", "no text": b"\xff", "no text in it": b'{"fit": "\xff"}', "no claim": b"[]"}


@pytest.mark.parametrize("content", UNREADABLE.values(), ids=UNREADABLE)
def test_a_claim_that_cannot_be_read_holds_until_it_is_old(tmp_path, content):
    file = Claim(FIT, "").file(tmp_path)
    file.parent.mkdir()
    file.write_bytes(content)
    with pytest.raises(Taken), claimed(tmp_path, Claim(FIT, "one")):
        pass
    sweep(tmp_path)
    assert file.exists()
    os.utime(file, (1, 1))
    with claimed(tmp_path, Claim(FIT, "one")):
        pass


def test_an_old_claim_that_cannot_be_read_is_swept(tmp_path):
    file = Claim(FIT, "").file(tmp_path)
    file.parent.mkdir()
    file.write_bytes(b"{")
    os.utime(file, (1, 1))
    sweep(tmp_path)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("record_s", "checkpoint_s", "stays"), [(None, 5, True), (3, 5, True), (5, 5, False), (9, 5, False)]
)
def test_a_dead_process_checkpoint_goes_where_the_fits_record_came_after_it(
    tmp_path, dead, record_s, checkpoint_s, stays
):
    record = tmp_path / "fits" / FIT
    record.parent.mkdir(parents=True)
    checkpoint = record.with_suffix(".checkpoint")
    for file, at in ((checkpoint, checkpoint_s), (record, record_s)):
        if at is not None:
            file.write_text("")
            os.utime(file, (at, at))
    put(tmp_path, dead)
    sweep(tmp_path)
    assert checkpoint.exists() == stays and record.exists() == (record_s is not None)


def test_what_passed_through_the_folder_of_a_dead_process_claims_is_swept_and_a_living_ones_is_not(tmp_path, marks):
    (tmp_path / "claims").mkdir()
    for mark in marks:
        (tmp_path / "claims" / f".0123.{mark}").write_bytes(b" ")
    sweep(tmp_path)
    assert [path.name for path in (tmp_path / "claims").iterdir()] == [f".0123.{marks[1]}"]
    os.utime(tmp_path / "claims" / f".0123.{marks[1]}", (1, 1))  # it may be of another machine: it is old
    sweep(tmp_path)
    assert list(tmp_path.iterdir()) == []


def test_each_passing_file_of_the_claims_says_whose_it_is(tmp_path, monkeypatch):
    seen = set[str]()
    for name in ("write_bytes", "unlink", "rename"):
        whole = getattr(Path, name)

        def noted(path, *arguments, whole=whole, **named):
            seen.update(one.name for one in (path, *arguments) if isinstance(one, Path) and one.name.startswith("."))
            return whole(path, *arguments, **named)

        monkeypatch.setattr(Path, name, noted)
    with claimed(tmp_path, Claim(FIT, "one")), pytest.raises(Taken), claimed(tmp_path, Claim(FIT, "two")):
        pass
    assert len(seen) == 4 and all(name.endswith(f".{owners.mark()}") for name in seen)  # two claims, a clock, an end
