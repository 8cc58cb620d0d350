"""Which device a process works on, and whether it still answers.

A CUDA error ends the context of the process that met it, so nothing more can be computed there, while another process
may well go on with the same card. A card that is gone answers no new process either.
"""

import re
import zlib
from collections.abc import Callable

import torch

from benchmark.contracts import InputError
from benchmark.dispatch import Unfit
from benchmark.memory import ran_out

_ANSWERED: set[str] = set()  # devices that this process has worked on


def worker_device(device: str) -> str:
    """Return the device that the worker around this call uses: GPUs are dealt out in turn, by the workers' names.

    With more workers than GPUs, several share one. `"auto"` is CUDA where this machine has it, else the CPU.
    """
    if device == "auto":
        device = "cuda" if torch.cuda.is_available() else "cpu"
    count = torch.cuda.device_count() if device == "cuda" else 1
    if count < 2:
        return device
    from distributed import get_worker

    try:
        return f"cuda:{turn_of(get_worker().name) % count}"
    except ValueError:  # not in a worker
        return device


def here() -> str:
    """Return the address of the worker around this call; empty where there is none."""
    from distributed import get_worker

    try:
        return str(get_worker().address)
    except ValueError:
        return ""


def turn_of(name: object) -> int:
    """Return a worker's turn in sharing out: the number that its name is or ends in, else one made from its name.

    >>> [turn_of(name) for name in (0, 1, "2", "slurm-3")]
    [0, 1, 2, 3]
    """
    number = re.search(r"\d+$", str(name))
    return int(number[0]) if number else zlib.crc32(str(name).encode())


def touch(device: torch.device) -> None:
    """Compute a number there, and make it the process's own device."""
    if device.type == "cuda" and device.index is not None:
        torch.cuda.set_device(device)
    torch.ones(1, device=device).add_(1).item()


def answering(device: torch.device, touch: Callable[[torch.device], None] = touch) -> torch.device:
    """Return the device if it answers this process.

    Raises:
        Unfit: It does not answer this worker. Where it has answered before, an error of an earlier fit may have lost
            it to this process alone, so another can take its place.
        InputError: It does not answer this process, which is no worker.
    """
    try:
        touch(device)
    except RuntimeError as error:  # torch.AcceleratorError among them
        if ran_out(error):  # full, but there
            return device
        reason = f"the device {device} does not answer ({(str(error).splitlines() or [''])[0]})"
        worker = here()
        if not worker:
            raise InputError(f"{reason}; what is finished is kept, the same command goes on from there") from error
        raise Unfit(reason, worker, replaceable=str(device) in _ANSWERED) from error
    _ANSWERED.add(str(device))
    return device
