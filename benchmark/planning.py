"""How many folds and seeds it would take to find a wanted difference, judged by the spread of a finished run.

The model behind Nadeau and Bengio's correction, with seeds. In fold i, trained with seed s, two methods differ by

    d_is = delta + c + b_i + e_is,    c ~ N(0, q tau^2),    b_i ~ N(0, tau^2),    e_is ~ N(0, omega^2),

where q = n_test / n_train. More seeds average e away and more folds b as well. But c is this cohort's own, common to
all its folds, however often they are dealt anew: Var(mean) = q tau^2 + tau^2 / n + omega^2 / (n S) for n folds of S
seeds. So there are differences that no number of trainings on this cohort will show, only a larger cohort.

The test knows one variance, s^2 with expectation v = tau^2 + omega^2 / S, and takes (1/n + q) s^2 for Var(mean), the
seeds' part widened with the rest. Under the model mean and s^2 are independent, and (n - 1) s^2 / v is chi-squared:
the power is that of a noncentral t, here integrated to 0.0001. But tau comes from the few folds of one run: from five,
the 95% interval of a variance reaches from 0.36 to 8.3 times its estimate. What comes out is an order of magnitude.
"""

import bisect
import math
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float
from scipy.special import gammaincinv, ndtr, ndtri, stdtrit

_MOST = 1000  # repeats, or seeds; nobody trains more
_MIDDLES = (np.arange(500) + 0.5) / 500  # of slices of equal probability; scipy's nctdtr is NaN far from the middle


@dataclass(frozen=True)
class Spread:
    """What the differences between two methods vary by.

    Attributes:
        test_over_train: Size of a test fold over that of its training set; 1/4 for five folds.
        fold_std: tau: of the folds themselves, without their seeds.
        seed_std: omega: between trainings on one fold, of the difference.
    """

    test_over_train: float
    fold_std: float
    seed_std: float = 0.0

    @classmethod
    def of(
        cls, differences: Float[np.ndarray, "... folds"], test_over_train: float, seed_std: float = 0.0, seeds: int = 1
    ) -> "Spread":
        """Estimate it from a run: tau^2 is the folds' sample variance less what their seeds explain, at least zero.

        Args:
            differences: One method's score less another's: a value a fold, its seeds averaged; two folds or more. Of
                several methods, one below another, variances are averaged: steadier, if they are of a size.
            test_over_train: Size of a test fold over that of its training set.
            seed_std: Of the difference, between trainings: sqrt(a^2 + b^2) for two `Score.seed_std`; of several
                methods their root mean square. Zero, where it is unknown (one seed), leaves all to the folds: then
                more seeds promise nothing.
            seeds: How many are averaged in each difference.

        Raises:
            ValueError: If there are fewer than two folds, or a value is not finite.
        """
        if differences.shape[-1] < 2 or not np.isfinite(differences).all() or not math.isfinite(seed_std):
            raise ValueError("how folds vary is known from two folds or more, each with a finite difference")
        folds = float(np.var(differences, axis=-1, ddof=1).mean()) - seed_std**2 / seeds
        return cls(test_over_train, math.sqrt(max(0.0, folds)), seed_std)

    def power(self, wanted: float, folds: int | float, seeds: int | float, alpha: float = 0.05) -> float:
        """Return the probability that the corrected t-test finds a true difference, with its sign.

        Args:
            wanted: The true difference, above zero.
            folds: Over all repeats; `math.inf` is allowed.
            seeds: Of each fold; `math.inf` is allowed.
            alpha: Of the two-sided test; alpha / m for Holm's first step among m methods.
        """
        if folds < 2:
            return 0.0
        true, tested = self._errors(folds, seeds)
        if true == 0:
            return float(wanted > (ndtri(1 - alpha / 2) * tested if math.isinf(folds) else 0))
        if math.isinf(folds):
            return float(ndtr((wanted - ndtri(1 - alpha / 2) * tested) / true))
        freedom = folds - 1
        drawn = np.sqrt(2 * gammaincinv(freedom / 2, _MIDDLES) / freedom)  # s over its expectation: chi, by quantiles
        return float(ndtr((wanted - stdtrit(freedom, 1 - alpha / 2) * tested * drawn) / true).mean())

    def repeats_needed(
        self, wanted: float = 0.02, folds: int = 5, seeds: int = 1, alpha: float = 0.05, power: float = 0.8
    ) -> int | None:
        """Return how many times a cross-validation of so many folds must be made; None where 1,000 are too few."""
        return _first(lambda repeats: self.power(wanted, repeats * folds, seeds, alpha) >= power)

    def seeds_needed(self, wanted: float = 0.02, folds: int = 5, alpha: float = 0.05, power: float = 0.8) -> int | None:
        """Return how many seeds each of so many folds (over all repeats) needs; None where 1,000 are too few."""
        return _first(lambda seeds: self.power(wanted, folds, seeds, alpha) >= power)

    def fewest_trainings(
        self, wanted: float = 0.02, folds: int = 5, alpha: float = 0.05, power: float = 0.8, most_seeds: int = 20
    ) -> tuple[int, int] | None:
        """Return the repeats, and seeds of each fold, that take the fewest trainings; None where nothing suffices."""
        found = ((self.repeats_needed(wanted, folds, seeds, alpha, power), seeds) for seeds in range(1, most_seeds + 1))
        pairs = [(repeats, seeds) for repeats, seeds in found if repeats is not None]
        return min(pairs, key=math.prod, default=None)

    def smallest_ever(self, alpha: float = 0.05, power: float = 0.8) -> float:
        """Return the difference that this cohort shows with endless folds and seeds, and below which never.

        sqrt(q) tau (z(1 - alpha / 2) + z(power)): what only a larger cohort lowers.

        >>> round(Spread(test_over_train=0.25, fold_std=0.02).smallest_ever(), 4)
        0.028
        """
        return float(math.sqrt(self.test_over_train) * self.fold_std * (ndtri(1 - alpha / 2) + ndtri(power)))

    def _errors(self, folds: int | float, seeds: int | float) -> tuple[float, float]:
        """Return the mean difference's standard error: the true one, and what the test expects."""
        fold, seed = self.fold_std**2, self.seed_std**2 / seeds
        widened = 1 / folds + self.test_over_train
        return math.sqrt(widened * fold + seed / folds), math.sqrt(widened * (fold + seed))


def _first(enough: Callable[[int], bool]) -> int | None:
    """Return the least number from one on that is enough, given that more is enough too; None if none is."""
    numbers = range(1, _MOST + 1)
    return bisect.bisect_left(numbers, True, key=enough) + 1 if enough(_MOST) else None
