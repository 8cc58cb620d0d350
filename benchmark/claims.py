"""Who makes which fit: a file that only one process can create, and that lapses where nobody keeps it fresh.

A fit that is being made has a file in the run's `claims/`; its time of change is the last sign of the fit's work. A
claim says only who works, never what is done: a record is the truth, and the worst that a wrong claim can cause is a
fit that is made twice, with the same bits. Ages are taken by the clock of the file system that holds the claims, since
those of two machines may differ; the owner's death is known at once where it was a process of this machine.
"""

import os
import secrets
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path

import msgspec

from benchmark import owners
from benchmark.pulse import heard_by

PATIENCE_S = 600.0
FOLDER = "claims"
_BEAT_S = 1.0  # a claim is touched no more often


class Taken(Exception):
    """Another process makes this fit just now."""


@dataclass(frozen=True)
class Claim:
    """What a claim says.

    Attributes:
        fit: Path of its record below `fits/`.
        driver: Names the command that asked for the fit.
        worker: Address of the dask worker that makes it; empty in the command's own process.
        patience_s: After how many seconds without a sign of work the claim lapses.
        token: Names this claim among all that there ever were.
        host: The machine of the process that holds it.
        pid: Its number there.
        started: When it started, so that another with its number is not taken for it.
    """

    fit: str
    driver: str
    worker: str = ""
    patience_s: float = PATIENCE_S
    token: str = field(default_factory=lambda: secrets.token_hex(8))
    host: str = field(default_factory=owners.host)
    pid: int = field(default_factory=os.getpid)
    started: str = field(default_factory=lambda: owners.started(os.getpid()))

    @property
    def is_orphaned(self) -> bool:
        """Whether its process is known to be dead."""
        return self.host == owners.host() and self.started != owners.started(self.pid)

    def file(self, run: Path) -> Path:
        """Return where the claim stands."""
        return run / FOLDER / self.fit.replace("/", "-")


@contextmanager
def claimed(run: Path, claim: Claim) -> Iterator[None]:
    """Hold a fit while the block runs; each beat of its pulse keeps the claim fresh.

    What a dead owner left of the fit's files half written is removed with its claim.

    Raises:
        Taken: Another process holds the fit, and gave a sign of work not long ago.
    """
    file = claim.file(run)
    while not _created(file, claim):
        held = _read(file)
        if held is not None and not _has_lapsed(file, held):
            raise Taken(claim.fit)
        _remove(run, file, held)
    last = time.monotonic()

    def touch() -> None:
        nonlocal last
        if time.monotonic() - last >= _BEAT_S:
            last = time.monotonic()
            with suppress(OSError):  # taken over by another, or a disk that stumbles: the fit itself goes on
                os.utime(file)

    try:
        with heard_by(touch):
            yield
    finally:
        _remove(run, file, claim)


def overdue(run: Path, driver: str) -> dict[str, str]:
    """Return the fits of a command that gave no sign of work for too long: path, and address of the worker."""
    held = [(file, claim) for file, claim in _all(run) if claim.driver == driver]
    now = _clock(run / FOLDER) if held else 0.0
    return {claim.fit: claim.worker for file, claim in held if now - _touched(file) > claim.patience_s}


def sweep(run: Path, driver: str = "") -> None:
    """Remove claims that hold nothing any more, and what their processes left half written.

    Args:
        run: The run's folder.
        driver: A command whose workers are gone: its claims are among them.
    """
    for file, claim in _all(run):
        if (driver and claim.driver == driver) or _has_lapsed(file, claim):
            _remove(run, file, claim)
    if not (run / FOLDER).is_dir():
        return
    now = _clock(run / FOLDER)
    for left in (run / FOLDER).glob(".*"):  # of a process that was killed in the moment between
        if owners.is_of_the_dead(left.name.split(".")[-1]) or now - _touched(left) > PATIENCE_S:
            left.unlink(missing_ok=True)
    with suppress(OSError):  # others hold claims
        (run / FOLDER).rmdir()


def _all(run: Path) -> Iterator[tuple[Path, Claim]]:
    for file in sorted((run / FOLDER).glob("*.json")):
        if (claim := _read(file)) is not None:
            yield file, claim


def _created(file: Path, claim: Claim) -> bool:
    """Create a claim if there is none; return whether that was so. It appears whole, where the disk has links."""
    whole = _passing(file.parent)
    try:
        while True:
            file.parent.mkdir(parents=True, exist_ok=True)
            try:
                whole.write_bytes(msgspec.json.encode(claim))
                _link(whole, file)
            except FileExistsError:
                return False
            except FileNotFoundError:  # whoever held the last claim took the folder away in between
                continue
            return True
    finally:
        whole.unlink(missing_ok=True)


def _link(whole: Path, file: Path) -> None:
    """Give a file a second name that nothing else has.

    Raises:
        FileExistsError: Something has it.
    """
    try:
        os.link(whole, file)
    except (FileExistsError, FileNotFoundError):
        raise
    except OSError:  # no links here
        with file.open("xb") as new:
            new.write(whole.read_bytes())


def _read(file: Path) -> Claim | None:
    """Return a claim; one without a fit if it says nothing that can be read (yet); None if there is none."""
    try:
        return msgspec.json.decode(file.read_bytes(), type=Claim)
    except FileNotFoundError:
        return None
    except (msgspec.DecodeError, UnicodeDecodeError):
        return Claim("", "", token="", host="", pid=0, started="")


def _has_lapsed(file: Path, claim: Claim) -> bool:
    return claim.is_orphaned or _clock(file.parent) - _touched(file) > claim.patience_s


def _passing(folder: Path) -> Path:
    """Return a name that no other process can have, and that says whose it is."""
    return folder / f".{secrets.token_hex(8)}.{owners.mark()}"


def _clock(folder: Path) -> float:
    """Return the time by the clock of a folder's file system; 0, when nothing is old, if the folder has gone."""
    clock = _passing(folder)
    try:
        clock.write_bytes(b" ")
        return clock.stat().st_mtime
    except FileNotFoundError:
        return 0.0
    finally:
        clock.unlink(missing_ok=True)


def _touched(file: Path) -> float:
    """Return when a claim was touched last; if it has gone, never too long ago."""
    try:
        return file.stat().st_mtime
    except FileNotFoundError:
        return float("inf")


def _remove(run: Path, file: Path, claim: Claim | None) -> None:
    """Remove a claim if it is still this one, with what its process left of the fit's files that nobody needs.

    That is what is half written, and a checkpoint that the fit's record came after. The claim is moved before it is
    removed: had another process put its own there meanwhile, that is put back.
    """
    if claim is None or (now := _read(file)) is None or now.token != claim.token:
        return
    if claim.fit:
        record = run / "fits" / claim.fit
        for half in record.parent.glob(f".{record.stem}.*.tmp"):
            half.unlink(missing_ok=True)
        checkpoint = record.with_suffix(".checkpoint")
        if record.exists() and _touched(checkpoint) <= _touched(record):
            checkpoint.unlink(missing_ok=True)
    away = _passing(file.parent)
    with suppress(FileNotFoundError):  # another process was faster
        file.rename(away)
        if (moved := _read(away)) is not None and moved.token != claim.token and not file.exists():
            away.rename(file)
        away.unlink(missing_ok=True)
    with suppress(OSError):  # others hold claims
        file.parent.rmdir()
