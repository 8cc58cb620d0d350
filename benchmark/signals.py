"""Signals that end a command: Ctrl-C, SIGTERM, a lost terminal, and the warnings of batch systems (Slurm's --signal).

The first raises KeyboardInterrupt wherever the command is, so that every `finally` on the way cleans up behind it. A
second, or ten seconds, end the process at once, its worker processes with it.
"""

import multiprocessing
import os
import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from multiprocessing import resource_tracker
from pathlib import Path
from types import FrameType

STOPPED = 130  # exit status, whichever signal it was
_NAMES = ("SIGINT", "SIGTERM", "SIGHUP", "SIGUSR1", "SIGUSR2", "SIGBREAK")  # Windows has the first two and the last
_KEPT_FROM_WORKERS = ("SIGINT", "SIGHUP", "SIGUSR1", "SIGUSR2")  # a terminal and Slurm send them to every process
_GRACE_S = 8.0
_stopped = threading.Event()


@contextmanager
def stoppable() -> Iterator[None]:
    """Let signals end the block with KeyboardInterrupt, and a second one the process; only in the main thread.

    A signal that the caller ignores (as `nohup` does with SIGHUP) stays ignored.
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    last = threading.Timer(_GRACE_S, end)
    last.daemon = True

    def stop(number: int, frame: FrameType | None) -> None:
        if _stopped.is_set():
            end()
        _stopped.set()
        last.start()
        raise KeyboardInterrupt

    known = [getattr(signal, name) for name in _NAMES if hasattr(signal, name)]
    before = {one: signal.getsignal(one) for one in known}
    heard = [one for one, handler in before.items() if handler is not signal.SIG_IGN]
    for one in heard:
        signal.signal(one, stop)
    try:
        yield
    finally:
        if not _stopped.is_set():  # else the process is about to end, and both still hold
            for one in heard:
                signal.signal(one, before[one] or signal.SIG_DFL)


@contextmanager
def kept_from_children() -> Iterator[None]:
    """Let processes that are started in the block not hear the signals of a terminal: this one tells them when to end.

    Here they wait until the block is left.
    """
    if not hasattr(signal, "pthread_sigmask"):
        yield
        return
    resource_tracker.ensure_running()  # a process of its own, whose start would let signals through again
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {getattr(signal, name) for name in _KEPT_FROM_WORKERS})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def end_if_stopped() -> None:
    """End this process if a signal asked for it: what Python does at an exit takes seconds, and nothing needs it."""
    if _stopped.is_set():
        end()


def end() -> None:
    """End this process and those that it started, now."""
    for started in Path("/proc/self/task").glob("*/children"):
        with suppress(OSError):  # a thread or a process that ended meanwhile
            for pid in started.read_text().split():
                os.kill(int(pid), signal.SIGTERM)  # what a thread is just starting, and would complain of half a start
    for child in multiprocessing.active_children():
        child.kill()
    os._exit(STOPPED)
