"""What is installed of torch, without importing it: that takes seconds and half a gigabyte, for one line of a plan."""

import ctypes
import importlib.util
import runpy
import sys
from functools import cache
from pathlib import Path

_DRIVERS = ("libcuda.so.1", "nvcuda.dll")  # of NVIDIA's cards, as torch looks for them on Linux and on Windows


@cache
def _said() -> dict[str, object]:
    """Return what torch's own file of versions says, which imports nothing of it."""
    found = importlib.util.find_spec("torch")
    assert found is not None and found.origin is not None  # requirements.txt
    return runpy.run_path(str(Path(found.origin).with_name("version.py")))


def version() -> str:
    """Return the version as torch has it: with the kind of build behind a plus, which package metadata may lack."""
    return str(_said()["__version__"])


def may_have_cards() -> bool:
    """Return whether torch may see more than the processor here, so that it is worth asking.

    A build for NVIDIA's cards sees none where their driver is not installed; of other kinds torch itself must tell.
    """
    if sys.platform == "darwin" or _said().get("hip"):
        return True
    return bool(_said().get("cuda")) and any(map(_loads, _DRIVERS))


def _loads(library: str) -> bool:
    try:
        ctypes.CDLL(library)
    except OSError:
        return False
    return True
