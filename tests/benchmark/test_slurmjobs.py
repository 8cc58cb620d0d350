"""Slurm's jobs that come to nothing: which get another, and when that is said to be no use."""

import os

import pytest

pytest.importorskip("dask_jobqueue")

from benchmark.slurmjobs import ROUNDS, Places, active, heard

TWO = {"a": ("1", ""), "b": ("2", "")}


def test_jobs_that_wait_run_or_have_a_worker_are_left_alone():
    places = Places(2)
    assert places.look(TWO, seen=[], active={"1", "2"}) == []
    assert places.look(TWO, seen=["1"], active={"1", "2", "9"}) == []
    assert places.look(TWO, seen=[], active={"2"}) == []  # its worker was there, so its end is dask's matter
    assert places.trouble == ""


def test_at_first_there_is_trouble_once_no_job_is_left_and_not_before():
    places = Places(2)
    assert places.look(TWO, seen=[], active={"2"}) == [] and places.trouble == ""
    assert places.look(TWO, seen=[], active=set()) == []
    assert places.trouble == "Slurm's job 2 ended before its worker had reached the scheduler, and its output says why"


def test_a_job_that_slurm_refuses_is_said_in_slurms_words():
    places = Places(1)
    assert places.look({"a": ("", "no such partition")}, seen=[], active=None) == []
    assert places.trouble == "Slurm takes no job, and says: no such partition"


def test_a_job_that_is_on_its_way_to_slurm_or_of_which_squeue_says_nothing_is_no_trouble():
    places = Places(1)
    assert places.look({"a": ("", "")}, seen=[], active=set()) == []
    assert places.look({"a": ("1", "")}, seen=[], active=None) == []
    assert places.trouble == ""


def test_once_a_worker_was_there_a_place_gets_other_jobs_and_each_that_has_one_begins_the_count_anew():
    places = Places(2)
    assert places.look(TWO, seen=["1"], active={"1"}) == ["b"]
    for number in range(3, 3 + ROUNDS - 1):
        assert places.look({"a": ("1", ""), "b": (str(number), "")}, seen=["1"], active={"1"}) == ["b"]
    late = {"a": ("1", ""), "b": ("90", "")}
    assert places.look(late, seen=["1", "90"], active=set()) == []
    for number in range(91, 91 + ROUNDS):
        assert places.look({"a": ("1", ""), "b": (str(number), "")}, seen=["1", "90"], active=set()) == ["b"]
    assert places.look({"a": ("1", ""), "b": ("", "closed")}, seen=["1", "90"], active=set()) == []
    assert places.trouble == ""  # the other place may get a worker yet
    assert places.look({"a": ("", "closed"), "b": ("", "closed")}, seen=["1", "90"], active=set()) == []
    assert places.trouble == "Slurm takes no job, and says: closed"


def test_what_sbatch_said_is_one_printable_line_of_bounded_length():
    assert heard("Exit code: 1\nstdout:\nx\nstderr:\nsbatch: error: A\n\n sbatch: \x1b[1merror: B\n") == (
        "sbatch: error: A; sbatch: [1merror: B"
    )
    assert heard("stderr:\n" + "x" * 999) == "x" * 300
    assert heard("stdout:\n\nstderr:\n\n") == "sbatch failed without a word"


@pytest.mark.parametrize(
    ("script", "numbers"), [("echo 7; echo 12", {"7", "12"}), ("true", set()), ("echo 7; exit 1", None), (None, None)]
)
def test_a_squeue_that_fails_or_is_missing_says_nothing_and_one_without_jobs_says_that(
    tmp_path, monkeypatch, script, numbers
):
    monkeypatch.setenv("PATH", f"{tmp_path}{os.pathsep}/bin")
    if script:
        (tmp_path / "squeue").write_text(f'#!/bin/sh\n[ "$3" = --user={os.getuid()} ] || exit 2\n{script}\n')
        (tmp_path / "squeue").chmod(0o755)
    assert active() == numbers
