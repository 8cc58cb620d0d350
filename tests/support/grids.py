"""Small grids of fits that are cheap to make again and again, and what must be true of them in the end."""

import shutil
import time
from dataclasses import dataclass
from pathlib import Path

from zygote import Command, Zygote

TWELVE = ("--preset", "smoke", "--device", "cpu", "--folds", "2", "--seeds", "2", "--datasets", "A", "--methods", "ce")


@dataclass(frozen=True)
class Grid:
    """A command that makes some fits, and what it makes if nothing disturbs it.

    Attributes:
        zygote: Starts it.
        options: Of the command.
        unbroken: Its run.
        seconds: What that took.
    """

    zygote: Zygote
    options: tuple[str, ...]
    unbroken: Path
    seconds: float

    @classmethod
    def make(cls, zygote: Zygote, cohort: Path, folder: Path, grid: tuple[str, ...] = TWELVE) -> "Grid":
        """Make the fits without any disturbance."""
        options = (*grid, "--cohort", str(cohort), "--work", str(folder / "work"))
        begun = time.monotonic()
        unbroken = zygote.start([*options, "--workers", "0", "--out", str(folder / "run")])
        assert zygote.wait(unbroken) == 0, unbroken.said.read_text()
        return cls(zygote, options, folder / "run", time.monotonic() - begun)

    def start(self, run: Path, workers: int = 0, *more: str, **also: str) -> Command:
        """Begin to make the fits, or go on."""
        return self.zygote.start([*self.options, "--workers", str(workers), "--out", str(run), *more], **also)

    def finish(self, run: Path, workers: int = 0) -> None:
        """Go on until all is made."""
        command = self.start(run, workers)
        assert self.zygote.wait(command) == 0, command.said.read_text()

    def check(self, run: Path) -> None:
        """See that a run has all fits, the tables of the unbroken run to the byte, and nothing that was left behind."""
        assert self.fits(run) == self.fits(self.unbroken)
        for table in self.unbroken.glob("table*"):
            assert (run / table.name).read_bytes() == table.read_bytes(), table.name
        assert left_behind(run) == []

    @staticmethod
    def fits(run: Path) -> set[str]:
        """Return the records that there are."""
        return {path.relative_to(run).as_posix() for path in (run / "fits").rglob("*.json")}


def left_behind(run: Path) -> list[str]:
    """Return claims and half-written files of fits."""
    return sorted(
        str(p.relative_to(run)) for part in ("claims", "fits") for p in (run / part).rglob("*") if _is_left(p)
    )


def _is_left(path: Path) -> bool:
    return path.name.startswith(".") != (path.parent.name == "claims")  # the clock of claims goes later


def fresh(run: Path) -> Path:
    """Remove a run, to begin anew."""
    shutil.rmtree(run, ignore_errors=True)
    return run
