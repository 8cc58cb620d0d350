"""Patients drawn with replacement: what a figure would be in other samples of them."""

from collections.abc import Sequence

import numpy as np
from jaxtyping import Int


def patient_weights(patient_ids: Sequence[str], replicates: int, seed: int) -> Int[np.ndarray, "replicates nodules"]:
    """Return how often each nodule is drawn where whole patients are drawn with replacement."""
    _, patient = np.unique(np.asarray(patient_ids), return_inverse=True)
    count = int(patient.max()) + 1
    drawn = np.random.default_rng(seed).multinomial(count, np.full(count, 1 / count), size=replicates)
    return np.asarray(drawn[:, patient])
