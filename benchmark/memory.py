"""What to do when memory runs out: the same again with fewer nodules at once.

From the start, not from the step that failed: so the result depends on how many nodules went at once and on nothing
else, such as the moment at which a neighbour took the memory.
"""

from collections.abc import Callable
from typing import TypeVar

import torch

from benchmark.step import TrainingFailed

Result = TypeVar("Result")

SAID = (  # by allocators whose errors have no type of their own
    "DefaultCPUAllocator: ",
    "CUDA error: out of memory",
    "CUBLAS_STATUS_ALLOC_FAILED",
    "MPS backend out of memory",
)
LEAST = 2  # nodules: losses that compare a batch's nodules, and batch normalisation, have nothing to do with one


def with_less_memory(attempt: Callable[[int | None], Result], batch_size: int, at_once: int | None = None) -> Result:
    """Return what an attempt gives, made anew with half as many nodules at once for as long as memory runs out.

    Args:
        attempt: Given how many nodules to take at once; None is the whole batch.
        batch_size: Of the recipe; each step still sees so many.
        at_once: How many to begin with; None is the whole batch.

    Raises:
        TrainingFailed: Memory runs out with two nodules; the allocator's sentence says what it needed.
        Exception: Whatever else the attempt raises.
    """
    at_once = at_once or batch_size
    while True:
        try:
            return attempt(None if at_once == batch_size else at_once)
        except RuntimeError as error:
            if not ran_out(error):
                raise
            fewer = -(-at_once // 2)
            if fewer < LEAST:
                needed = (str(error).splitlines() or [""])[0]
                raise TrainingFailed(f"out of memory even with {at_once} nodules at once: {needed}") from error
        at_once = fewer
        torch.cuda.empty_cache()  # here, where the error no longer holds what the attempt had; nothing without CUDA


def ran_out(error: BaseException) -> bool:
    """Say whether an error is a lack of memory, the device's or the host's."""
    return isinstance(error, torch.OutOfMemoryError) or any(said in str(error) for said in SAID)
