"""Where fits are made: in this process, in local processes, on somebody's dask scheduler, or as Slurm's jobs."""

import argparse
from dataclasses import dataclass
from pathlib import Path

from benchmark.choose import choose_device, choose_workers
from benchmark.contracts import InputError
from benchmark.scheduler import Scheduler

DEVICES = ("auto", "cpu", "cuda", "mps")


@dataclass(frozen=True)
class Means:
    """How fits are made.

    Attributes:
        device: `"cpu"`, `"cuda"`, `"cuda:1"`, `"mps"`; on a cluster `"auto"` too, which each worker
            resolves for itself.
        workers: Local processes; 0 works in this one.
        scheduler: A dask scheduler to work on instead.
        slurm: A file that says which workers to start as Slurm's jobs, instead.
        patience_s: How long a fit may give no sign of work before its worker is replaced.
    """

    device: str
    workers: int
    scheduler: Scheduler | None = None
    slurm: Path | None = None
    patience_s: float = 600.0

    @classmethod
    def of(cls, args: argparse.Namespace) -> "Means":
        """Return those of a command line.

        Raises:
            InputError: They do not go together, or the device is not there.
        """
        if args.scheduler and args.slurm:
            raise InputError("--slurm starts a scheduler of its own and takes no --scheduler: leave one of the two out")
        away = args.scheduler is not None or args.slurm is not None
        device = args.device if away and args.device in DEVICES else choose_device(args.device)
        workers = choose_workers(None if away else args.workers, "cpu" if away else device)
        return cls(device, workers, args.scheduler, args.slurm, 60 * args.patience)

    @property
    def is_away(self) -> bool:
        """Whether fits are made by workers that this process does not start itself."""
        return self.scheduler is not None or self.slurm is not None

    def __str__(self) -> str:
        """Name them, for the plan."""
        place = self.scheduler or (f"Slurm, by {self.slurm}" if self.slurm else str(self.workers))
        return f"{place} on {self.device}"
