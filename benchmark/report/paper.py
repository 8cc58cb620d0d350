"""A paper's printed numbers beside ours, with what the audit says of each printed row.

The audit searches test sets for ten seconds or more, so its result is kept beside the numbers: `AUDIT.json`, which a
test holds to what `python -m benchmark audit --json` prints.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import msgspec

from benchmark.contracts import InputError
from benchmark.published import Cell, Published, load
from benchmark.scores import Section
from benchmark.tables import Line


class _TestSet(msgspec.Struct):
    classes: list[str]
    sizes: list[int]


class _Fit(msgspec.Struct):
    test_set: int


class _Verdict(msgspec.Struct):
    protocol: str
    method: str
    alone: int
    fit: _Fit | None


class _Audit(msgspec.Struct):
    paper: str
    test_sets: list[_TestSet]
    verdicts: list[_Verdict]


@dataclass(frozen=True)
class Paper:
    """Printed numbers and their audit.

    Attributes:
        published: The numbers.
        test_sets: What the audit found, in words, by number from 1.
        verdicts: In words, by protocol and method; rows that cannot be audited are missing.
    """

    published: Published
    test_sets: tuple[str, ...]
    verdicts: Mapping[tuple[str, str], str]

    def cell(self, line: Line, section: Section, metric: str) -> Cell | None:
        """Return the printed number of a row, or None.

        A row is found by its key, else by its losses as the paper's ablation prints them. Only the first decision of
        a protocol stands in the paper.
        """
        protocol = section.protocol
        if section.decision != protocol.decisions[0]:
            return None
        return self.published.by_key.get((protocol.key, self._method(line), metric))

    def verdict(self, line: Line, section: Section) -> str:
        """Say what the audit found of a printed row; empty where the paper prints none."""
        if self.cell(line, section, "accuracy") is None:
            return ""
        return self.verdicts.get((section.protocol.key, self._method(line)), "not audited: too little is printed")

    def _method(self, line: Line) -> str:
        by_losses = {name.replace("L_", ""): key for key, name in self.published.methods.items() if "L_" in name}
        return by_losses.get(line.title, line.row.key)


def load_papers(folder: Path) -> tuple[Paper, ...]:
    """Read every published file of a folder with its audit; a paper whose audit is missing has no verdicts.

    Raises:
        InputError: A file is damaged.
    """
    audits = {audit.paper: audit for audit in _audits(folder / "AUDIT.json")}
    return tuple(_paper(load(path), audits.get(path.stem)) for path in sorted(folder.glob("*.toml")))


def _audits(path: Path) -> list[_Audit]:
    try:
        return msgspec.json.decode(path.read_bytes(), type=list[_Audit])
    except FileNotFoundError:
        return []
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        command = f"python -m benchmark audit --json > {path}"
        raise InputError(f"{path} is no audit ({error}); make it again: {command}") from error


def _paper(published: Published, audit: _Audit | None) -> Paper:
    if audit is None:
        return Paper(published, (), {})
    test_sets = tuple(
        ", ".join(f"{size} {name}" for size, name in zip(found.sizes, found.classes, strict=True))
        for found in audit.test_sets
    )
    return Paper(published, test_sets, {(v.protocol, v.method): _words(v) for v in audit.verdicts})


def _words(verdict: _Verdict) -> str:
    if verdict.fit is not None:
        return f"fits test set {verdict.fit.test_set}"
    return "fits no test set found" if verdict.alone else "fits no test set at all"
