"""Mean ranks of methods, and how far apart they must be: Friedman's test and Nemenyi's critical difference.

Demsar, Statistical comparisons of classifiers over multiple data sets, Journal of Machine Learning Research 7, 2006.
His blocks are independent data sets. Folds of one cohort are not: they share training data, and a method that happens
to suit the cohort suits all its folds. On simulated folds of five equal methods, correlated as Nadeau and Bengio
assume, his tests at 5% find a difference in 28% of all cohorts (Friedman) and 21% (Nemenyi), after five repeats of
the cross-validation in 81% and 79%. So n folds count here as n / (1 + (n - 1) rho) blocks, the design effect of a
correlation rho = n_test / (n_test + n_train): then both reject in at most 1.2%. That leaves little that five folds
can show, and the figure says so. Folds of several label sets hold the same patients and are more alike than that:
rank one label set at a time.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float
from scipy.special import fdtrc


@dataclass(frozen=True, eq=False)
class Ranking:
    """What a mean-rank figure shows.

    Attributes:
        mean_ranks: Of each method, as given; 1 is best in every block.
        blocks: How many blocks they are means of.
        p_value: Of Friedman's test, that all methods rank alike; NaN below two blocks or two methods.
        critical_difference: Nemenyi's; NaN likewise. One above k - 1 no k methods can reach.
        groups: Methods that are no critical difference apart: indices, best first. Of the largest groups only, and of
            two methods or more.
    """

    mean_ranks: Float[np.ndarray, " methods"]
    blocks: int
    p_value: float
    critical_difference: float
    groups: tuple[tuple[int, ...], ...]


def ranking(scores: Float[np.ndarray, "blocks methods"], test_over_train: float, alpha: float = 0.05) -> Ranking:
    """Rank methods in each block and compare their mean ranks.

    Args:
        scores: Higher is better; a block is a fold, its seeds averaged.
        test_over_train: Size of a test fold over that of its training set; zero where blocks are independent data
            sets, and then all is as in Demsar's paper.
        alpha: Of the critical difference, over all pairs of methods together.

    Raises:
        ValueError: If a score is missing: a mean rank over fewer blocks, or among fewer methods, is another scale.
    """
    blocks, methods = scores.shape
    ranks = ranks_of(scores)
    means = ranks.mean(axis=0) if blocks else np.full(methods, np.nan)
    effective = effective_blocks(blocks, test_over_train)
    distance = critical_difference(methods, effective, alpha) if blocks > 1 else math.nan
    return Ranking(means, blocks, friedman(ranks, effective)[1], distance, groups(means.tolist(), distance))


def effective_blocks(blocks: int, test_over_train: float) -> float:
    """Return how many independent blocks so many folds of one cohort are worth.

    >>> round(effective_blocks(5, test_over_train=1 / 4), 2), round(effective_blocks(500, test_over_train=1 / 4), 2)
    (2.78, 4.96)
    """
    return blocks / (1 + (blocks - 1) * test_over_train / (1 + test_over_train))


def ranks_of(scores: Float[np.ndarray, "blocks methods"]) -> Float[np.ndarray, "blocks methods"]:
    """Return each method's rank within each block: 1 for the highest score, equal scores sharing their mean rank.

    Raises:
        ValueError: If a score is NaN.

    >>> ranks_of(np.array([[0.9, 0.8, 0.9], [0.1, 0.2, 0.3]]))
    array([[1.5, 3. , 1.5],
           [3. , 2. , 1. ]])
    """
    if np.isnan(scores).any():
        raise ValueError("a method without a score in some block cannot be ranked: leave the block or the method out")
    from scipy.stats import rankdata  # here: it takes a second that a finished run need not wait for

    return np.asarray(rankdata(-scores, axis=1), dtype=float)


def friedman(ranks: Float[np.ndarray, "blocks methods"], effective: float) -> tuple[float, float]:
    """Return Friedman's chi-squared, corrected for ties, and the p-value of Iman and Davenport's F made from it.

    chi2 = (k - 1) sum_j (R_j - n (k + 1) / 2)^2 / (sum_ij r_ij^2 - n k (k + 1)^2 / 4) for n blocks, k methods and rank
    sums R_j, times effective / n; F = (n - 1) chi2 / (n (k - 1) - chi2) with k - 1 and (k - 1)(n - 1) degrees of
    freedom (Demsar's equation 9), as chi-squared itself is too cautious for few blocks. NaN below two blocks or
    methods.
    """
    n, k = ranks.shape
    if n < 2 or k < 2:
        return math.nan, math.nan
    spread = float((ranks**2).sum()) - n * k * (k + 1) ** 2 / 4
    if spread == 0:  # ties throughout
        return 0.0, 1.0
    chi2 = effective / n * (k - 1) * float(((ranks.sum(axis=0) - n * (k + 1) / 2) ** 2).sum()) / spread
    left = n * (k - 1) - chi2
    if left <= 1e-12 * chi2:  # every block ranks alike
        return chi2, 0.0
    return chi2, float(fdtrc(k - 1, (k - 1) * (n - 1), (n - 1) * chi2 / left))


def critical_difference(methods: int, blocks: float, alpha: float = 0.05) -> float:
    """Return Nemenyi's critical difference of mean ranks, q sqrt(k (k + 1) / 6 n); NaN below two methods.

    q is the upper quantile of the studentised range of k means, with infinite degrees of freedom, over sqrt 2.

    >>> round(critical_difference(methods=4, blocks=14.0), 2)
    1.25
    """
    if methods < 2:
        return math.nan
    from scipy.stats import studentized_range

    q = float(studentized_range.isf(alpha, methods, np.inf)) / math.sqrt(2)
    return q * math.sqrt(methods * (methods + 1) / (6 * blocks))


def groups(mean_ranks: Sequence[float], critical: float) -> tuple[tuple[int, ...], ...]:
    """Return the largest groups of methods whose mean ranks differ by less than the critical difference.

    >>> groups([2.0, 1.0, 3.5, 2.5], critical=1.6)
    ((1, 0, 3), (0, 3, 2))
    """
    order = sorted(range(len(mean_ranks)), key=mean_ranks.__getitem__)
    found: list[tuple[int, ...]] = []
    reached = 0
    for start, best in enumerate(order):
        near = [method for method in order[start:] if mean_ranks[method] - mean_ranks[best] < critical]
        if start + len(near) > reached:  # it holds a method that no earlier group does
            reached = start + len(near)
            found.append(tuple(near))
    return tuple(group for group in found if len(group) > 1)
