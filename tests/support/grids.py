"""Small grids of fits that are cheap to make again and again, and what must be true of them in the end."""

import json
import shutil
from dataclasses import dataclass
from pathlib import Path

from dying import PHASES, phases
from leftovers import files
from moments import Span
from zygote import Command, Zygote

SMOKE = ("--preset", "smoke", "--epochs", "2", "--device", "cpu")
TWELVE = (*SMOKE, "--folds", "2", "--seeds", "2", "--datasets", "A", "--methods", "ce")


@dataclass(frozen=True)
class Grid:
    """A command that makes some fits, and what it makes if nothing disturbs it.

    Attributes:
        zygote: Starts it.
        options: Of the command.
        unbroken: Its run.
        work: Where it keeps what outlasts runs.
        span: How it went.
    """

    zygote: Zygote
    options: tuple[str, ...]
    unbroken: Path
    work: Path
    span: Span

    @classmethod
    def make(cls, zygote: Zygote, cohort: Path, folder: Path, grid: tuple[str, ...] = TWELVE) -> "Grid":
        """Make the fits without any disturbance."""
        options = (*grid, "--cohort", str(cohort), "--work", str(folder / "work"))
        environment = json.dumps({PHASES: str(folder / "phases.txt")})
        command = [*options, "--workers", "0", "--out", str(folder / "run")]
        unbroken = zygote.start(command, environment=environment)
        assert zygote.wait(unbroken) == 0, unbroken.said.read_text()
        return cls(zygote, options, folder / "run", folder / "work", Span.of(phases(folder / "phases.txt")))

    def start(self, run: Path, workers: int = 0, *more: str, **also: str) -> Command:
        """Begin to make the fits, or go on."""
        return self.zygote.start([*self.options, "--workers", str(workers), "--out", str(run), *more], **also)

    def finish(self, run: Path, workers: int = 0) -> None:
        """Go on until all is made."""
        command = self.start(run, workers)
        assert self.zygote.wait(command) == 0, command.said.read_text()

    def check(self, run: Path) -> None:
        """See that a run has the unbroken one's files and no other, and its tables to the byte."""
        assert files(run) == files(self.unbroken)
        for table in self.unbroken.glob("table*"):
            assert (run / table.name).read_bytes() == table.read_bytes(), table.name

    @staticmethod
    def fits(run: Path) -> set[str]:
        """Return the records that there are."""
        return {path.relative_to(run).as_posix() for path in (run / "fits").rglob("*.json")}


def fresh(run: Path) -> Path:
    """Remove a run, to begin anew."""
    shutil.rmtree(run, ignore_errors=True)
    return run
