"""Records of fits and the run folder that holds them. A record on disk is the truth: what is not there was not done.

A run folder holds `run.json` (what makes its fits comparable) and `fits/<label set>/<method>/fold<f>-seed<s>.json`,
one file a fit. `run.json` has protocols once every fit that was asked for has its record, and not before. Files
appear whole or not at all: written beside, synced, renamed.
"""

import json
import os
import platform
import re
from collections.abc import Iterable
from dataclasses import asdict, dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any, Literal, get_args

import numpy as np
from jaxtyping import Float, Int

from benchmark.contracts import Decoder, InputError, Protocol

Status = Literal["done", "failed", "unsupported"]
_FORMAT = 1


@dataclass(frozen=True)
class FitSpec:
    """Names one fit: the unit of work, of storage and of retry."""

    label_set: str
    method: str
    fold: int
    seed: int

    def path(self) -> Path:
        """Return the record's place below a run's folder of fits."""
        return Path(self.label_set, self.method, f"fold{self.fold}-seed{self.seed}.json")


@dataclass(frozen=True)
class FitRecord:
    """One fit: what was trained, how, and the probabilities it gave on its test fold.

    Attributes:
        spec: Which fit.
        status: `"unsupported"` where the method cannot work on the task, `"failed"` where training broke off;
            both have a reason and no probabilities.
        reason: One sentence, empty where done.
        identity: What all records of a run share (see `Run`).
        hyperparameters: Every keyword of the method with the value used.
        facts: What else was measured: loss history, seconds, versions, device, text tower.
        nodule_ids: The test fold's nodules.
        labels: Their classes in the label set.
        proba: Their probabilities.
    """

    spec: FitSpec
    status: Status
    reason: str
    identity: dict[str, Any]
    hyperparameters: dict[str, Any]
    facts: dict[str, Any]
    title: str
    decoder: Decoder
    nodule_ids: tuple[str, ...]
    labels: Int[np.ndarray, " nodules"]
    proba: Float[np.ndarray, "nodules classes"]

    def to_json(self) -> str:
        """Return the record as JSON; nine digits keep every float32 exactly."""
        content = {"format": _FORMAT} | {k: v for k, v in vars(self).items() if k not in ("spec", "labels", "proba")}
        content |= {
            "spec": asdict(self.spec),
            "labels": self.labels.tolist(),
            "proba": [[float(f"{p:.9g}") for p in row] for row in self.proba.tolist()],
        }
        return json.dumps(content, default=repr)  # a plugin may have any default

    @classmethod
    def from_json(cls, text: str) -> "FitRecord":
        """Read a record back.

        Raises:
            ValueError, KeyError, TypeError: The text is no such record.
        """
        content = json.loads(text)
        if not isinstance(content, dict) or content.pop("format", None) != _FORMAT:
            raise ValueError("another record format")
        labels = np.array(content.pop("labels"), dtype=np.int64)
        proba = np.array(content.pop("proba"), dtype=np.float64).reshape(len(labels), -1 if len(labels) else 0)
        spec = FitSpec(**content.pop("spec"))
        content["nodule_ids"] = tuple(content["nodule_ids"])
        if len(content["nodule_ids"]) != len(labels):
            raise ValueError("ids and labels differ in number")
        if content["status"] not in get_args(Status) or content["decoder"] not in get_args(Decoder):
            raise ValueError(f"status {content['status']!r} or decoder {content['decoder']!r} is unknown")
        if content["status"] == "done":
            if not len(labels) or not (0 <= labels.min() <= labels.max() < proba.shape[1]):
                raise ValueError("labels are missing or outside the classes")
            if not ((proba >= 0).all() and (np.abs(proba.sum(axis=1) - 1) < 1e-3).all()):
                raise ValueError("rows of probabilities do not sum to one")
        return cls(spec=spec, labels=labels, proba=proba, **content)


def write_atomically(path: Path, text: str) -> None:
    """Write a file so that a reader, or a crash, sees all of it or nothing."""
    path.parent.mkdir(parents=True, exist_ok=True)
    beside = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        with beside.open("w", encoding="utf-8") as file:
            file.write(text)
            file.flush()
            os.fsync(file.fileno())
        beside.replace(path)
    finally:
        beside.unlink(missing_ok=True)


def versions() -> dict[str, str]:
    """Return the versions that a result may depend on."""
    packages = ("torch", "timm", "open_clip_torch", "coral-pytorch", "scikit-learn", "numpy", "scipy", "pylidc")
    return {"python": platform.python_version()} | {name: version(name) for name in packages}


class Run:
    """A folder of fits that share one identity: cohort, labels, folds, recipe, encoder and text tower.

    Opening a folder whose identity differs raises InputError and changes nothing: results of two cohorts or
    recipes never mix.
    """

    def __init__(self, folder: Path, identity: dict[str, Any]) -> None:
        self.folder = folder
        self.identity: dict[str, Any] = json.loads(json.dumps(identity))  # as it will be read back
        self._file = folder / "run.json"
        if not self._file.exists():
            if (folder / "fits").exists():
                raise InputError(f"{folder} holds fits but no run.json; give another folder with --out")
            return
        stored = self._read()["identity"]
        for key in self.identity:
            if stored.get(key) != self.identity[key]:
                difference = _differing(stored.get(key), self.identity[key])
                raise InputError(
                    f"{folder} holds a run with another {key.replace('_', ' ')} ({difference}); "
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
        return cls(folder, cls(folder, {})._read()["identity"])

    def start(self, command: str, facts: dict[str, Any]) -> None:
        """Write run.json, adding this command to those that the folder has seen; the run is unfinished again."""
        commands = self._read()["commands"] if self._file.exists() else []
        content = {"identity": self.identity, "facts": facts, "commands": [*commands, command]}
        write_atomically(self._file, json.dumps(content, indent=1))

    def finish(self, protocols: Iterable[Protocol]) -> None:
        """Note that every fit asked for has its record, and the protocols by which to score them."""
        content = self._read() | {"protocols": [asdict(protocol) for protocol in protocols]}
        write_atomically(self._file, json.dumps(content, indent=1))

    def facts(self) -> dict[str, Any]:
        """Return what was noted when the run was last started."""
        facts: dict[str, Any] = self._read().get("facts", {})
        return facts

    def protocols(self) -> list[Protocol]:
        """Return the protocols by which to score a finished run.

        Raises:
            InputError: The run is not finished.
        """
        content = self._read()
        if "protocols" not in content:
            command = content["commands"][-1] if content["commands"] else "the command that made it"
            raise InputError(
                f"{self._file}, key protocols: missing, so the run is half done; finish it with: {command}"
            )
        try:
            return [_protocol(stored) for stored in content["protocols"]]
        except (AttributeError, TypeError) as error:
            raise InputError(f"{self._file}, key protocols: damaged ({error}); run its command again") from error

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
        write_atomically(self.path(record.spec), record.to_json())

    def read(self, spec: FitSpec) -> FitRecord | None:
        """Return a fit's record, or None where there is none.

        Raises:
            InputError: The file is damaged, or belongs to another run.
        """
        path = self.path(spec)
        try:
            record = FitRecord.from_json(path.read_text(encoding="utf-8"))
        except FileNotFoundError:
            return None
        except (ValueError, KeyError, TypeError) as error:
            raise InputError(
                f"the record {path} is damaged ({error}); delete it and run again to train that fit"
            ) from error
        if record.spec != spec or record.identity != self.identity:
            raise InputError(f"the record {path} belongs to another run; delete it and run again to train that fit")
        return record

    def _read(self) -> dict[str, Any]:
        try:
            content: dict[str, Any] = json.loads(self._file.read_text(encoding="utf-8"))
            if not isinstance(content, dict) or not {"identity", "commands"} <= content.keys():
                raise ValueError("keys are missing")
        except ValueError as error:
            raise InputError(f"{self._file} is damaged ({error}); give another folder with --out") from error
        return content


def _protocol(stored: dict[str, Any]) -> Protocol:
    fields: dict[str, Any] = {key: tuple(value) if isinstance(value, list) else value for key, value in stored.items()}
    return Protocol(**fields)


def _differing(stored: Any, wanted: Any) -> str:
    """Say how two values differ, naming only the parts that do."""
    if isinstance(stored, dict) and isinstance(wanted, dict):
        parts = [k for k in {**stored, **wanted} if stored.get(k) != wanted.get(k)]
        return ", ".join(f"{k}: {stored.get(k)} there, {wanted.get(k)} now" for k in parts)
    return f"{stored} there, {wanted} now"
