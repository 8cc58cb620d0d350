"""The first worker of a scheduler: waited for, and asked whether it can do the work."""

import time
from pathlib import Path
from typing import TYPE_CHECKING, TypeAlias

from benchmark import peers
from benchmark.contracts import InputError
from benchmark.dispatch import LOOK_S, Tend
from benchmark.scheduler import Scheduler

if TYPE_CHECKING:
    from distributed import Client

Place: TypeAlias = Scheduler | Path | None  # a scheduler's address, Slurm's file, or this machine
ALONE = "--workers 0 does without dask, in this process"


def _wait(client: "Client", place: Place, patience_s: float, tend: Tend) -> None:
    """Wait for a first worker.

    Raises:
        InputError: There was none for so long, or there will be none.
    """
    until = time.monotonic() + patience_s
    while True:
        try:
            client.wait_for_workers(1, timeout=min(LOOK_S, max(0.0, until - time.monotonic())))
            return
        except TimeoutError as error:
            if why := tend():
                raise InputError(f"{named(place)} gets no worker; mend that file: {why}") from error
            if time.monotonic() >= until:
                where = f"{named(place)} has had no worker for {patience_s:g} s"
                raise InputError(f"{where}; {_remedy(place)}") from error


def probe(client: "Client", module: str, place: Place, patience_s: float, tend: Tend = str) -> None:
    """See that there is a worker, and that all of them can import the project.

    Raises:
        InputError: There is none, or one cannot.
    """
    where = named(place)
    _wait(client, place, patience_s, tend)
    try:
        client.run(_import, module)
        if place is not None:
            peers.refuse_others(client.run(peers.here), where)
        client.submit(_import, module, pure=False).result(timeout=patience_s)  # the scheduler unpacks what it hands on
    except InputError:
        raise
    except TimeoutError:
        return  # all workers are busy with somebody else's work, which is no fault
    except OSError as error:  # of the connection, dask's CommClosedError among them
        raise lost(place) from error
    except Exception as error:  # whatever importing raises there
        raise InputError(
            f"{where} or a worker of it cannot import the project ({first_line(error)}): start both with PYTHONPATH "
            "set to the checkout, in an environment with its requirements"
        ) from error


def named(place: Place) -> str:
    """Return what to call a scheduler."""
    if isinstance(place, Path):
        return f"the dask scheduler for Slurm's jobs by {place}"
    return f"the dask scheduler at {place}" if place else "the local dask scheduler"


def _remedy(place: Place) -> str:
    if isinstance(place, Path):
        return "squeue says what its jobs wait for: give a longer `wait` there, or ask for less"
    return "start some: dask worker --scheduler-file FILE --nthreads 1" if place else ALONE


def lost(place: Place) -> InputError:
    """Return the error of a scheduler that is gone."""
    return InputError(f"{named(place)} was lost; what is finished is kept, the same command goes on from there")


def _import(module: str) -> None:
    __import__(module)


def first_line(error: BaseException) -> str:
    """Return the first line of what an error says, or its kind."""
    return (str(error).splitlines() or [type(error).__name__])[0]
