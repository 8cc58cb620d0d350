"""Accepted numbers on disk: what is written is read back, by ours and by Python's own reader of TOML; bad input."""

import datetime
import math
import re
import tomllib
from collections.abc import Mapping
from dataclasses import FrozenInstanceError, replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from benchmark.check.golden import accept, load
from benchmark.check.measured import Measured
from benchmark.contracts import InputError
from benchmark.identity import Identity
from benchmark.scores import Score, ScoreKey
from fakes import IDENTITY

NAN = math.nan


def of(*folds: float, seeds: int = 1, seed_std: float = NAN) -> Score:
    return Score(np.array(folds), tuple(range(len(folds))), seeds, seed_std)


def measured(
    scores: Mapping[tuple[str, str, str], Score], *, identity: Identity | None = None, **changes: Any
) -> Measured:
    fields: dict[str, Any] = {
        "folder": Path("runs/first"),
        "identity": identity or replace(IDENTITY, folds=2),
        "versions": {"torch": "2.9"},
        "sections": {},
        "cells": {ScoreKey(*key): score for key, score in scores.items()},
        "nodules": {},
        "shares": {},
        "references": frozenset(),
        "tests": {("ce", "three"): "abc"},
        "failed": {},
        "keys": {},
        "weights": "",
    }
    return Measured(**fields | changes)


ONE = {("ce", "A-open", "accuracy"): of(0.5, 0.75)}


@pytest.fixture
def path(tmp_path) -> Path:
    return tmp_path / "golden" / "quick.toml"


def written(path: Path, run: Measured, reason: str = "the first") -> str:
    accept(run, path, reason)
    return path.read_text(encoding="utf-8")


def test_a_score_is_a_line_to_be_read_by_eye_under_its_row_and_section(path):
    cells = {
        ("udm", "A-open", "accuracy"): of(0.5, 0.75),
        ("udm", "A-open", "f1_benign"): of(1.0, 1 / 3),
        ("udm", "B-open", "accuracy"): of(0.123456, 0.2),
        ("ce", "A-open", "accuracy"): of(0.25, 0.5, seeds=2, seed_std=0.012344),
    }
    text = written(path, measured(cells))
    assert text[text.index("\n[scores") :] == (
        "\n[scores.udm.A-open]\nseeds = 1\n"
        "accuracy = { folds = [0.50000, 0.75000] } # 62.5\n"
        "f1_benign = { folds = [1.00000, 0.33333] } # 66.7\n"
        "\n[scores.udm.B-open]\nseeds = 1\n"
        "accuracy = { folds = [0.12346, 0.20000] } # 16.2\n"
        "\n[scores.ce.A-open]\nseeds = 2\n"
        "accuracy = { folds = [0.25000, 0.50000], seed_std = 0.01234 } # 37.5\n"
    )


def test_the_file_begins_with_what_it_is_and_how_it_is_made(path):
    head, _, rest = written(path, measured(ONE)).partition("format = ")
    assert all(line.startswith("# ") for line in head.splitlines())
    assert "python -m benchmark.check RUN --accept REASON" in head and rest.startswith("1\n")


def test_any_reader_of_toml_finds_the_run_in_the_file(path):
    """Settings of every kind under names with a dot; what stands behind a table within a table would fall into it."""
    settings = {"names": ["größer", 'a "b" \\'], "on": True, "off": False, "n": 3, "x": 0.5, "bins": [[1, 2], [3]]}
    run = measured(ONE, identity=replace(IDENTITY, folds=2, settings={"ce.tuned": settings, "ce.rate": 1e-05}))
    before = datetime.date.today()
    found = tomllib.loads(written(path, run, ' the "new"\tphantom: 3 % \\ \n[brighter] '))
    assert found["format"] == 1 and before <= found["accepted"] <= datetime.date.today()
    assert found["reason"] == 'the "new"\tphantom: 3 % \\ \n[brighter]'
    assert found["identity"] == run.identity.plain()
    assert found["identity"]["settings"] == {"ce.tuned": settings, "ce.rate": 1e-05}
    assert found["versions"] == {"torch": "2.9"} and found["tests"] == {"three": "abc"}
    assert found["scores"] == {"ce": {"A-open": {"seeds": 1, "accuracy": {"folds": [0.5, 0.75]}}}}


def test_letters_of_every_alphabet_are_written_as_they_are(path):
    assert 'reason = "größere Knoten, 結節"\n' in written(path, measured(ONE), "größere Knoten, 結節")


@pytest.mark.parametrize("sign", ["\x00", "\x1b", "\x7f", "\x85", "\udcff"])
def test_a_reason_with_what_is_no_text_is_refused_and_what_was_accepted_stays(path, sign):
    before = written(path, measured(ONE))
    with pytest.raises(InputError, match=r"no text; use plain words$") as caught:
        accept(measured(ONE), path, f"the{sign}second")
    assert str(caught.value).isprintable() and path.read_text(encoding="utf-8") == before


def test_settings_of_any_signs_are_loaded_again(path):
    settings = {"ce.\x7f\U0001d6fc": "\x00\x1b\x7f\x85\u2028\U0001d6fc\\x7f"}
    accept(measured(ONE, identity=replace(IDENTITY, folds=2, settings=settings)), path, "the first")
    assert load(path).identity["settings"] == settings


@pytest.mark.parametrize("block", [lambda path: path.mkdir(parents=True), lambda path: path.parent.touch()])
def test_a_place_that_cannot_be_written_is_named(path, block):
    block(path)
    with pytest.raises(InputError, match=rf"^{re.escape(str(path))}: cannot be written \(.+\); .* with --results$"):
        accept(measured(ONE), path, "the first")


def test_a_number_that_is_not_finite_has_no_place_among_settings(path, monkeypatch):
    monkeypatch.setattr(Identity, "plain", lambda *_: {"folds": 2, "settings": {"alpha": math.inf}})
    with pytest.raises(ValueError, match=r"^inf has no place among settings$"):
        accept(measured(ONE), path, "the first")


@pytest.mark.parametrize("folds", [2, 3, 300])
def test_what_was_accepted_is_loaded_again(path, folds):
    values = np.random.default_rng(folds).uniform(size=(3, folds)).round(5)
    cells = {
        ("udm", "A-open", "accuracy"): of(*values[0]),
        ("ce", "mean", "accuracy"): of(*values[1], seeds=2, seed_std=0.0125),
        ("ce", "mean", "specificity"): of(NAN, *values[2, 1:], seeds=2, seed_std=0.0),
    }
    tests = {("udm", "three"): "abc", ("ce", "two"): "def"}
    run = measured(cells, identity=replace(IDENTITY, folds=folds), tests=tests)
    accept(run, path, "the first")
    golden = load(path)
    assert golden.path == path and golden.reason == "the first" and golden.accepted == datetime.date.today()
    assert golden.identity == run.identity.plain() and golden.versions == run.versions
    assert golden.tests == {"three": "abc", "two": "def"}
    assert list(golden.cells) == list(run.cells)
    for key, cell in golden.cells.items():
        np.testing.assert_array_equal(cell.folds, run.cells[key].folds)
        np.testing.assert_array_equal(cell.seed_std, run.cells[key].seed_std)
        assert (cell.numbers, cell.seeds) == (tuple(range(folds)), run.cells[key].seeds)


def test_accepting_again_takes_the_place_of_the_first(path):
    first, second = written(path, measured(ONE)), written(path, measured(ONE), "the second")
    assert second == first.replace("the first", "the second") and list(path.parent.iterdir()) == [path]


@pytest.mark.parametrize(
    ("changes", "reason", "sentence"),
    [
        ({}, "", '--accept wants the reason in words, e.g. --accept "the phantom has vessels now"'),
        ({}, " \n ", '--accept wants the reason in words, e.g. --accept "the phantom has vessels now"'),
        (
            {"failed": {("clip", "two"): "unsupported: three classes", ("ce", "two"): "failed: the loss is nan"}},
            "the first",
            "row ce on label set two failed: the loss is nan; run the command again before accepting",
        ),
        ({"cells": dict[ScoreKey, Score]()}, "the first", "runs/first holds no finished row; nothing to accept"),
        *(
            (
                {"tests": {("ce", "two"): "x", ("ce", "three"): "mno", ("udm", "three"): other}},
                "the first",
                "row udm on label set three was tested on other nodules or labels than the rows before it; "
                "find out why before accepting",
            )
            for other in ("abc", "xyz")
        ),
    ],
)
def test_what_is_not_to_be_accepted_is_refused_in_one_sentence_and_nothing_is_written(path, changes, reason, sentence):
    with pytest.raises(InputError, match=f"^{re.escape(sentence)}$"):
        accept(measured(ONE, **changes), path, reason)
    assert not path.exists()


def test_a_row_that_cannot_work_on_a_label_set_hinders_nothing(path):
    run = measured(ONE, failed={("clip", "two"): "unsupported: it has failed to have three classes"})
    assert "clip" not in tomllib.loads(written(path, run))["scores"]


def test_rows_that_were_tested_alike_share_one_digest_a_label_set(path):
    digest = "ab"  # records bring their own copies, equal and not identical
    tests = {(row, label_set): "".join([*digest, label_set]) for row in ("ce", "udm") for label_set in ("three", "two")}
    assert tomllib.loads(written(path, measured(ONE, tests=tests)))["tests"] == {"three": "abthree", "two": "abtwo"}


SMALL = """\
# Accepted.
format = 1
reason = "the first"
accepted = 2026-01-02

[identity]
folds = 2

[identity.recipe]
lr = 0.1
start = 2026-01-01

[versions]
torch = "2.9"

[tests]
three = "abc"

[scores.ce.A-open]
seeds = 2
accuracy = { folds = [0.50000, 0.75000], seed_std = 0.01000 } # 62.5

[scores.majority.A-open]
seeds = 1
accuracy = { folds = [0.50000, nan] } # 50.0
"""


@pytest.fixture
def write(tmp_path):
    def write(old: str = "", new: str = "") -> Path:
        assert old in SMALL
        path = tmp_path / "small.toml"
        path.write_text(SMALL.replace(old, new, 1) if old else SMALL)
        return path

    return write


def test_a_file_is_read_as_it_stands(write):
    golden = load(write())
    assert (golden.reason, golden.accepted) == ("the first", datetime.date(2026, 1, 2))
    assert golden.identity == {"folds": 2, "recipe": {"lr": 0.1, "start": "2026-01-01"}}
    assert type(golden.identity["recipe"]["lr"]) is float
    assert golden.versions == {"torch": "2.9"} and golden.tests == {"three": "abc"}
    ce, majority = golden.cells.values()
    assert list(golden.cells) == [ScoreKey(row, "A-open", "accuracy") for row in ("ce", "majority")]
    assert ce.folds.tolist() == [0.5, 0.75] and (ce.seeds, ce.seed_std) == (2, 0.01)
    assert majority.folds[0] == 0.5 and math.isnan(majority.folds[1])
    assert majority.seeds == 1 and math.isnan(majority.seed_std)


def test_accepted_numbers_stay_as_they_were_read(write):
    with pytest.raises(FrozenInstanceError):
        load(write()).reason = "another"  # type: ignore[misc]


@pytest.mark.parametrize(
    ("old", "new", "line", "sentence"),
    [
        ("format = 1", "format = 0", 2, "format: must be 1, not 0; accept a new run"),
        ("format = 1", "format = 2", 2, "format: must be 1, not 2; accept a new run"),
        ("format = 1", 'format = "1"', 2, "format: must be of type int, not '1'"),
        ("format = 1\n", "", 1, "format: is missing"),
        ("accepted = 2026-01-02", "accepted = 2026", 4, "accepted: must be of type date, not 2026"),
        ("reason =", "why = 0\nreason =", 3, "why: is unknown; allowed here: {ALL}"),
        ("folds = 2", "folds = 1", 7, "identity.folds: must be a whole number of 2 or more, not 1"),
        ("folds = 2", "folds = 2.0", 7, "identity.folds: must be a whole number of 2 or more, not Decimal('2.0')"),
        ("folds = 2", "folds = true", 7, "identity.folds: must be a whole number of 2 or more, not True"),
        ("folds = 2", "fold = 2", 6, "identity.folds: must be a whole number of 2 or more, not None"),
        ('torch = "2.9"', "torch = 29", 14, "versions.torch: must be a text in quotes, not 29"),
        ('three = "abc"', "three = true", 17, "tests.three: must be a text in quotes, not True"),
        ("seeds = 2", "seeds = 0", 20, "scores.ce.A-open.seeds: must be a whole number of 1 or more, not 0"),
        ("seeds = 2", "seeds = true", 20, "scores.ce.A-open.seeds: must be a whole number of 1 or more, not True"),
        ("seeds = 2", "seed = 2", 19, "scores.ce.A-open.seeds: must be a whole number of 1 or more, not None"),
        (", seed_std = 0.01000", "", 21, "scores.ce.A-open.accuracy.seed_std: is missing"),
        ("[0.50000, nan]", "[0.5, 0.5], seed_std = 0.1", 25, "scores.majority.A-open.accuracy.seed_std: {ONE}"),
        ("0.75000]", "0.75000, 0.1]", 21, "scores.ce.A-open.accuracy.folds: {TWO}"),
        ("0.50000, 0.75000", "0.50000", 21, "scores.ce.A-open.accuracy.folds: {TWO}"),
        ("0.75000]", "1]", 21, "scores.ce.A-open.accuracy.folds: {TWO}"),
        ("0.50000, nan", "1, 0.5", 25, "scores.majority.A-open.accuracy.folds: {TWO}"),
        ("[0.50000, 0.75000]", "0.5", 21, "scores.ce.A-open.accuracy.folds: must be of type list, not Decimal('0.5')"),
        ("[scores.ce.A-open]", "[scores]\nce = 1\n[scores.other.A-open]", 20, "scores.ce: must be a table [scores.ce]"),
    ],
)
def test_what_is_wrong_is_named_with_file_line_and_key(write, old, new, line, sentence):
    path = write(old, new)
    wanted = sentence.format(
        ALL="accepted, format, identity, reason, scores, tests, versions",
        ONE="is unknown; allowed here: folds",
        TWO="must be 2 numbers with a decimal point, one a fold",
    )
    named = f"{path}, line {line}, key {wanted}"
    with pytest.raises(InputError, match=f"^{re.escape(named)}$"):
        load(path)


@pytest.mark.parametrize("table", ["identity", "versions", "tests", "scores"])
def test_no_table_may_be_missing(write, table):
    path = write()
    path.write_text(path.read_text().replace(f"[{table}", "[other"))
    with pytest.raises(InputError, match=rf"small\.toml, line 1, key {table}: is missing$"):
        load(path)
