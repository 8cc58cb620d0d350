"""Jobs handed out to the workers of a dask scheduler until each has its result."""

import time
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Generic, TypeAlias, TypeVar

from benchmark.claims import Taken
from benchmark.contracts import InputError

if TYPE_CHECKING:
    from distributed import Client, Future

Job = TypeVar("Job")
Result = TypeVar("Result")
Watch: TypeAlias = Callable[[Iterable[Job]], Mapping[Job, str]]
"""Returns those of some jobs that hang, with the addresses of their workers."""
Tend: TypeAlias = Callable[[], str]
"""Looks after what starts workers; returns why there will be none any more, or nothing."""

DEATHS_ALLOWED = 10
HANGS_ALLOWED = 3
AGAIN_S = 1.0  # until a job that another command does is asked for again
LOOK_S = 5.0  # between two looks at whether there are workers, and whether one hangs
_KILL_S = 30.0  # for a worker to be replaced


class Unfit(Exception):
    """This worker cannot do this job nor any other; another may. Says why.

    Attributes:
        reason: Why.
        worker: Its address.
        replaceable: Whether another process in its place may do better.
    """

    def __init__(self, reason: str, worker: str, replaceable: bool) -> None:
        super().__init__(reason, worker, replaceable)  # all arguments, so that it can travel
        self.reason, self.worker, self.replaceable = reason, worker, replaceable


@dataclass(frozen=True)
class Lost:
    """In the place of a result: a job was given up, through no fault that it could tell itself.

    Attributes:
        why: A sentence.
    """

    why: str


class Dispatch(Generic[Job, Result]):
    """Jobs on their way. What another command does is asked for again, after all else."""

    def __init__(
        self,
        client: "Client",
        work: Callable[[Job], Result],
        watch: Watch[Job],
        where: str,
        patience_s: float,
        tend: Tend = str,
    ) -> None:
        """Take note of how to work.

        Args:
            client: Of the scheduler.
            work: What to do with a job.
            watch: Says which jobs hang.
            where: Names the scheduler.
            patience_s: How long to go on without any worker.
            tend: Looks after workers; str where nothing is to be done.
        """
        self._client, self._work, self._watch = client, work, watch
        self._where, self._patience_s, self._tend = where, patience_s, tend
        self._futures: dict[Future[Any], Job] = {}
        self._hangs = Counter[Job]()

    def run(self, jobs: Sequence[Job]) -> Iterator[tuple[Job, Result | Lost]]:
        """Yield each job with its result as it finishes, or with why it was given up.

        Raises:
            InputError: There was no worker for long, or the last is unfit.
            Exception: Whatever the work raises.
        """
        from distributed import KilledWorker

        self._submit(jobs)
        put_off: list[Job] = []
        again = looked = seen = time.monotonic()
        step_s = min(LOOK_S, self._patience_s)
        while self._futures or put_off:
            unfit = []
            for future in self._finished(AGAIN_S if put_off else step_s):
                job = self._futures.pop(future)
                try:
                    result: Result | Lost = future.result()
                except KilledWorker:
                    result = Lost(f"the workers that made it died, {DEATHS_ALLOWED + 1} times in all")
                except Taken:
                    put_off.append(job)
                    again = time.monotonic() + AGAIN_S
                    continue
                except Unfit as refusal:
                    unfit.append((job, refusal))
                    continue
                finally:  # else dask makes it again, should the worker that holds it go
                    future.release()  # type: ignore[no-untyped-call]
                yield job, result
            for job, why in unfit:  # last: a worker that goes takes the results along that it still holds
                self._replace(why)
                self._submit([job])
            now = time.monotonic()
            if put_off and now >= again:
                self._submit(put_off)
                put_off = []
            if now - looked >= step_s:
                looked = now
                yield from self._without_hung()
                seen = now if self._workers() else seen
                if (trouble := self._tend()) and not self._workers():
                    raise InputError(f"{self._where} gets no worker any more; what is finished is kept: {trouble}")
                if now - seen >= self._patience_s:
                    raise InputError(
                        f"{self._where} lost all its workers and has had none for {now - seen:.0f} s; what is finished "
                        "is kept: start workers and give the same command again; --workers 0 does without dask, in "
                        "this process"
                    )

    def _submit(self, jobs: Sequence[Job]) -> None:
        for job in jobs:  # one by one: dask warns of large graphs
            self._futures[self._client.submit(self._work, job, pure=False)] = job

    def _finished(self, step_s: float) -> "list[Future[Any]]":
        """Return the futures that are finished, as soon as some are, or none after so long."""
        from distributed import wait

        if not self._futures:
            time.sleep(step_s)
            return []
        try:
            return list(wait(list(self._futures), step_s, "FIRST_COMPLETED").done)  # type: ignore[no-untyped-call]
        except TimeoutError:
            return []

    def _without_hung(self) -> Iterator[tuple[Job, Lost]]:
        """Replace workers that hang and give their jobs to others; yield those that hung too often."""
        for job, worker in self._watch(list(self._futures.values())).items():
            future = next(one for one, its in self._futures.items() if its == job)
            del self._futures[future]
            future.cancel()  # type: ignore[no-untyped-call]
            if worker in self._workers():
                self._client.restart_workers([worker], timeout=_KILL_S, raise_for_error=False)
            self._hangs[job] += 1
            if self._hangs[job] < HANGS_ALLOWED:
                self._submit([job])
            else:
                yield job, Lost(f"its worker hung and was replaced, {HANGS_ALLOWED} times")

    def _replace(self, unfit: Unfit) -> None:
        """Put a fresh process in an unfit worker's place, or take it out: it is neither restarted nor asked again.

        Raises:
            InputError: It was the last.
        """
        workers = self._workers()
        if unfit.worker in workers and unfit.replaceable:
            self._client.restart_workers([unfit.worker], raise_for_error=False)
        elif workers.keys() == {unfit.worker}:
            raise InputError(f"{unfit.reason}, and no other worker is left; what is finished is kept")
        elif unfit.worker in workers:
            self._client.retire_workers([unfit.worker])

    def _workers(self) -> Mapping[str, object]:
        workers: Mapping[str, object] = self._client.scheduler_info(n_workers=-1)["workers"]
        return workers
