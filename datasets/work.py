"""Work: a `map` in this process or over several, and what a full disk is told as."""

import errno
import multiprocessing
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager
from pathlib import Path
from typing import Protocol, TypeVar, runtime_checkable

from benchmark.contracts import InputError
from benchmark.signals import kept_from_children

AHEAD = 16  # things done or waiting for each worker, so that none is idle while an earlier one takes longer
Given = TypeVar("Given")
Made = TypeVar("Made")


@runtime_checkable
class Progress(Protocol):
    """Takes the number of things done, their total and what else there is to say."""

    def __call__(self, done: int, total: int, now: str = "", /) -> None:
        """Show it."""


@runtime_checkable
class Map(Protocol):
    """`map` over one iterable: results in order, as they come."""

    def __call__(self, function: Callable[[Given], Made], given: Iterable[Given], /) -> Iterator[Made]:
        """Yield what the function makes of each."""
        ...


@contextmanager
def mapping(workers: int) -> Iterator[Map]:
    """Give `map` in this process, or over some worker processes, which start nothing more once the block is left.

    Whatever ends the block early, a signal above all, ends them at once.

    Raises:
        InputError: A worker process died.
    """
    if workers == 1:
        yield map
        return
    pool = ProcessPoolExecutor(workers, mp_context=multiprocessing.get_context("spawn"))

    def mapped(function: Callable[[Given], Made], given: Iterable[Given]) -> Iterator[Made]:
        """Do as `pool.map`, but hold no more results than are soon asked for."""
        begun: deque[Future[Made]] = deque()
        for one in given:
            with kept_from_children():  # a process may be started
                begun.append(pool.submit(function, one))
            if len(begun) > AHEAD * workers:
                yield begun.popleft().result()
        while begun:
            yield begun.popleft().result()

    try:
        yield mapped
    except BrokenProcessPool as error:
        raise InputError("a worker process died, of too little memory perhaps: try again with fewer workers") from error
    except BaseException:
        for process in multiprocessing.active_children():
            process.kill()
        raise
    finally:
        pool.shutdown(cancel_futures=True)


@contextmanager
def room(folder: Path) -> Iterator[None]:
    """Say in a sentence that the disk is full; all that is on it whole is kept.

    Raises:
        InputError: No space is left below the folder.
    """
    try:
        yield
    except OSError as error:
        if is_full(error):
            raise InputError(
                f"no space left below {folder}: make room and run the same command again; it goes on from there"
            ) from error
        raise


def is_full(error: OSError) -> bool:
    """Return whether the system says that a disk, or what a user may have of it, is full."""
    return error.errno in (errno.ENOSPC, errno.EDQUOT)
