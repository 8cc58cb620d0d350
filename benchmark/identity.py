"""What all fits of a run must share to be comparable: the identity that a run folder keeps and checks."""

import hashlib
from dataclasses import asdict
from typing import Any

import numpy as np
from jaxtyping import Int

from benchmark.contracts import Cohort
from benchmark.recipe import Preset


def identity_of(
    cohort: Cohort, fold_of: Int[np.ndarray, " nodules"], label_rule: str, preset_name: str, preset: Preset
) -> dict[str, Any]:
    """Return what all fits of a run must share to be comparable."""
    return {
        "source": cohort.source,
        "cohort": cohort.content_hash,
        "nodules": len(cohort),
        "label_rule": label_rule,
        "folds": preset.folds,
        "fold_assignment": hashlib.sha256(np.asarray(fold_of, dtype="<i8").tobytes()).hexdigest(),
        "preset": preset_name,
        "recipe": asdict(preset.recipe),
        "encoder": asdict(preset.encoder),
        "text_tower": {key: value for key, value in asdict(preset.text_tower).items() if key != "path"},
    }
