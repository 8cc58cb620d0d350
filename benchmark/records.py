"""The record of one fit, sealed: what was trained, how, and the probabilities that it gave on its test fold.

On disk a record is JSON: `{"format": 2, "sha256": ..., "record": {...}}`, where the hash is that of the record's own
bytes. Whatever was damaged or edited since it was written is noticed when it is read.
"""

import platform
from dataclasses import dataclass, field
from functools import lru_cache
from importlib.metadata import version
from pathlib import Path
from typing import Literal

import msgspec
import numpy as np
from jaxtyping import Float, Int

from benchmark.contracts import Decoder, Json, Kind
from benchmark.files import sha256
from benchmark.identity import Identity

Status = Literal["done", "failed", "unsupported"]
FORMAT = 2


class Unusable(Exception):
    """A record that cannot be used, and why: damaged, edited, of another run, or made by other code or settings."""


def is_plain(name: str) -> bool:
    """Return whether a name is one folder's, here and on Windows, and leads nowhere else."""
    return not set(name) & set("/\\:\0") and name.strip(". ") != ""


@dataclass(frozen=True)
class FitSpec:
    """Names one fit: the unit of work, of storage and of retry."""

    label_set: str
    method: str
    fold: int
    seed: int

    def path(self) -> Path:
        """Return the record's place below a run's folder of fits.

        Raises:
            Unusable: A name would lead elsewhere.
        """
        if not (is_plain(self.label_set) and is_plain(self.method)):
            raise Unusable(f"{self.label_set!r} or {self.method!r} is no name of a folder")
        return Path(self.label_set, self.method, f"fold{self.fold}-seed{self.seed}.json")


@dataclass(frozen=True)
class Metadata:
    """How a fit came about; none of it is needed to score the record.

    Attributes:
        versions: Of Python and the packages that a result may depend on.
        device: What it was trained on.
        commit: Git commit of the code, with `-dirty` where files differed from it.
        seconds: Time that the fit took.
        history: Mean of every loss term, by epoch.
        method: What the method says of itself (its text tower, say).
        traceback: Where a failed fit broke off.
        step: How training took its steps: `"eager"`, `"captured"` as a CUDA graph, or why not captured.
        micro_batch: How many nodules went at once, where memory held no whole batch; None where it did.
        weights: SHA-256 of the file beside the record that keeps the weights (`benchmark.weights`); empty if none does.
        test_curve: Accuracy on the test fold after each epoch (open decision, most probable class), where it was
            asked for; nothing was chosen by it.
        resumed: The epochs after which an interrupted training was taken up (`benchmark.checkpoint`).
    """

    versions: dict[str, str] = field(default_factory=dict)
    device: str = "cpu"
    commit: str = ""
    seconds: float = 0.0
    history: list[dict[str, float]] = field(default_factory=list)
    method: dict[str, Json] = field(default_factory=dict)
    traceback: str = ""
    step: str = "eager"
    micro_batch: int | None = None
    weights: str = ""
    test_curve: list[float] = field(default_factory=list)
    resumed: list[int] = field(default_factory=list)


@dataclass(frozen=True, eq=False)
class FitHead:
    """What a record says beside its numbers.

    Attributes:
        spec: Which fit.
        kind: Of the row.
        status: `"unsupported"` where the method cannot work on the task, `"failed"` where training broke off;
            both have a reason and no probabilities.
        reason: One sentence, empty where done.
        key: Hash of settings and code that decide the result (`identity.fit_key`).
        data: Digest of the fold data: cohort, rows and labels.
        identity: What all records of a run share.
        settings: Every hyperparameter with the value used.
        decoder: How a class is read off the probabilities.
        metadata: How it came about.
        nodule_ids: The test fold's nodules.
    """

    spec: FitSpec
    kind: Kind
    status: Status
    reason: str
    key: str
    data: str
    identity: Identity
    settings: dict[str, Json]
    decoder: Decoder
    metadata: Metadata
    nodule_ids: tuple[str, ...]


@dataclass(frozen=True, eq=False)
class FitRecord(FitHead):
    """One fit.

    Attributes:
        labels: Classes of the test fold's nodules in the label set.
        proba: Their probabilities.
    """

    labels: Int[np.ndarray, " nodules"]
    proba: Float[np.ndarray, "nodules classes"]

    def to_bytes(self) -> bytes:
        """Return the record as it stands on disk; nine digits keep every float32 exactly."""
        rounded = [[float(f"{p:.9g}") for p in row] for row in self.proba.tolist()]
        content = vars(self) | {"labels": self.labels.tolist(), "proba": rounded}
        return seal(msgspec.json.encode(content, enc_hook=repr))  # a plugin's metadata may hold anything

    @classmethod
    def from_bytes(cls, data: bytes) -> "FitRecord":
        """Read a record back.

        Raises:
            Unusable: The bytes are no record of this format, or not those that were written.
        """
        try:
            content = msgspec.json.decode(unseal(data), type=dict[str, Json])
            labels = np.array(content.pop("labels"), dtype=np.int64)
            rows = np.array(content.pop("proba"), dtype=np.float64)
            proba = rows.reshape(len(labels), -1 if len(labels) else 0)
            head = msgspec.convert(content, FitHead)
        except (ValueError, KeyError, TypeError, OverflowError, RecursionError) as error:
            raise Unusable(f"damaged ({error})") from error
        if fault := _fault(head, labels, proba):
            raise Unusable(f"damaged ({fault})")
        shared = {"nodule_ids": _shared_ids(head.nodule_ids), "labels": _shared_labels(labels.tobytes())}
        return cls(**vars(head) | shared, proba=proba)


@lru_cache(maxsize=64)
def _shared_ids(ids: tuple[str, ...]) -> tuple[str, ...]:
    """Return the first of equal ones: thousands of fits test the nodules of few folds."""
    return ids


@lru_cache(maxsize=64)
def _shared_labels(content: bytes) -> Int[np.ndarray, " nodules"]:
    """Return the same array for the same labels; it cannot be written to."""
    return np.frombuffer(content, dtype=np.int64)


def _fault(
    head: FitHead, labels: Int[np.ndarray, " nodules"], proba: Float[np.ndarray, "nodules classes"]
) -> str | None:
    """Say what is wrong with a record's numbers, or nothing."""
    if len(head.nodule_ids) != len(labels):
        return "ids and labels differ in number"
    if head.status != "done":
        return None
    if not len(labels) or not (0 <= labels.min() <= labels.max() < proba.shape[1]):
        return "labels are missing or outside the classes"
    if not ((proba >= 0).all() and (np.abs(proba.sum(axis=1) - 1) < 1e-3).all()):
        return "rows of probabilities do not sum to one"
    return None


Found = dict[FitSpec, FitRecord | None]
"""The fits that are wanted, each with its record if there is one."""


def seal(content: bytes) -> bytes:
    """Return JSON content with its format and its own hash around it."""
    return b'{"format":%d,"sha256":"%s","record":%s}' % (FORMAT, sha256(content).encode(), content)


class _Sealed(msgspec.Struct, forbid_unknown_fields=True):
    format: int
    sha256: str
    record: msgspec.Raw


def unseal(data: bytes) -> bytes:
    """Return sealed content.

    Raises:
        Unusable: It is not what was sealed, or sealed in another format.
    """
    try:
        sealed = msgspec.json.decode(data, type=_Sealed)
    except (ValueError, RecursionError) as error:
        raise Unusable(f"damaged, or of another version of this suite ({error})") from error
    if sealed.format != FORMAT:
        raise Unusable(f"of another version of this suite: format {sealed.format}, not {FORMAT}")
    content = bytes(sealed.record)
    if sha256(content) != sealed.sha256:
        raise Unusable("edited or damaged: its content does not match its own hash")
    return content


def versions() -> dict[str, str]:
    """Return the versions that a result may depend on."""
    packages = ("torch", "timm", "open_clip_torch", "coral-pytorch", "scikit-learn", "numpy", "scipy", "pylidc")
    return {"python": platform.python_version()} | {name: version(name) for name in packages}
