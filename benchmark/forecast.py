"""How long a set of fits will take, before and while they are made."""

import heapq
from dataclasses import dataclass

_OWN_PACE = 0.1  # the share of the work from which on it tells the time left itself


@dataclass(frozen=True)
class Forecast:
    """How long fits will take.

    Attributes:
        seconds: Of each, in the order in which they begin.
        workers: Processes that make them.
        start_s: Before the first begins.
    """

    seconds: tuple[float, ...]
    workers: int
    start_s: float = 0.0

    @property
    def total_s(self) -> float:
        """From start to end, where a worker that is free begins the next.

        >>> Forecast((4.0, 2.0, 2.0, 4.0), workers=2, start_s=1.0).total_s
        9.0
        """
        free = [0.0] * max(1, min(self.workers, len(self.seconds)))
        for seconds in self.seconds:
            heapq.heapreplace(free, free[0] + seconds)
        return self.start_s + max(free)

    def left_s(self, done: int, elapsed_s: float) -> float:
        """Return the time left when so many are done: what was foretold, until a tenth of the work tells its own pace.

        >>> forecast = Forecast((1.0,) * 10, workers=1)
        >>> forecast.left_s(0, 4.0), forecast.left_s(5, 20.0)
        (6.0, 20.0)
        """
        share = sum(self.seconds[:done]) / (sum(self.seconds) or 1.0)
        if share < _OWN_PACE:
            return max(0.0, self.total_s - elapsed_s)
        return elapsed_s * (1 - share) / share


def duration(seconds: float) -> str:
    """Return a time as a person says it.

    >>> [duration(s) for s in (30.0, 90.0, 5400.0, 100000.0)]
    ['1 min', '2 min', '1 h 30 min', '27 h 47 min']
    """
    minutes = max(1, round(seconds / 60))
    return f"{minutes} min" if minutes < 60 else f"{minutes // 60} h {minutes % 60} min"
