"""Patients drawn anew: intervals and comparisons of pooled predictions.

Nodules of a patient are alike, so patients are drawn, with replacement and with all their nodules: the cluster
bootstrap (Davison and Hinkley, Bootstrap Methods and their Application, 1997, section 3.8). It speaks of these fitted
models on other patients like these. It does not speak of new trainings: how far another seed or another training set
would move a model it cannot see, so a difference that it finds may be one of two fits and not of two methods.
"""

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float, Int, Shaped

_DRAWS_AT_ONCE = 2**18  # some 2 MB: memory does not grow with replicates, and the processor's cache holds them


def patient_weights(
    patient_ids: Sequence[str] | Shaped[np.ndarray, " nodules"], replicates: int, seed: int
) -> Int[np.ndarray, "replicates nodules"]:
    """Return how often each nodule is drawn, where as many patients are drawn as there are, with replacement.

    Args:
        patient_ids: Whose each nodule is. The draws hang on the set of ids alone, not on the nodules' order.
        replicates: How many times all patients are drawn.
        seed: The same seed gives the same draws.

    >>> patient_weights(["p1", "p2", "p1"], replicates=2, seed=0)
    array([[0, 2, 0],
           [1, 1, 1]], dtype=int32)
    """
    patients, patient_of = np.unique(np.asarray(patient_ids), return_inverse=True)
    weights = np.empty((replicates, len(patient_of)), np.int32)
    done = 0
    for drawn in _draws(len(patients), replicates, seed):
        weights[done : done + len(drawn)] = drawn[:, patient_of]
        done += len(drawn)
    return weights


def _draws(patients: int, replicates: int, seed: int) -> Iterator[Int[np.ndarray, "block patients"]]:
    """Yield how often each patient is drawn, some replicates at a time."""
    rng = np.random.default_rng(seed)
    block = max(1, _DRAWS_AT_ONCE // max(1, patients))
    for start in range(0, replicates, block):
        rows = min(block, replicates - start)
        drawn = rng.integers(patients, size=(rows, patients)) + patients * np.arange(rows)[:, None]
        yield np.bincount(drawn.ravel(), minlength=rows * patients).reshape(rows, patients)


def interval(statistic_values: Float[np.ndarray, " replicates"], level: float = 0.95) -> tuple[float, float]:
    """Return the percentile interval of any statistic, from its values over replicates.

    At 95% it covered 93.4% (30 patients of LIDC's sizes) and 94.2% (100): a little narrow where patients are few.

    A replicate in which the statistic is undefined (NaN: a class was not drawn) counts as beyond either end. So a few
    widen the interval, and where they are too many for the level an end is NaN.

    >>> interval(np.arange(1001.0))
    (25.0, 975.0)
    """
    tail = round((1 - level) / 2, 12)  # 0.05, not a rounding below it, which would be one value further out
    unknown = np.isnan(statistic_values)
    low = np.quantile(np.where(unknown, -np.inf, statistic_values), tail, method="lower")
    high = np.quantile(np.where(unknown, np.inf, statistic_values), 1 - tail, method="higher")
    return float(low if np.isfinite(low) else np.nan), float(high if np.isfinite(high) else np.nan)


@dataclass(frozen=True)
class PairedBootstrap:
    """How two rows differ on the same nodules, as fractions. Its values speak of one test.

    Attributes:
        difference: Pooled accuracy of the first row less that of the second.
        low: Lower end of the interval, which leaves zero out just where `p_value <= alpha`.
        high: Upper end.
        p_value: Two-sided, before Holm's adjustment.
        smallest_detectable: What the difference had to exceed in Holm's first step, at alpha / comparisons.
    """

    difference: float
    low: float
    high: float
    p_value: float
    smallest_detectable: float


def paired_bootstrap(
    right_a: Shaped[np.ndarray, "... nodules"],
    right_b: Shaped[np.ndarray, "... nodules"],
    patient_ids: Sequence[str] | Shaped[np.ndarray, " nodules"],
    *,
    comparisons: int = 1,
    alpha: float = 0.05,
    replicates: int = 5000,
    seed: int = 0,
) -> PairedBootstrap:
    """Compare two rows' pooled predictions by drawing patients anew.

    The difference is a ratio: the sum over patients, over how many nodules they have. Each replicate's distance from
    it is divided by the replicate's own standard error, and the interval is symmetric: the studentised bootstrap
    (Hall, On symmetric bootstrap confidence intervals, Journal of the Royal Statistical Society B 50, 1988). With 30
    patients of LIDC's sizes its intervals covered 94.6% where the percentile's covered 93.4, BCa's 92.4 and the
    symmetric one without standard errors 92.6 (2,000 simulations, nominal 95).

    Where every patient differs alike (one patient; rows equal on all nodules) draws tell nothing of a spread: interval
    and smallest detectable difference are NaN, and so is the p-value unless the difference is zero.

    Args:
        right_a: Whether the first row is right, 0 or 1, per nodule or per seed and nodule; seeds are averaged.
        right_b: The same of the second row; it may have another number of seeds.
        patient_ids: Whose each nodule is.
        comparisons: How many p-values Holm's adjustment will take together.
        alpha: Of the test; the interval's level is 1 - alpha.
        replicates: How many draws; no p-value is below 1 / (replicates + 1).
        seed: Of the draws; comparisons under one seed see the same draws.

    Raises:
        ValueError: If there is no nodule, or so few replicates cannot reach alpha / comparisons.

    >>> rows = np.array([[1, 1, 0, 1], [1, 0, 0, 0]])
    >>> paired_bootstrap(rows[0], rows[1], ["p1", "p2", "p3", "p4"]).difference
    0.5
    """
    if not len(patient_ids):
        raise ValueError("there is no nodule on which to compare the two rows")
    delta = _over_seeds(right_a) - _over_seeds(right_b)
    patients, patient_of = np.unique(np.asarray(patient_ids), return_inverse=True)
    gain, nodules = np.bincount(patient_of, delta), np.bincount(patient_of)
    table = np.stack([gain, nodules, gain**2, gain * nodules, nodules**2], axis=1)
    (difference,), (error,) = _ratio_and_error(table.sum(axis=0, keepdims=True))
    if error == 0:
        return PairedBootstrap(float(difference), math.nan, math.nan, math.nan if difference else 1.0, math.nan)
    sums = np.concatenate([drawn @ table for drawn in _draws(len(patients), replicates, seed)])
    drawn_difference, drawn_error = _ratio_and_error(sums)
    distances = _in_errors(drawn_difference - difference, drawn_error)
    half = _exceeded_by_few(distances, alpha) * error
    return PairedBootstrap(
        difference=float(difference),
        low=max(-1.0, float(difference - half)),
        high=min(1.0, float(difference + half)),
        p_value=float(1 + (distances >= abs(difference) / error).sum()) / (replicates + 1),
        smallest_detectable=min(1.0, float(_exceeded_by_few(distances, alpha / comparisons) * error)),
    )


def _over_seeds(right: Shaped[np.ndarray, "... nodules"]) -> Float[np.ndarray, " nodules"]:
    averaged: Float[np.ndarray, " nodules"] = right.reshape(-1, right.shape[-1]).mean(axis=0, dtype=float)
    return averaged


def _ratio_and_error(
    sums: Float[np.ndarray, "replicates 5"],
) -> tuple[Float[np.ndarray, " replicates"], Float[np.ndarray, " replicates"]]:
    """Return the ratio r of sums over patients, and its standard error by linearisation.

    Args:
        sums: Of gains g, of nodules n, of g^2, g n and n^2; the error is sqrt(sum of (g - r n)^2) / sum of n.
    """
    gain, nodules, gain2, gain_nodules, nodules2 = sums.T
    ratio = gain / nodules
    square = gain2 - 2 * ratio * gain_nodules + ratio**2 * nodules2
    return ratio, np.sqrt(np.where(square > 1e-12 * gain2, square, 0)) / nodules  # what is left of rounding is zero


def _in_errors(
    distance: Float[np.ndarray, " replicates"], error: Float[np.ndarray, " replicates"]
) -> Float[np.ndarray, " replicates"]:
    """Return distances in standard errors; infinite where a replicate differs without any spread: the cautious side."""
    apart = np.abs(distance) > 1e-12
    distances = np.where(apart, np.inf, 0.0)
    np.divide(np.abs(distance), error, out=distances, where=apart & (error > 0))
    return distances


def _exceeded_by_few(distances: Float[np.ndarray, " replicates"], alpha: float) -> float:
    """Return what a distance must exceed for a p-value of at most alpha."""
    allowed = math.floor(alpha * (len(distances) + 1) + 1e-9) - 1
    if allowed < 0:
        raise ValueError(f"{len(distances)} replicates reach no p-value of {alpha:.2g}: take {math.ceil(1 / alpha)}")
    return float(np.sort(distances)[len(distances) - 1 - allowed])
