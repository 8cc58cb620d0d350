"""Which process makes which fit, as its claim says."""

import json
import os
import signal
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from zygote import Command


def holders(run: Path, command: Command) -> list[int]:
    """Return those living workers of a command that hold a fit just now."""
    found, claims = [], []
    with suppress(FileNotFoundError):  # the last was given back, and the folder with it
        claims = [*(run / "claims").glob("*.json")]
    for file in claims:
        with suppress(OSError, ValueError):  # it was given back meanwhile
            found.append(json.loads(file.read_text())["pid"])
    return [pid for pid in found if pid != command.pid and pid in command.processes()]


@contextmanager
def held_fast(run: Path, command: Command) -> Iterator[int]:
    """Wait for a worker that holds a fit, and let time stand still for it while the block runs.

    Raises:
        ProcessLookupError: The command has ended.
    """
    while True:
        os.kill(command.pid, 0)
        for pid in holders(run, command):
            os.kill(pid, signal.SIGSTOP)
            if pid in holders(run, command):
                try:
                    yield pid
                finally:
                    os.kill(pid, signal.SIGCONT)
                return
            os.kill(pid, signal.SIGCONT)
