"""Moments of a command's life, counted in what its processor has done: that goes by no clock, nor by other commands."""

import random
import time
from collections.abc import Sequence
from dataclasses import dataclass

from zygote import Command, Zygote


@dataclass(frozen=True)
class Span:
    """What a command takes of the processor, in seconds.

    Attributes:
        before: Until it trains.
        fit: In the mean.
        after: From the last fit until tables and report are written.
    """

    before: float
    fit: float
    after: float

    @classmethod
    def of(cls, phases: Sequence[tuple[str, float]]) -> "Span":
        """Return that of a command that was not disturbed, from the beginnings of its phases."""
        begins = dict(reversed(phases))
        fits = sum(one == "recording" for one, _ in phases)
        before, trained, end = begins["training"], begins["tables"], begins["ending"]
        return cls(before, (trained - before) / fits, end - trained)

    def moment(self, missing: int, draw: random.Random) -> float:
        """Draw a moment from all the life of a command that has some fits to make."""
        return draw.uniform(0.0, self.before + missing * self.fit + self.after)


def worked(pid: int) -> float:
    """Return what a process has taken of the processor, in seconds.

    Raises:
        OSError: It is gone.
    """
    return time.clock_gettime(~pid << 3 | 2)  # as clock_getcpuclockid(3) makes them


def killed_at(zygote: Zygote, command: Command, moment: float) -> int:
    """Kill a command once it has worked so long; return its exit status, its own if it was done before."""
    while (status := zygote.ended(command)) is None:
        if worked(command.pid) >= moment:
            command.kill()
            return zygote.wait(command)
        time.sleep(0.002)
    return status
