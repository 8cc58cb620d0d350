"""What `run.json` holds, and how it is read: sealed, so that what was damaged or edited is noticed."""

import re
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import NoReturn

import msgspec

from benchmark.contracts import InputError, Json, Protocol, Provenance, TextWeights
from benchmark.files import is_sealed, sealed
from benchmark.identity import Identity, commit
from benchmark.records import versions

DIGITS = 12  # of a hash, in print


@dataclass(frozen=True)
class RunMetadata:
    """What was true when a run was last started.

    Attributes:
        versions: Of Python and the packages.
        device: What it trains on.
        commit: Git commit of the code.
        provenance: What made the cohort.
    """

    versions: dict[str, str]
    device: str
    commit: str
    provenance: Provenance

    @classmethod
    def now(cls, device: str, provenance: Provenance) -> "RunMetadata":
        """Return what is true now."""
        return cls(versions(), device, commit(), provenance)


@dataclass(frozen=True)
class RunFile:
    """What `run.json` holds.

    Attributes:
        identity: What all fits share.
        metadata: What was true at the last start.
        commands: Every command line that worked on the run.
        protocols: All that it was ever asked for, in the order of their keys: how to score it.
        finished: Whether every fit that the last call asked for has its record.
        text_weights: What the rows that read text were made with; None while there is none, or with random weights.
        files: SHA-256 of files beside it that are read again, by their names.
    """

    identity: Identity
    metadata: RunMetadata
    commands: list[str]
    protocols: list[Protocol] = field(default_factory=list)
    finished: bool = False
    text_weights: TextWeights | None = None
    files: dict[str, str] = field(default_factory=dict)

    def to_bytes(self) -> bytes:
        """Return what stands on disk."""
        return sealed(msgspec.json.format(msgspec.json.encode(self), indent=1))


def load(file: Path) -> RunFile:
    """Read a run.json.

    Raises:
        InputError: It cannot be read, or is damaged.
    """
    try:
        content = file.read_bytes()
        if not is_sealed(content):
            _refuse_unknown(content)
        return msgspec.json.decode(content, type=RunFile)
    except (ValueError, RecursionError) as error:
        raise InputError(
            f"{file} is damaged, or of another version of this suite ({error}): move it away, and the command that "
            "made the run makes it anew and keeps the fits"
        ) from error
    except OSError as error:
        refuse(error)


def noted_hash(path: Path) -> str:
    """Return the hash that run.json beside a file notes of it; empty where there is none.

    Raises:
        InputError: The run.json is damaged.
    """
    file = path.with_name("run.json")
    return load(file).files.get(path.name, "") if file.exists() else ""


def _refuse_unknown(content: bytes) -> None:
    """Refuse what an earlier version, which sealed nothing, did not write either: a seal whose name was damaged, say.

    Raises:
        ValueError: It is no object, or has a part that no version knows.
    """
    known = {field.name for field in fields(RunFile)} - {"files"}
    if unknown := sorted(msgspec.json.decode(content, type=dict[str, msgspec.Raw]).keys() - known):
        raise ValueError(f"it has a part {unknown[0]!r}")


def refuse(error: OSError) -> NoReturn:
    """Say which part of a run cannot be read."""
    raise InputError(
        f"{error.filename} cannot be read ({error.strerror}): see to it, or move the run's folder away"
    ) from error


def differing(there: object, now: object) -> str:
    """Say how two values differ, naming only the parts that do, and hashes by their beginning.

    >>> differing("smoke-epochs=2", "ab" * 32)
    'smoke-epochs=2 there, abababababab now'
    """
    old, new = (msgspec.to_builtins(value) for value in (there, now))
    if isinstance(old, dict) and isinstance(new, dict):
        parts: dict[str, Json] = {**old, **new}
        return ", ".join(f"{k}: {old.get(k)} there, {new.get(k)} now" for k in parts if old.get(k) != new.get(k))
    return f"{short(str(there))} there, {short(str(now))} now"


def short(text: str) -> str:
    """Return a text with its hashes, of 40 digits or more, as short as they are printed.

    >>> short(f"ignores patients {'ab' * 32}"), short(f"{'c' * 40}-dirty"), short("smoke-epochs=2")
    ('ignores patients abababababab', 'cccccccccccc-dirty', 'smoke-epochs=2')
    """
    return re.sub(r"\b[0-9a-f]{40,}\b", lambda found: found[0][:DIGITS], text)


def another(name: str) -> str:
    """Return a part of an identity in words, as another than expected.

    >>> another("label_rule"), another("settings")
    ('another label rule', 'other settings')
    """
    return f"{'other' if name.endswith('s') else 'another'} {name.replace('_', ' ')}"
