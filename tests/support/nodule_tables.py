"""Invented nodule tables and predictions, for the tests of what is computed from a run folder."""

from typing import Any

import numpy as np

from benchmark.nodules import NoduleTable
from benchmark.predictions import Predictions


def make_table(n: int, **changes: Any) -> NoduleTable:
    """Make nodules of a patient each, of which little is known: readers by `reader_malignancy` where that is given."""
    scores = np.array(changes.get("reader_malignancy", np.empty((n, 0))), dtype=float)
    given = np.isfinite(scores)
    means = [row[known].mean() if known.any() else np.nan for row, known in zip(scores, given, strict=True)]
    values: dict[str, Any] = {
        "nodule_ids": tuple(f"n{i}" for i in range(n)),
        "patient_ids": tuple(f"p{i}" for i in range(n)),
        "scan_ids": ("",) * n,
        "n_readers": given.sum(axis=1),
        "malignancy": np.array(means),
        "attribute_names": (),
        "ratings": np.empty((n, 0)),
        "trusted": np.empty((n, 0), dtype=bool),
        "diameter_mm": np.full(n, np.nan),
        "slice_thickness_mm": np.full(n, np.nan),
        "strata": {},
        "labels": {"three": np.arange(n) % 3},
        "fold": np.zeros(n, dtype=int),
    }
    return NoduleTable(**values | changes | {"reader_malignancy": scores})


def make_predictions(labels: Any, proba: Any, **changes: Any) -> Predictions:
    """Make predictions for the first nodules of a table; `proba` is of one seed, or of several."""
    proba = np.array(proba, dtype=float)
    proba = proba[None] if proba.ndim == 2 else proba
    values: dict[str, Any] = {
        "decoder": "argmax",
        "nodules": np.arange(len(labels)),
        "labels": np.array(labels),
        "fold": np.zeros(len(labels), dtype=int),
        "proba": proba,
        "seeds": tuple(range(len(proba))),
    }
    return Predictions(**values | changes)
