"""Runs jobs in this process, in local processes or on a cluster: one code path, on dask.distributed.

Workers are processes of one thread, which here is both faster than threads and repeatable. A worker that dies is
replaced and its job asked for again, so a job must be idempotent: the record that it writes is the truth.
"""

import logging
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, TypeAlias, TypeVar

from benchmark.contracts import InputError
from benchmark.devices import Unfit
from benchmark.scheduler import Scheduler

if TYPE_CHECKING:
    from distributed import Client, Future

    Futures: TypeAlias = list[Future[Any]]

Job = TypeVar("Job")
Result = TypeVar("Result")

_DEATHS_ALLOWED = 10
_KEEP = 1 << 30  # bytes
_PATIENCE_S = 10.0  # for an answer of a scheduler
_WATCH_S = 10.0  # between two looks at whether there are workers
_ALONE = "--workers 0 does without dask, in this process"


def execute(
    work: Callable[[Job], Result],
    jobs: Sequence[Job],
    *,
    workers: int,
    scheduler: Scheduler | None = None,
    patience_s: float = 60.0,
) -> Iterator[tuple[Job, Result | None]]:
    """Yield each job with its result as it finishes; a job whose workers died ten times has the result None.

    A worker that says that it is unfit is replaced by another process or retired, and its job given to another.

    Args:
        work: Importable by name from every worker, as are the jobs' types.
        jobs: Begun in this order.
        workers: Local processes; 0 works in this process (for debuggers). Ignored with a scheduler.
        scheduler: A running dask scheduler whose workers see the same files and code.
        patience_s: How long to wait for a first worker, or without any.

    Raises:
        InputError: No scheduler or no worker answers, a worker cannot import the project, or all were lost or unfit.
        Exception: Whatever `work` raises; jobs not yet begun are dropped.
    """
    if workers == 0 and scheduler is None:
        for job in jobs:
            yield job, work(job)
        return
    with _client(min(workers, len(jobs)), scheduler) as client:
        from distributed import CancelledError, KilledWorker
        from distributed.comm.core import CommClosedError

        _probe(client, work.__module__, scheduler, patience_s)
        futures = {client.submit(work, job, pure=False): job for job in jobs}  # one by one: dask warns of large graphs
        while futures:
            try:
                unfit = []
                for future in _finished(client, list(futures), scheduler, patience_s):
                    job = futures.pop(future)
                    try:
                        result = future.result()
                    except KilledWorker:
                        result = None
                    except Unfit as refusal:
                        unfit.append((job, refusal))
                        continue
                    yield job, result
                for job, why in unfit:  # last: a worker that goes takes the results along that it still holds
                    _replace(client, why)
                    futures[client.submit(work, job, pure=False)] = job
            except (CancelledError, CommClosedError) as error:
                raise _lost(scheduler) from error


def _finished(client: "Client", futures: "Futures", scheduler: Scheduler | None, patience_s: float) -> "Futures":
    """Return those that are finished, once some are.

    Raises:
        InputError: There was no worker for so long.
    """
    from distributed import wait

    alone_s = 0.0
    while True:
        try:
            first = wait(futures, min(_WATCH_S, patience_s), "FIRST_COMPLETED")  # type: ignore[no-untyped-call]
            return list(first.done)
        except TimeoutError:
            busy = bool(client.scheduler_info(n_workers=-1)["workers"])
            alone_s = 0.0 if busy else alone_s + min(_WATCH_S, patience_s)
        if alone_s >= patience_s:
            raise InputError(
                f"{_named(scheduler)} lost all its workers and has had none for {alone_s:g} s; what is finished is "
                f"kept: start workers and give the same command again; {_ALONE}"
            )


def _replace(client: "Client", unfit: Unfit) -> None:
    """Put a fresh process in an unfit worker's place, or take it out, so that it is neither restarted nor asked again.

    Raises:
        InputError: It was the last.
    """
    workers = client.scheduler_info(n_workers=-1)["workers"]
    if unfit.worker in workers and unfit.replaceable:
        client.restart_workers([unfit.worker], raise_for_error=False)
    elif workers.keys() == {unfit.worker}:
        raise InputError(f"{unfit.reason}, and no other worker is left; what is finished is kept")
    elif unfit.worker in workers:
        client.retire_workers([unfit.worker])


def probe(scheduler: Scheduler, patience_s: float = 60.0) -> None:
    """See that a scheduler answers and has workers that can import the project.

    Raises:
        InputError: It does not, or they cannot.
    """
    with _client(0, scheduler) as client:
        _probe(client, __name__, scheduler, patience_s)


@contextmanager
def _client(workers: int, scheduler: Scheduler | None) -> Iterator["Client"]:
    """Give a client of the scheduler at an address, or of local processes.

    Raises:
        InputError: dask's configuration cannot be read, no local cluster can be started, or no scheduler answers.
    """
    try:
        import dask
        import distributed

        from benchmark import localcluster
    except Exception as error:  # reading a malformed configuration raises whatever its parser does
        raise InputError(
            f"dask does not start ({_first_line(error)}): mend or remove its configuration files; {_ALONE}"
        ) from error
    settings = {
        "distributed.scheduler.allowed-failures": _DEATHS_ALLOWED,
        "distributed.scheduler.worker-saturation": 1.0,  # a job waits at the scheduler, not at a busy worker
        # dask lets glibc give freed memory back at once, and a training step frees and takes megabytes: a third
        # of the time went into page faults. One arena that keeps its memory is what the main thread has anyway.
        "distributed.nanny.pre-spawn-environ.MALLOC_TRIM_THRESHOLD_": _KEEP,
        "distributed.nanny.pre-spawn-environ.MALLOC_MMAP_THRESHOLD_": _KEEP,
        "distributed.nanny.pre-spawn-environ.MALLOC_ARENA_MAX": 1,
    }
    with dask.config.set(settings):
        if scheduler is not None:
            security = scheduler.security()
            scheduler.greet(security, _PATIENCE_S)
            try:
                client = distributed.Client(  # type: ignore[no-untyped-call]
                    scheduler.address, security=security, timeout=_PATIENCE_S
                )
            except (OSError, ValueError, TypeError, RuntimeError) as error:  # RuntimeError: encryption is demanded
                raise InputError(
                    f"no dask scheduler answers at {scheduler} ({_first_line(error)}); check the address given with "
                    "--scheduler"
                ) from error
            with client:
                yield client
            return
        try:
            cluster = localcluster.cluster(workers, logging.CRITICAL)
        except Exception as error:  # no loopback, no process, a configuration that makes no sense
            raise InputError(
                f"dask cannot start worker processes on this machine ({_first_line(error)}); {_ALONE}"
            ) from error
        with cluster, distributed.Client(cluster, timeout=30) as client:  # type: ignore[no-untyped-call]
            yield client


def _probe(client: "Client", module: str, scheduler: Scheduler | None, patience_s: float) -> None:
    """See that there is a worker, and that all of them can import the project.

    Raises:
        InputError: There is none, or one cannot.
    """
    where = _named(scheduler)
    remedy = "start some: dask worker --scheduler-file FILE --nthreads 1" if scheduler else _ALONE
    try:
        client.wait_for_workers(1, timeout=patience_s)
    except TimeoutError as error:
        raise InputError(f"{where} has had no worker for {patience_s:g} s; {remedy}") from error
    try:
        client.run(_import, module)
        client.submit(_import, module, pure=False).result(timeout=patience_s)  # the scheduler unpacks what it hands on
    except TimeoutError:
        return  # all workers are busy with somebody else's work, which is no fault
    except OSError as error:  # of the connection, dask's CommClosedError among them
        raise _lost(scheduler) from error
    except Exception as error:  # whatever importing raises there
        raise InputError(
            f"{where} or a worker of it cannot import the project ({_first_line(error)}): start both with PYTHONPATH "
            "set to the checkout, in an environment with its requirements"
        ) from error


def _named(scheduler: Scheduler | None) -> str:
    return f"the dask scheduler at {scheduler}" if scheduler else "the local dask scheduler"


def _lost(scheduler: Scheduler | None) -> InputError:
    return InputError(f"{_named(scheduler)} was lost; what is finished is kept, the same command goes on from there")


def _import(module: str) -> None:
    __import__(module)


def _first_line(error: BaseException) -> str:
    return (str(error).splitlines() or [type(error).__name__])[0]
