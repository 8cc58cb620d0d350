"""A figure with its interval, and both in print."""

import math
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float

from benchmark.bootstrap import interval


@dataclass(frozen=True)
class Interval:
    """A figure and its 95 % interval; NaN where it is not defined.

    Attributes:
        value: On all nodules.
        low: Lower end.
        high: Upper end.
    """

    value: float
    low: float = math.nan
    high: float = math.nan

    @classmethod
    def of(cls, value: float, replicates: Float[np.ndarray, " replicates"]) -> "Interval":
        """Return a figure with the percentile interval of its replicates (see `bootstrap.interval`).

        >>> Interval.of(0.5, np.linspace(0, 1, 1001))
        Interval(value=0.5, low=0.025, high=0.975)
        """
        return cls(float(value), *interval(replicates))

    def text(self, form: str = ".2f", times: int = 1) -> str:
        """Return `value (low to high)`, and a dash where there is no value or no interval.

        >>> Interval(0.496, 0.4801, 0.5123).text(".1f", 100)
        '49.6 (48.0 to 51.2)'
        >>> Interval(0.1, -0.004, 0.2).text(".1f")
        '0.1 (0.0 to 0.2)'
        >>> Interval(0.5, math.nan, math.nan).text(), Interval(math.nan, math.nan, math.nan).text()
        ('0.50 (-)', '-')
        """
        if math.isnan(self.value):
            return "-"
        unsigned = form.replace(".", "z.", 1)  # no minus before a zero
        value, low, high = (f"{times * number:{unsigned}}" for number in (self.value, self.low, self.high))
        return f"{value} ({'-' if math.isnan(self.low) else f'{low} to {high}'})"
