"""Runs jobs in this process, in local processes or on a cluster: one code path, on dask.distributed.

Workers are processes of one thread, which here is both faster than threads and repeatable. A worker that dies is
replaced and its job asked for again, so a job must be idempotent: the record that it writes is the truth.
"""

import logging
import multiprocessing
import time
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

from benchmark import arrival, peers
from benchmark.arrival import ALONE, Place, first_line, lost, named
from benchmark.claims import Taken
from benchmark.contracts import InputError
from benchmark.dispatch import AGAIN_S, DEATHS_ALLOWED, Dispatch, Lost, Tend, Watch
from benchmark.scheduler import Scheduler
from benchmark.signals import kept_from_children
from benchmark.slurm import check, started

if TYPE_CHECKING:
    from distributed import Client

Job = TypeVar("Job")
Result = TypeVar("Result")

_KEEP = 1 << 30  # bytes
_PATIENCE_S = 10.0  # for an answer of a scheduler


def execute(
    work: Callable[[Job], Result],
    jobs: Sequence[Job],
    *,
    workers: int,
    scheduler: Scheduler | None = None,
    slurm: Path | None = None,
    patience_s: float = 60.0,
    watch: Watch[Job] = lambda _: {},
) -> Iterator[tuple[Job, Result | Lost]]:
    """Yield each job with its result as it finishes; one whose workers died or hung too often with a sentence on that.

    A worker that says that it is unfit is replaced by another process or retired, and its job given to another.

    Args:
        work: Importable by name from every worker, as are the jobs' types.
        jobs: Begun in this order.
        workers: Local processes; 0 works in this process (for debuggers). Ignored with a scheduler.
        scheduler: A running dask scheduler whose workers see the same files and code.
        slurm: A file that says which workers to start as Slurm's jobs (`benchmark.slurm`), instead.
        patience_s: How long to wait for a first worker, or without any.
        watch: Says which jobs hang; not asked in this process.

    Raises:
        InputError: No scheduler or no worker answers, a worker cannot import the project, or all were lost or unfit.
        Exception: Whatever `work` raises; jobs not yet begun are dropped.
    """
    if workers == 0 and scheduler is None and slurm is None:
        yield from _here(work, jobs)
        return
    place: Place = scheduler or slurm
    if slurm is not None:
        patience_s = check(slurm).wait_s
    with _client(min(workers, len(jobs)), place) as (client, tend):
        from distributed import CancelledError
        from distributed.comm.core import CommClosedError

        try:
            arrival.probe(client, work.__module__, place, patience_s, tend)
            sure = work if place is None else partial(peers.checked, peers.here(), work)  # for workers that join later
            yield from Dispatch(client, sure, watch, named(place), patience_s, tend).run(jobs)
        except (CancelledError, CommClosedError) as error:
            raise lost(place) from error
        except BaseException:  # a signal, or whoever takes the results takes no more
            _abandon(client)
            raise


def _here(work: Callable[[Job], Result], jobs: Sequence[Job]) -> Iterator[tuple[Job, Result]]:
    """Do jobs in this process; what another command does is asked for again, last."""
    todo = deque(jobs)
    put_off = 0  # in a row
    while todo:
        job = todo.popleft()
        try:
            result = work(job)
        except Taken:
            todo.append(job)
            put_off += 1
            if put_off >= len(todo):
                time.sleep(AGAIN_S)
            continue
        put_off = 0
        yield job, result


def _abandon(client: "Client") -> None:
    """Let local workers die now, with what they are at: closing a cluster waits for it, up to nine seconds."""
    for nanny in getattr(client.cluster, "workers", {}).values():
        if hasattr(nanny, "auto_restart"):
            nanny.auto_restart = False
    for worker in multiprocessing.active_children():
        worker.kill()


def judge(scheduler: Scheduler) -> None:
    """Refuse a scheduler's credentials that cannot be used; nobody is asked.

    Raises:
        InputError: They cannot, or dask's configuration cannot be read.
    """
    _load_dask()
    scheduler.security()


def probe(scheduler: Scheduler, patience_s: float = 60.0) -> None:
    """See that a scheduler answers and has workers that can import the project.

    Raises:
        InputError: It does not, or they cannot.
    """
    with _client(0, scheduler) as (client, _):
        arrival.probe(client, __name__, scheduler, patience_s)


def _load_dask() -> None:
    """Import dask, here and not above, since most commands need none.

    Raises:
        InputError: Its configuration cannot be read.
    """
    try:
        import distributed  # noqa: F401
    except Exception as error:  # reading a malformed configuration raises whatever its parser does
        raise InputError(
            f"dask does not start ({first_line(error)}): mend or remove its configuration files; {ALONE}"
        ) from error


@contextmanager
def _client(workers: int, place: Place) -> Iterator[tuple["Client", Tend]]:
    """Give a client of the scheduler at an address, or of Slurm's jobs, or of local processes, and what tends them.

    Raises:
        InputError: dask's configuration cannot be read, no local cluster can be started, or no scheduler answers.
    """
    _load_dask()
    import dask
    import distributed

    from benchmark import localcluster

    settings: dict[str, object] = {
        "distributed.scheduler.allowed-failures": DEATHS_ALLOWED,
        "distributed.scheduler.worker-saturation": 1.0,  # a job waits at the scheduler, not at a busy worker
        # dask lets glibc give freed memory back at once, and a training step frees and takes megabytes: a third
        # of the time went into page faults. One arena that keeps its memory is what the main thread has anyway.
        "distributed.nanny.pre-spawn-environ.MALLOC_TRIM_THRESHOLD_": _KEEP,
        "distributed.nanny.pre-spawn-environ.MALLOC_MMAP_THRESHOLD_": _KEEP,
        "distributed.nanny.pre-spawn-environ.MALLOC_ARENA_MAX": 1,
    }
    if place is None:
        # Fifteen seconds after it lost a worker, dask's cluster closes its nanny for good if the next process is not
        # there at that moment, as on a busy machine it may not be; how long there may be none is `patience_s`'s affair.
        # A job of Slurm's has no nanny here: there this is what another job is submitted by.
        settings["distributed.deploy.lost-worker-timeout"] = "30 days"
    with dask.config.set(settings):
        if isinstance(place, Scheduler):
            security = place.security()
            place.greet(security, _PATIENCE_S)
            try:
                client = distributed.Client(  # type: ignore[no-untyped-call]
                    place.address, security=security, timeout=_PATIENCE_S
                )
            except (OSError, ValueError, TypeError, RuntimeError) as error:  # RuntimeError: encryption is demanded
                raise InputError(
                    f"no dask scheduler answers at {place} ({first_line(error)}); check the address given with "
                    "--scheduler"
                ) from error
            with client:
                yield client, str
            return
        if isinstance(place, Path):
            with started(place) as jobs, distributed.Client(jobs, timeout=30) as client:  # type: ignore[no-untyped-call]
                yield client, jobs.tend
            return
        try:
            with kept_from_children():  # the thread that will start workers is born here, and they inherit from it
                cluster = localcluster.cluster(0, logging.CRITICAL)
        except Exception as error:  # no loopback, no process, a configuration that makes no sense
            raise InputError(
                f"dask cannot start worker processes on this machine ({first_line(error)}); {ALONE}"
            ) from error
        with cluster, distributed.Client(cluster, timeout=30) as client:  # type: ignore[no-untyped-call]
            cluster.scale(workers)  # type: ignore[no-untyped-call]
            yield client, cluster.tend
