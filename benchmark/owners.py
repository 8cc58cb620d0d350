"""Whose something is: what tells a process from all that there ever were, so that what the dead left can be removed."""

import hashlib
import os
import socket
from contextlib import suppress
from functools import cache
from pathlib import Path

_UNTOLD = "untold"


@cache
def host() -> str:
    """Return a name of this machine, as long as it runs, and of the container whose process numbers these are."""
    known = [socket.gethostname()]
    with suppress(OSError):
        known.append(Path("/proc/sys/kernel/random/boot_id").read_text().strip())
        known.append(os.readlink("/proc/self/ns/pid"))
    return " ".join(known)


def started(pid: int) -> str:
    """Return when a process of this machine started, in the kernel's ticks; empty if it is none, or is dead.

    Without /proc it is one word for every process that there may be.
    """
    if not Path("/proc/self/stat").exists():
        return _UNTOLD if os.name != "posix" or _answers(pid) else ""
    try:
        after_name = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except OSError:
        return ""
    return "" if after_name[0] in "ZX" else after_name[19]  # a zombie is dead, only not yet buried


def mark() -> str:
    """Return this process as a word that names of files can hold."""
    return f"{_short(host())}-{os.getpid()}-{started(os.getpid())}"


def is_of_the_dead(mark: str) -> bool:
    """Say whether a word is the mark of a process of this machine that is dead; of others nothing is known."""
    match mark.split("-"):
        case [where, pid, when] if where == _short(host()) and pid.isdecimal():
            return started(int(pid)) != when
    return False


def _short(name: str) -> str:
    return hashlib.sha256(name.encode()).hexdigest()[:8]


def _answers(pid: int) -> bool:
    try:
        os.kill(pid, 0)  # nothing is sent
    except ProcessLookupError:
        return False
    except PermissionError:  # somebody else's
        return True
    return True
