"""Protocols: classes from malignancy, and the paper's three datasets.

Source: Lei et al., CLIP-Lung, MICCAI 2023, section 3.1.
"""

import difflib
from collections.abc import Sequence

import numpy as np
from jaxtyping import Bool, Float, Int

from benchmark.contracts import Cohort, InputError, Protocol

LABEL_RULES: dict[str, str] = {
    "published": "mean malignancy <= 2.5 benign, >= 3.5 malignant, unsure between",
    "text": "mean malignancy < 2.5 benign, > 3.5 malignant, unsure between",
}

LABEL_SETS: dict[str, tuple[str, ...]] = {
    "three": ("benign", "unsure", "malignant"),
    "two": ("benign", "malignant"),
}


def protocols(title: str) -> dict[str, Protocol]:
    """Return the paper's three datasets as made from a collection of this title, by key."""
    three, two = LABEL_SETS["three"], LABEL_SETS["two"]
    made = (
        Protocol("A", f"{title}-A", "three", three, (0, 1, 2), printed_classes=(0, 2, 1)),
        Protocol("B", f"{title}-B", "three", three, (0, 2), (0, 2), ("restricted", "open")),
        Protocol("C", f"{title}-C", "two", two, (0, 1), printed_classes=(0, 1)),
    )
    return {protocol.key: protocol for protocol in made}


DATASETS = protocols("LIDC")


def protocols_of(cohort: Cohort, keys: Sequence[str] | None, rule: str) -> list[Protocol]:
    """Return the protocols that can be made from a cohort: those asked for, or all.

    Without unsure nodules there is nothing to train three classes on, so there is C alone.

    Raises:
        InputError: An unknown key, one that cannot be made, or a cohort without a benign or a malignant nodule.
    """
    return possible(cohort.collection, cohort.given_labels, cohort.malignancy, keys, rule)


def possible(
    title: str,
    given: Int[np.ndarray, " nodules"],
    malignancy: Float[np.ndarray, " nodules"],
    keys: Sequence[str] | None,
    rule: str,
) -> list[Protocol]:
    """Do as `protocols_of`, from the classes that were given (or -1) and mean malignancies alone.

    Raises:
        InputError: As there.
    """
    for key in keys or ():
        if key not in DATASETS:
            near = difflib.get_close_matches(key.upper(), DATASETS, n=1)
            meant = f"; did you mean {near[0]!r}?" if near else ""
            raise InputError(f"there is no dataset {key!r}: choose from {', '.join(DATASETS)}{meant}")
    present = _labels(given, malignancy, "three", rule)
    name = f"the collection {title}"
    for label, word in ((0, "benign"), (2, "malignant")):
        if label not in present:
            by_rule = f" by the label rule {rule!r}" if (given < 0).any() else ""
            helping = [o for o in LABEL_RULES if {0, 2} <= set(_labels(given, malignancy, "three", o).tolist())]
            other = f", or give --label-rule {helping[0]}" if helping else ""
            raise InputError(
                f"{name} has no {word} nodule{by_rule}, so there is nothing to tell apart: add some{other}"
            )
    made = protocols(title)
    can_be = [key for key in made if made[key].label_set == "two" or 1 in present]
    asked = list(made) if keys is None else list(keys)
    if keys is not None and (impossible := [key for key in keys if key not in can_be]):
        raise InputError(
            f"{name} has no unsure nodule, so only C can be made: leave {' and '.join(impossible)} out of --datasets"
        )
    return [made[key] for key in asked if key in can_be]


def labels(cohort: Cohort, label_set: str, rule: str) -> Int[np.ndarray, " nodules"]:
    """Return class indices into `LABEL_SETS[label_set]`: the class that was given, else that of the mean malignancy.

    Nodules that the label set leaves out have -1.

    Raises:
        InputError: An unknown label set or rule.
    """
    return _labels(cohort.given_labels, cohort.malignancy, label_set, rule)


def _labels(
    given: Int[np.ndarray, " nodules"], malignancy: Float[np.ndarray, " nodules"], label_set: str, rule: str
) -> Int[np.ndarray, " nodules"]:
    by_score = classify(malignancy, label_set, rule)
    classes = LABEL_SETS[label_set]
    of_three = np.array([classes.index(word) if word in classes else -1 for word in LABEL_SETS["three"]])
    return np.where(given >= 0, of_three[given], by_score)


def classify(
    malignancy: Float[np.ndarray, " nodules"], label_set: str, rule: str = "published"
) -> Int[np.ndarray, " nodules"]:
    """Return class indices of mean malignancies, and -1 for those that the label set leaves out.

    Rule `published` calls a mean of at most 2.5 benign and one of at least 3.5 malignant; it gives the class
    proportions of the paper's tables. Rule `text` is the paper's sentence: below 2.5 and above 3.5. A mean of whole
    ratings over n readers is rounded correctly, and either is 2.5 or differs from it by at least 1 / (2n), so plain
    comparison is exact.

    >>> classify(np.array([2.5, 3.0, 3.5]), "three", "published")
    array([0, 1, 2])
    >>> classify(np.array([2.5, 3.0, 3.5, 5.0]), "two", "text")
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
