"""Protocols: classes from mean malignancy, and the paper's three datasets.

Source: Lei et al., CLIP-Lung, MICCAI 2023, section 3.1.
"""

import numpy as np
from jaxtyping import Bool, Float, Int

from benchmark.contracts import InputError, Protocol

LABEL_RULES: dict[str, str] = {
    "published": "mean malignancy <= 2.5 benign, >= 3.5 malignant, unsure between",
    "text": "mean malignancy < 2.5 benign, > 3.5 malignant, unsure between",
}

LABEL_SETS: dict[str, tuple[str, ...]] = {
    "three": ("benign", "unsure", "malignant"),
    "two": ("benign", "malignant"),
}

DATASETS: dict[str, Protocol] = {
    "A": Protocol("A", "LIDC-A", "three", LABEL_SETS["three"], (0, 1, 2), printed_classes=(0, 2, 1)),
    "B": Protocol("B", "LIDC-B", "three", LABEL_SETS["three"], (0, 2), (0, 2), ("restricted", "open")),
    "C": Protocol("C", "LIDC-C", "two", LABEL_SETS["two"], (0, 1), printed_classes=(0, 1)),
}


def labels(
    malignancy: Float[np.ndarray, " nodules"], label_set: str, rule: str = "published"
) -> Int[np.ndarray, " nodules"]:
    """Return class indices into `LABEL_SETS[label_set]`, and -1 for nodules that the label set leaves out.

    Rule `published` calls a mean of at most 2.5 benign and one of at least 3.5 malignant; it gives the class
    proportions of the paper's tables. Rule `text` is the paper's sentence: below 2.5 and above 3.5. A mean of whole
    ratings over n readers is rounded correctly, and either is 2.5 or differs from it by at least 1 / (2n), so plain
    comparison is exact.

    >>> labels(np.array([2.5, 3.0, 3.5]), "three", "published")
    array([0, 1, 2])
    >>> labels(np.array([2.5, 3.0, 3.5, 5.0]), "two", "text")
    array([-1, -1, -1,  1])

    Raises:
        InputError: An unknown label set or rule.
    """
    if label_set not in LABEL_SETS:
        raise InputError(f"unknown label set {label_set!r}: choose from {', '.join(LABEL_SETS)}")
    if rule not in LABEL_RULES:
        raise InputError(f"unknown label rule {rule!r}: choose from {', '.join(LABEL_RULES)}")
    benign: Bool[np.ndarray, " nodules"]
    malignant: Bool[np.ndarray, " nodules"]
    if rule == "published":
        benign, malignant = malignancy <= 2.5, malignancy >= 3.5
    else:
        benign, malignant = malignancy < 2.5, malignancy > 3.5
    classes = LABEL_SETS[label_set]
    unsure = classes.index("unsure") if "unsure" in classes else -1
    return np.where(benign, classes.index("benign"), np.where(malignant, classes.index("malignant"), unsure))
