"""Slurm's jobs while a run lasts: what ends too early is asked for again, and where nothing helps, that is said.

dask-jobqueue submits jobs and forgets them: it does not tell of one that Slurm refuses, nor of one that ends before its
worker has reached the scheduler, as after a mistake in its `environment`, and asks for neither again. What came to
nothing is known here from what `sbatch` said, and from `squeue`.
"""

import os
import subprocess
import time
from collections.abc import Callable, Collection, Mapping

from dask_jobqueue.slurm import SLURMCluster, SLURMJob
from distributed import Scheduler, SchedulerPlugin, Status

_ASK_S = 30.0  # between two questions to squeue: whoever runs a Slurm does not like more
ROUNDS = 20  # ten minutes, in which a Slurm that is being mended may come back
_LONGEST = 300  # characters of what sbatch said
_ENDED = "ended before its worker had reached the scheduler, and its output says why"


class Job(SLURMJob):
    """A job that knows why Slurm did not take it.

    Attributes:
        refusal: What was said; empty if it was taken.
    """

    refusal = ""

    async def start(self) -> None:
        """Submit it.

        Raises:
            Exception: Slurm did not take it.
        """
        try:
            await super().start()  # type: ignore[no-untyped-call]
        except (RuntimeError, ValueError, OSError) as error:  # the status of sbatch, no number of a job, no sbatch
            self.refusal, self.status = heard(str(error)), Status.failed
            raise


class Places:
    """So many places for jobs, each of which has one, has none for now, or was given up.

    At first a place is given up with its first job, since what is wrong with that is most likely wrong with all; after
    a worker was there, when `ROUNDS` jobs in turn had none.
    """

    def __init__(self, number: int) -> None:
        self._number, self._seen, self._rounds, self._why = number, 0, 0, ""
        self._given_up = set[str]()

    def look(
        self, submitted: Mapping[str, tuple[str, str]], seen: Collection[str], active: Collection[str] | None
    ) -> list[str]:
        """Return the places whose jobs came to nothing and that are to get another.

        Args:
            submitted: Of each place, its job's number, and what Slurm refused it with; either may be empty.
            seen: Numbers of all jobs whose workers reached the scheduler.
            active: Numbers of the jobs that wait or run; None where Slurm does not say.
        """
        if len(seen) > self._seen:
            self._seen, self._rounds = len(seen), 0
        lost = {
            place: f"Slurm takes no job, and says: {refusal}" if refusal else f"Slurm's job {job} {_ENDED}"
            for place, (job, refusal) in submitted.items()
            if place not in self._given_up
            and (refusal or (job and job not in seen and active is not None and job not in active))
        }
        if not lost:
            return []
        self._rounds, self._why = self._rounds + 1, min(lost.values())
        if seen and self._rounds <= ROUNDS:
            return sorted(lost)
        self._given_up |= lost.keys()
        return []

    @property
    def trouble(self) -> str:
        """Why there will be no worker; empty as long as there may be one."""
        return self._why if len(self._given_up) == self._number else ""


class Arrivals(SchedulerPlugin):
    """Tells of each worker that reaches the scheduler, by name."""

    def __init__(self, tell: Callable[[str], None]) -> None:
        self._tell = tell

    def add_worker(self, scheduler: Scheduler, worker: str) -> None:
        """Tell of a worker, of which its address is given."""
        self._tell(str(scheduler.workers[worker].name))


class Jobs(SLURMCluster):
    """A scheduler in this process, and so many jobs."""

    job_cls = Job

    def __init__(self, number: int, **options: object) -> None:
        """Submit them.

        Args:
            number: How many.
            options: Of `SLURMCluster`.
        """
        super().__init__(**options)  # type: ignore[arg-type]
        self._wanted, self._places, self._asked, self._seen = number, Places(number), -_ASK_S, set[str]()
        self.scheduler.add_plugin(Arrivals(self._note))  # type: ignore[union-attr]
        self.scale(jobs=number)  # type: ignore[no-untyped-call]

    def tend(self) -> str:
        """Ask for jobs in the places of those that ended; return why there will be none any more, or nothing."""
        if time.monotonic() - self._asked >= _ASK_S:
            self._asked = time.monotonic()
            submitted = {name: (job.job_id or "", job.refusal) for name, job in dict(self.workers).items()}
            again = self._places.look(submitted, {*self._seen}, active())
            self.sync(self._forget, again)  # type: ignore[no-untyped-call]
            self.scale(jobs=self._wanted)  # type: ignore[no-untyped-call]  # submits what is wanted and is not there
        return self._places.trouble

    def _note(self, place: str) -> None:
        if place in self.workers:
            self._seen.add(self.workers[place].job_id)

    async def _forget(self, places: Collection[str]) -> None:
        for place in places:
            self.workers.pop(place, None)


def active() -> set[str] | None:
    """Return the numbers of this user's jobs that wait or run; None where Slurm does not say."""
    command = ["squeue", "--noheader", "--format=%A", f"--user={os.getuid()}"]
    try:
        asked = subprocess.run(
            command, stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=_ASK_S, check=True
        )
    except (OSError, ValueError, subprocess.SubprocessError):  # ValueError: it said what is no text
        return None
    return {*asked.stdout.split()}


def heard(error: str) -> str:
    r"""Return what a command said of its failure, from dask-jobqueue's account of that, as one line.

    >>> heard("Command exited with non-zero exit code.\nstdout:\n\nstderr:\nsbatch: error: no such partition\n")
    'sbatch: error: no such partition'
    """
    said = error.rpartition("stderr:\n")[2]
    lines = ["".join(filter(str.isprintable, line)).strip() for line in said.splitlines()]
    return "; ".join(filter(None, lines))[:_LONGEST] or "sbatch failed without a word"
