"""Patients drawn with replacement: what a figure would be in other samples of them."""

from collections.abc import Sequence

import numpy as np
from jaxtyping import Float, Int


def patient_weights(patient_ids: Sequence[str], replicates: int, seed: int) -> Int[np.ndarray, "replicates nodules"]:
    """Return how often each nodule is drawn where whole patients are drawn with replacement."""
    _, patient = np.unique(np.asarray(patient_ids), return_inverse=True)
    count = int(patient.max()) + 1
    drawn = np.random.default_rng(seed).multinomial(count, np.full(count, 1 / count), size=replicates)
    return np.asarray(drawn[:, patient])


def interval(statistic_values: Float[np.ndarray, " replicates"], level: float = 0.95) -> tuple[float, float]:
    """Return the percentile interval of a statistic; where it is undefined it counts as beyond either end."""
    tail = round((1 - level) / 2, 12)
    unknown = np.isnan(statistic_values)
    low = np.quantile(np.where(unknown, -np.inf, statistic_values), tail, method="lower")
    high = np.quantile(np.where(unknown, np.inf, statistic_values), 1 - tail, method="higher")
    return float(low if np.isfinite(low) else np.nan), float(high if np.isfinite(high) else np.nan)
