"""The checkpoint of a fit under way: what a fit that was interrupted goes on from, a minute of work behind.

It stands beside where the record will be, as `fold<f>-seed<s>.checkpoint`, and goes when the record comes. On disk it
is a line with the hash of all below it, then a safetensors file whose one metadata entry is JSON; nothing is unpickled.
It holds whatever goes from one epoch to the next: the method's state dict, the optimiser's momentum, the average of the
weights, the sums of the loss terms, and all states of chance. The epoch tells the place in the schedule. One that other
code, settings, data or libraries made, another device or another number of nodules at once, is not used.
"""

import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import msgspec
from safetensors.torch import load, save
from torch import Tensor

from benchmark.files import remains, sha256, write_atomically
from benchmark.records import FitSpec
from benchmark.state import Rest, put, taken, unheld
from benchmark.trainer import Training
from benchmark.weightfiles import said

_MAGIC = b"checkpoint 1 "
_ABOUT = "checkpoint"  # the only entry of safetensors' metadata: with several their order would change


@dataclass(frozen=True)
class About:
    """Of which fit a checkpoint is, and what made it: all of it decides bits.

    Attributes:
        spec: The fit.
        key: Of its record: identity, settings and code.
        data: Digest of its fold data.
        versions: Of Python and the packages.
        device: What it is trained on.
        test_curve: Whether the test accuracy is noted after each epoch.
    """

    spec: FitSpec
    key: str
    data: str
    versions: dict[str, str]
    device: str
    test_curve: bool


@dataclass(frozen=True)
class _Head:
    """What a checkpoint holds beside tensors."""

    about: About
    micro_batch: int | None
    history: list[dict[str, float]]
    test_curve: list[float]
    rest: Rest
    seconds: float
    resumed: list[int]


@dataclass(frozen=True, eq=False)
class _Found:
    head: _Head
    tensors: dict[str, Tensor]


class Checkpoints:
    """Where a fit's training goes on from, and where it is kept for the next time.

    Attributes:
        test_curve: What was noted after each epoch; whoever notes it adds to it.
        resumed: The epochs after which this training was taken up.
    """

    def __init__(self, path: Path, about: About, every_s: float, clock: Callable[[], float] = time.monotonic) -> None:
        """Look for a checkpoint, and remove what cannot be used.

        Args:
            path: Where it stands, if there is one.
            about: Which one it must be.
            every_s: Seconds of training between two: one that is over before leaves none.
            clock: Tells seconds.

        Raises:
            OSError: It cannot be read or removed.
        """
        self.path, self.about, self.every_s, self.clock = path, about, every_s, clock
        self.test_curve, self.resumed = list[float](), list[int]()
        self._found = _read(path, about)
        if self._found is None:
            self.remove()
        self._began = self._last = clock()
        self._unheld: list[object] = []

    @property
    def micro_batch(self) -> int | None:
        """How many nodules went at once in the training that is to go on; None where there is none or memory held all.

        An attempt with more would only run out of memory again.
        """
        return self._found.head.micro_batch if self._found else None

    @property
    def seconds(self) -> float:
        """What the training took before it was interrupted last."""
        return self._found.head.seconds if self._found and self.resumed else 0.0

    def restore(self, training: Training) -> None:
        """Put what was kept into a training that was built anew, in place; where nothing fits, it begins anew."""
        found = self._found
        self.test_curve, self.resumed = [], []
        if found is not None and found.head.micro_batch == training.step.micro_batch:
            put(found.tensors, found.head.rest, training)
            training.history[:] = found.head.history
            self.test_curve, self.resumed = list(found.head.test_curve), [*found.head.resumed, len(training.history)]
        self._unheld = unheld(training.method)
        self._last = self.clock()

    def epoch_over(self, training: Training) -> None:
        """Keep where a training stands, where that is due and its method's state is all held.

        A checkpoint that cannot be written costs the time that it would have saved, and nothing else: the fit goes on,
        and the one before it stands.
        """
        if self.clock() - self._last < self.every_s:
            return
        self._last = self.clock()
        if (content := self._packed(training)) is not None:
            try:
                write_atomically(self.path, content)
            except OSError:
                return

    def remove(self) -> None:
        """Leave nothing behind, nor what a killed process left of its writing."""
        for path in (self.path, *remains(self.path)):
            path.unlink(missing_ok=True)

    def _packed(self, training: Training) -> bytes | None:
        state = taken(training)
        if state is None or unheld(training.method) != self._unheld:
            return None
        tensors, rest = state
        head = _Head(
            about=self.about,
            micro_batch=training.step.micro_batch,
            history=training.history,
            test_curve=self.test_curve,
            rest=rest,
            seconds=self.seconds + self.clock() - self._began,
            resumed=self.resumed,
        )
        body = save(tensors, {_ABOUT: msgspec.json.encode(head).decode()})
        return _MAGIC + sha256(body).encode() + b"\n" + body


def _read(path: Path, about: About) -> _Found | None:
    """Return what a file holds; None where it is not there, not whole, or was not made by and for this."""
    try:
        seal, _, body = path.read_bytes().partition(b"\n")
    except FileNotFoundError:
        return None
    if seal != _MAGIC + sha256(body).encode():
        return None
    head = _head(body)
    return _Found(head, load(body)) if head is not None and head.about == about else None


def _head(body: bytes) -> _Head | None:
    """Return what the metadata of a safetensors file says; None where another version of this suite wrote it."""
    try:
        return msgspec.json.decode(said(body)[_ABOUT], type=_Head)
    except (ValueError, KeyError):
        return None
