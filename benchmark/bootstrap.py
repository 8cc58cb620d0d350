"""Patients drawn anew: intervals and comparisons of pooled predictions.

Nodules of a patient are alike, so patients are drawn, with replacement and with all their nodules: the cluster
bootstrap (Davison and Hinkley, Bootstrap Methods and their Application, 1997, section 3.8). It speaks of the fitted
models as they are, on other patients; what a new training would have given it does not see.
"""

from collections.abc import Sequence

import numpy as np
from jaxtyping import Int, Shaped


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
    return _draws(len(patients), replicates, np.random.default_rng(seed))[:, patient_of]


def _draws(patients: int, replicates: int, rng: np.random.Generator) -> Int[np.ndarray, "replicates patients"]:
    """Return how often each patient is drawn."""
    drawn = rng.integers(patients, size=(replicates, patients)) + patients * np.arange(replicates)[:, None]
    counts = np.bincount(drawn.ravel(), minlength=replicates * patients)
    return counts.reshape(replicates, patients).astype(np.int32)
