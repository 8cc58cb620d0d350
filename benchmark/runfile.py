"""What `run.json` holds, and how it is read."""

from dataclasses import dataclass, field
from pathlib import Path
from typing import NoReturn

import msgspec

from benchmark.contracts import InputError, Json, Protocol, Provenance, TextWeights
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
    """

    identity: Identity
    metadata: RunMetadata
    commands: list[str]
    protocols: list[Protocol] = field(default_factory=list)
    finished: bool = False
    text_weights: TextWeights | None = None


def load(file: Path) -> RunFile:
    """Read a run.json.

    Raises:
        InputError: It cannot be read, or is damaged.
    """
    try:
        return msgspec.json.decode(file.read_bytes(), type=RunFile)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise InputError(
            f"{file} is damaged, or of another version of this suite ({error}); make the run anew in another folder"
        ) from error
    except OSError as error:
        refuse(error)


def refuse(error: OSError) -> NoReturn:
    """Say which part of a run cannot be read."""
    raise InputError(
        f"{error.filename} cannot be read ({error.strerror}): see to it, or move the run's folder away"
    ) from error


def differing(there: object, now: object) -> str:
    """Say how two values differ, naming only the parts that do."""
    old, new = (msgspec.to_builtins(value) for value in (there, now))
    if isinstance(old, dict) and isinstance(new, dict):
        parts: dict[str, Json] = {**old, **new}
        return ", ".join(f"{k}: {old.get(k)} there, {new.get(k)} now" for k in parts if old.get(k) != new.get(k))
    return f"{str(there)[:DIGITS]} there, {str(now)[:DIGITS]} now"
