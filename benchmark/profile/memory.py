"""The most memory that something took: on CUDA by the allocator's own count, elsewhere what the process grew by."""

import ctypes
import gc
import os
import re
from pathlib import Path

import torch

_SELF = Path("/proc/self")
_RESET_PEAK = "5"  # see proc(5)


class MemoryPeak:
    """The most that was taken since this was made.

    On CUDA that is what torch allocated, whatever it was before; elsewhere it is the growth of the process's resident
    memory, which misses what fits into memory that the process had freed and kept.
    """

    def __init__(self, device: torch.device) -> None:
        self.device = device
        self._before: int | None = None
        gc.collect()
        _give_back()
        if device.type == "cuda":
            torch.cuda.reset_peak_memory_stats(device)
            return
        try:
            (_SELF / "clear_refs").write_text(_RESET_PEAK)
            self._before = _resident("VmRSS")
        except OSError:  # no Linux, or one that forbids it: nothing is known
            return

    def bytes(self) -> int | None:
        """Return it; None where it cannot be told."""
        if self.device.type == "cuda":
            return int(torch.cuda.max_memory_allocated(self.device))
        return None if self._before is None else max(0, _resident("VmHWM") - self._before)


def _give_back() -> None:
    """Give freed memory back to the system where the C library can (glibc), so that the next to need some grows."""
    trim = getattr(ctypes.CDLL(None), "malloc_trim", None) if os.name == "posix" else None
    if trim is not None:
        trim(0)


def _resident(name: str) -> int:
    found = re.search(rf"{name}:\s*(\d+) kB", (_SELF / "status").read_text())
    return int(found[1]) * 1024 if found else 0
