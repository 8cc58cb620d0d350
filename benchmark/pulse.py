"""The pulse of a fit: whoever makes batches tells that it goes on, and whoever watches listens.

Between two beats lies a training step, or the prediction of a batch; what has no beat for minutes hangs.
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager

_listeners: list[Callable[[], None]] = []


def beat() -> None:
    """Tell whoever listens that this process goes on; costs nothing where nobody does."""
    for listener in _listeners:
        listener()


@contextmanager
def heard_by(listener: Callable[[], None]) -> Iterator[None]:
    """Call a function at every beat of this process while the block runs."""
    _listeners.append(listener)
    try:
        yield
    finally:
        _listeners.remove(listener)
