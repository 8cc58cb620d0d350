"""Runs jobs in this process, in local processes or on a cluster: one code path, on dask.distributed.

Workers are processes of one thread, which here is both faster than threads and repeatable. A worker that dies is
replaced and its job asked for again, so a job must be idempotent: the record that it writes is the truth.
"""

import logging
import zlib
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack
from typing import TypeVar

import torch

Job = TypeVar("Job")
Result = TypeVar("Result")

_DEATHS_ALLOWED = 10
_KEEP = 1 << 30  # bytes


def execute(
    work: Callable[[Job], Result], jobs: Sequence[Job], *, workers: int, scheduler: str | None = None
) -> Iterator[tuple[Job, Result | None]]:
    """Yield each job with its result as it finishes; a job whose workers died ten times has the result None.

    Args:
        work: Importable by name from every worker, as are the jobs' types.
        jobs: Begun in this order.
        workers: Local processes; 0 works in this process (for debuggers). Ignored with a scheduler.
        scheduler: Address of a running dask scheduler whose workers see the same files and code.

    Raises:
        ConnectionError: No scheduler answers at the address.
        Exception: Whatever `work` raises; jobs not yet begun are dropped.
    """
    if workers == 0 and scheduler is None:
        for job in jobs:
            yield job, work(job)
        return
    import dask
    from distributed import Client, KilledWorker, LocalCluster, as_completed

    dask.config.set(
        {
            "distributed.scheduler.allowed-failures": _DEATHS_ALLOWED,
            "distributed.scheduler.worker-saturation": 1.0,  # a job waits at the scheduler, not at a busy worker
            # dask lets glibc give freed memory back at once, and a training step frees and takes megabytes: a third
            # of the time went into page faults. One arena that keeps its memory is what the main thread has anyway.
            "distributed.nanny.pre-spawn-environ.MALLOC_TRIM_THRESHOLD_": _KEEP,
            "distributed.nanny.pre-spawn-environ.MALLOC_MMAP_THRESHOLD_": _KEEP,
            "distributed.nanny.pre-spawn-environ.MALLOC_ARENA_MAX": 1,
        }
    )
    with ExitStack() as stack:
        try:
            address = scheduler or stack.enter_context(
                LocalCluster(  # type: ignore[no-untyped-call]
                    n_workers=min(workers, len(jobs)),
                    threads_per_worker=1,
                    memory_limit=0,
                    dashboard_address="127.0.0.1:0",  # None would still claim port 8787, and warn where it is taken
                    silence_logs=logging.CRITICAL,
                )
            )
            client = stack.enter_context(Client(address, timeout=10))  # type: ignore[no-untyped-call]
        except (OSError, ValueError) as error:  # ValueError: no address at all
            raise ConnectionError(f"no dask scheduler answers at {scheduler}") from error
        futures = dict(zip(client.map(work, jobs, pure=False), jobs, strict=True))
        for future in as_completed(list(futures)):  # type: ignore[no-untyped-call]
            try:
                result = future.result()
            except KilledWorker:
                result = None
            yield futures.pop(future), result


def worker_device(device: str) -> str:
    """Return the device that the worker around this call uses: several GPUs are shared out by the workers' names."""
    count = torch.cuda.device_count() if device == "cuda" else 1
    if count < 2:
        return device
    from distributed import get_worker

    try:
        return f"cuda:{turn_of(get_worker().name) % count}"
    except ValueError:  # not in a worker
        return device


def turn_of(name: object) -> int:
    """Return a worker's turn in sharing out: its number where it has one, else a number made from its name.

    >>> [turn_of(name) for name in (0, 1, "2")]
    [0, 1, 2]
    """
    return int(str(name)) if str(name).isdecimal() else zlib.crc32(str(name).encode())
