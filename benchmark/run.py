"""A run: the folder of fits that share one identity. A record on disk is the truth; what is not there was not done.

It holds `run.json` (what makes its fits comparable), `fits/<label set>/<row>/fold<f>-seed<s>.json`, one file a fit,
and `aside/`, the records that could not be used. `run.json` has protocols once every fit that was asked for has its
record, and not before.
"""

import re
from collections.abc import Iterable
from dataclasses import dataclass, field, fields
from dataclasses import replace as changed
from pathlib import Path

import msgspec

from benchmark.contracts import InputError, Json, Protocol, Provenance
from benchmark.files import sha256, write_atomically
from benchmark.identity import Identity
from benchmark.records import FitRecord, FitSpec, Unusable

_DIGITS = 12  # of a hash, in print
_MEANS = {
    "cohort": ": the nodules, their voxels or what is known of them",
    "fold_assignment": ": another nodule in some fold",
}


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


@dataclass(frozen=True)
class RunFile:
    """What `run.json` holds.

    Attributes:
        identity: What all fits share.
        metadata: What was true at the last start.
        commands: Every command line that worked on the run.
        protocols: How to score it; empty while it is unfinished.
    """

    identity: Identity
    metadata: RunMetadata
    commands: list[str]
    protocols: list[Protocol] = field(default_factory=list)


class Run:
    """A folder of fits that share one identity: cohort, labels, folds, recipe, encoder, text tower and settings.

    Opening a folder whose identity differs raises InputError and changes nothing: results of two cohorts or
    recipes never mix.
    """

    def __init__(self, folder: Path, identity: Identity) -> None:
        self.folder = folder
        self.identity = identity
        self._file = folder / "run.json"
        if not self._file.exists():
            if (folder / "fits").exists():
                raise InputError(f"{folder} holds fits but no run.json; give another folder with --out")
            return
        stored = _read(self._file).identity
        for name in (f.name for f in fields(Identity)):
            there, now = getattr(stored, name), getattr(identity, name)
            if there != now:
                raise InputError(
                    f"{folder} holds a run with another {name.replace('_', ' ')}{_MEANS.get(name, '')} "
                    f"({differing(there, now)}); "
                    "give another folder with --out, or move that one away"
                )

    @classmethod
    def open(cls, folder: Path) -> "Run":
        """Return the run that a folder holds, whatever its identity.

        Raises:
            InputError: It holds none, or a damaged one.
        """
        if not (folder / "run.json").is_file():
            raise InputError(
                f"{folder} holds no run.json; give the folder of a run, such as results/runs/quick-phantom-published"
            )
        return cls(folder, _read(folder / "run.json").identity)

    def start(self, command: str, metadata: RunMetadata) -> None:
        """Write run.json, adding this command to those that the folder has seen; the run is unfinished again."""
        commands = _read(self._file).commands if self._file.exists() else []
        self._write(RunFile(self.identity, metadata, [*commands, command]))

    def finish(self, protocols: Iterable[Protocol]) -> None:
        """Note that every fit asked for has its record, and the protocols by which to score them."""
        self._write(changed(_read(self._file), protocols=list(protocols)))

    def metadata(self) -> RunMetadata:
        """Return what was noted when the run was last started."""
        return _read(self._file).metadata

    def protocols(self) -> list[Protocol]:
        """Return the protocols by which to score a finished run.

        Raises:
            InputError: The run is not finished.
        """
        content = _read(self._file)
        if not content.protocols:
            command = content.commands[-1] if content.commands else "the command that made it"
            raise InputError(
                f"{self._file}, key protocols: missing, so the run is half done; finish it with: {command}"
            )
        return content.protocols

    def specs(self) -> list[FitSpec]:
        """Return the fits that have a record, in the order of their paths."""
        found = []
        for path in sorted((self.folder / "fits").glob("*/*/*.json")):
            if match := re.fullmatch(r"fold(\d+)-seed(\d+)\.json", path.name):
                label_set, method = path.parts[-3:-1]
                found.append(FitSpec(label_set, method, int(match[1]), int(match[2])))
        return found

    def path(self, spec: FitSpec) -> Path:
        """Return where a fit's record stands, or will."""
        return self.folder / "fits" / spec.path()

    def write(self, record: FitRecord) -> None:
        """Put a record in its place."""
        write_atomically(self.path(record.spec), record.to_bytes())

    def read(self, spec: FitSpec, key: str | None = None, data: str | None = None) -> FitRecord | None:
        """Return a fit's record, or None where there is none.

        Args:
            spec: Which fit.
            key: What its key must be; None takes any.
            data: What the digest of its fold data must be; None takes any.

        Raises:
            Unusable: The file is damaged or edited, belongs to another run or fit, or was made by other code.
        """
        try:
            content = self.path(spec).read_bytes()
        except FileNotFoundError:
            return None
        record = FitRecord.from_bytes(content)
        if record.spec != spec or record.identity != self.identity:
            raise Unusable("of another run or fit")
        if key not in (None, record.key):
            raise Unusable("made by other code or settings of its row")
        if data not in (None, record.data):
            raise Unusable("made from other nodules or labels")
        return record

    def set_aside(self, spec: FitSpec) -> Path:
        """Move a record that cannot be used out of the way, and return where it is kept."""
        path = self.path(spec)
        name = f"{'-'.join(spec.path().with_suffix('').parts)}-{sha256(path.read_bytes())[:8]}.json"
        kept = self.folder / "aside" / name
        kept.parent.mkdir(exist_ok=True)
        return path.replace(kept)

    def _write(self, content: RunFile) -> None:
        write_atomically(self._file, msgspec.json.format(msgspec.json.encode(content), indent=1))


def _read(file: Path) -> RunFile:
    try:
        return msgspec.json.decode(file.read_bytes(), type=RunFile)
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise InputError(
            f"{file} is damaged, or of another version of this suite ({error}); give another folder with --out"
        ) from error


def differing(there: object, now: object) -> str:
    """Say how two values differ, naming only the parts that do."""
    old, new = (msgspec.to_builtins(value) for value in (there, now))
    if isinstance(old, dict) and isinstance(new, dict):
        parts: dict[str, Json] = {**old, **new}
        return ", ".join(f"{k}: {old.get(k)} there, {new.get(k)} now" for k in parts if old.get(k) != new.get(k))
    return f"{str(there)[:_DIGITS]} there, {str(now)[:_DIGITS]} now"
