"""Whether probabilities mean what they say: proper scores for single nodules, and the calibration error.

Each function gives a number a nodule, so that a bootstrap, which counts nodules by weights, is one matrix product.
"""

import numpy as np
from jaxtyping import Bool, Float, Int

BINS = 15
"""Bins of the calibration error, of equal width over 0 to 1 (Guo et al., ICML 2017)."""


def brier_scores(
    truth: Bool[np.ndarray, "nodules classes"], proba: Float[np.ndarray, "nodules classes"]
) -> Float[np.ndarray, " nodules"]:
    """Return the squared distance of the probabilities from the truth, summed over classes: 0 to 2.

    Brier, Monthly Weather Review 78, 1950; half of it is the usual form for two classes.

    Args:
        truth: The class of each nodule, one True a row; none where its class is not among those that are given.
        proba: Their probabilities.

    >>> brier_scores(np.array([[True, False, False]]), np.array([[0.5, 0.25, 0.25]]))
    array([0.375])
    """
    return np.asarray(((proba - truth) ** 2).sum(axis=1))


def ranked_probability_scores(
    truth: Bool[np.ndarray, "nodules classes"], proba: Float[np.ndarray, "nodules classes"]
) -> Float[np.ndarray, " nodules"]:
    """Return the squared distance of the cumulative probabilities from the truth's, over classes - 1: 0 to 1.

    Epstein, Journal of Applied Meteorology 8, 1969, in the form of Murphy, 1971, normalised. It punishes probability
    the more, the further from the true class it lies; for a certain decision it is the error in ranks over classes - 1.

    >>> ranked_probability_scores(np.array([[True, False, False]]), np.array([[0.5, 0.25, 0.25]]))
    array([0.15625])
    """
    distance = proba.cumsum(axis=1) - truth.cumsum(axis=1)
    return np.asarray((distance[:, :-1] ** 2).sum(axis=1) / (proba.shape[1] - 1))


def bins_of(confidence: Float[np.ndarray, " nodules"]) -> Int[np.ndarray, " nodules"]:
    """Return the bin of each confidence: bin b, from 0, holds those above b / 15 and at most (b + 1) / 15.

    >>> bins_of(np.array([0.0, 0.2, 0.201, 1.0]))
    array([ 0,  2,  3, 14])
    """
    return np.asarray(np.searchsorted(np.arange(1, BINS) / BINS, confidence, side="left"))


def calibration_gaps(
    truth: Bool[np.ndarray, "nodules classes"], proba: Float[np.ndarray, "nodules classes"]
) -> Float[np.ndarray, "nodules bins"]:
    """Return what each nodule adds to the gap of its bin: its top probability, less 1 where that class is right.

    Their mean over nodules is what `expected_calibration_error` takes. It looks at the most probable class (the first
    of equals), whatever the decoder of the row decides.
    """
    top = proba.argmax(axis=1)
    nodules = np.arange(len(proba))
    gaps = np.zeros((len(proba), BINS))
    gaps[nodules, bins_of(proba[nodules, top])] = proba[nodules, top] - truth[nodules, top]
    return gaps


def expected_calibration_error(mean_gaps: Float[np.ndarray, "samples bins"]) -> Float[np.ndarray, " samples"]:
    """Return the expected calibration error, 0 to 1 (Naeini et al., AAAI 2015; Guo et al., ICML 2017).

    That is, over bins, the sum of |mean top probability - accuracy| times the share of the nodules in the bin.

    Args:
        mean_gaps: Of each sample, the mean over nodules of `calibration_gaps`.
    """
    return np.asarray(np.abs(mean_gaps).sum(axis=1))


def calibration_interval(
    errors: Float[np.ndarray, " samples"], distances: Float[np.ndarray, " samples"]
) -> tuple[float, float]:
    """Return a 95% interval of the calibration error, which covers more often rather than less; NaN without samples.

    Absolute values of noise add up, so the error of few nodules is too large and that of their bootstrap samples larger
    still: the plain interval may lie above the number itself and misses the truth most times. Its upper end errs on the
    safe side. For the lower one: by the triangle inequality the error is too large by no more than the summed distance
    of the gaps from the true ones, of which the samples' distance from all nodules' gaps tells the size.

    Args:
        errors: `expected_calibration_error` of each bootstrap sample, after that of all nodules.
        distances: For the same, the summed distance of its mean gaps from those of all nodules.
    """
    if len(errors) < 2:
        return float("nan"), float("nan")
    low = errors[0] - np.quantile(distances[1:], 0.975)
    return float(np.maximum(0.0, low)), float(np.quantile(errors[1:], 0.975))


def calibration_error_by_chance(proba: Float[np.ndarray, "nodules classes"]) -> float:
    """Return the calibration error that these probabilities would show on average if they were exactly right.

    It is not zero, as each bin holds few nodules: a bin's gap is then a sum of independent errors of variance
    c (1 - c), c the top probability, near enough normal, and the mean absolute value of a normal variate is
    sqrt(2 / pi) of its deviation. Nodules of one patient that err together would make it larger.
    """
    top = proba.max(axis=1)
    variances = np.bincount(bins_of(top), weights=top * (1 - top), minlength=BINS)
    return float(np.sqrt(2 / np.pi * variances).sum() / len(proba)) if len(proba) else float("nan")
