"""Accepted numbers on disk: one file a preset, source and label rule, made to be read and compared by eye."""

import datetime
import json
import math
import re
import unicodedata
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from decimal import Decimal
from pathlib import Path

import numpy as np

from benchmark.check.measured import Measured
from benchmark.contracts import InputError, Json
from benchmark.files import write_atomically
from benchmark.scores import Score, ScoreKey
from benchmark.tomlfile import Key, TomlFile, plain

_HEAD = """\
# Accepted scores, as fractions: the mean over seeds in each fold, and the standard deviation between the seeds of a
# fold. Made by: python -m benchmark.check RUN --accept REASON. results/golden/README.md explains it. Not made by hand.
"""
_FORMAT = 1


@dataclass(frozen=True)
class Golden:
    """Accepted numbers.

    Attributes:
        path: Of the file.
        reason: Why they were accepted.
        accepted: When.
        identity: What the fits of the accepted run shared.
        versions: Of the packages.
        tests: Digest of the test folds with their labels, by label set.
        cells: Every score.
    """

    path: Path
    reason: str
    accepted: datetime.date
    identity: Mapping[str, Json]
    versions: Mapping[str, str]
    tests: Mapping[str, str]
    cells: Mapping[ScoreKey, Score]


def accept(run: Measured, path: Path, reason: str) -> None:
    """Write a run's scores as the accepted ones.

    Raises:
        InputError: No reason, or one that is no plain text; a fit that failed; rows that were tested on different
            nodules or labels; a file that cannot be written.
    """
    if not reason.strip():
        raise InputError('--accept wants the reason in words, e.g. --accept "the phantom has vessels now"')
    if any(unicodedata.category(sign) in ("Cc", "Cs") for sign in reason if sign not in "\t\n\r"):
        raise InputError(f"--accept {reason!r}: this holds a control character or what is no text; use plain words")
    for (row, label_set), why in run.failed.items():
        if why.startswith("failed"):
            raise InputError(f"row {row} on label set {label_set} {why}; run the command again before accepting")
    if not run.cells:
        raise InputError(f"{run.folder} holds no finished row; nothing to accept")
    tests: dict[str, str] = {}
    for (row, label_set), digest in run.tests.items():
        if tests.setdefault(label_set, digest) != digest:
            raise InputError(
                f"row {row} on label set {label_set} was tested on other nodules or labels than the rows before it; "
                "find out why before accepting"
            )
    content: dict[str, object] = {
        "format": _FORMAT,
        "reason": reason.strip(),
        "accepted": datetime.date.today(),
        "identity": run.identity.plain(run.weights),
        "versions": run.versions,
        "tests": tests,
    }
    lines = [*_table((), content), *_scores(run.cells)]
    try:
        write_atomically(path, _HEAD + "\n".join(lines) + "\n")
    except OSError as error:
        raise InputError(
            f"{path}: cannot be written ({error.strerror}); see to it, or give another folder with --results"
        ) from error


def load(path: Path) -> Golden:
    """Read accepted numbers.

    Raises:
        InputError: The file, the line, the key, and what is wrong there.
    """
    file = TomlFile(path)
    fields = {"format": int, "reason": str, "accepted": datetime.date}
    tables = ("identity", "versions", "tests", "scores")
    file.mapping((), fields | dict.fromkeys(tables, dict))
    if file.data["format"] != _FORMAT:
        file.fail(("format",), f"must be {_FORMAT}, not {file.data['format']}; accept a new run")
    folds = file.mapping(("identity",)).get("folds")
    if type(folds) is not int or folds < 2:
        file.fail(("identity", "folds"), f"must be a whole number of 2 or more, not {folds!r}")
    for table in ("versions", "tests"):
        for key, value in file.mapping((table,)).items():
            if not isinstance(value, str):
                file.fail((table, key), f"must be a text in quotes, not {value!r}")
    cells = dict(_cells(file, folds))
    kept = {key: file.data[key] for key in ("reason", "accepted", "versions", "tests")}
    return Golden(path, **kept, identity=_identity(file), cells=cells)


def _identity(file: TomlFile) -> dict[str, Json]:
    return {key: plain(value) for key, value in file.mapping(("identity",)).items()}


def _cells(file: TomlFile, folds: int) -> Iterator[tuple[ScoreKey, Score]]:
    for row in file.mapping(("scores",)):
        for section in file.mapping(("scores", row)):
            here: Key = ("scores", row, section)
            seeds = file.mapping(here).get("seeds")
            if type(seeds) is not int or seeds < 1:
                file.fail((*here, "seeds"), f"must be a whole number of 1 or more, not {seeds!r}")
            for metric in file.mapping(here):
                if metric != "seeds":
                    yield ScoreKey(row, section, metric), _cell(file, (*here, metric), folds, seeds)


def _cell(file: TomlFile, key: Key, folds: int, seeds: int) -> Score:
    wanted = {"folds": list} | ({"seed_std": Decimal} if seeds > 1 else {})
    found = file.mapping(key, wanted)
    if len(found["folds"]) != folds or not all(isinstance(value, Decimal) for value in found["folds"]):
        file.fail((*key, "folds"), f"must be {folds} numbers with a decimal point, one a fold")
    values = np.array([float(value) for value in found["folds"]])
    return Score(values, tuple(range(folds)), seeds, float(found.get("seed_std", "nan")))


def _scores(cells: Mapping[ScoreKey, Score]) -> Iterator[str]:
    above: tuple[str, str] | None = None
    for (row, section, metric), cell in cells.items():
        if above != (row, section):
            above = row, section
            yield f"\n[scores.{row}.{section}]"
            yield f"seeds = {cell.seeds}"
        fields = f"folds = [{', '.join(f'{value:.5f}' for value in cell.folds)}]"
        if cell.seeds > 1:
            fields += f", seed_std = {cell.seed_std:.5f}"
        yield f"{metric} = {{ {fields} }} # {100 * cell.mean:.1f}"


def _table(key: tuple[str, ...], content: Mapping[str, object]) -> Iterator[str]:
    """Yield the lines of a TOML table, its own values before the tables within it."""
    if key:
        yield f"\n[{'.'.join(map(_bare, key))}]"
    for name, value in content.items():
        if not isinstance(value, Mapping):
            yield f"{_bare(name)} = {_toml(value)}"
    for name, value in content.items():
        if isinstance(value, Mapping):
            yield from _table((*key, name), value)


def _bare(name: str) -> str:
    """Return a key as TOML reads it: a dot in a name is no path."""
    return name if re.fullmatch(r"[A-Za-z0-9_-]+", name) else _toml(name)


def _toml(value: object) -> str:
    if isinstance(value, datetime.date):
        return value.isoformat()
    if isinstance(value, (list, tuple)):
        return f"[{', '.join(map(_toml, value))}]"
    if isinstance(value, float) and not math.isfinite(value):
        raise ValueError(f"{value} has no place among settings")
    return json.dumps(value, ensure_ascii=False).replace("\x7f", "\\u007f")  # the one sign that TOML alone refuses
