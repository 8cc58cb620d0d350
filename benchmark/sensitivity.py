"""What a row's accuracy owes to the choice of labels and nodules: the same predictions under other choices.

Earlier papers on LIDC-IDRI chose differently, and their numbers cannot be set beside each other: Baltatzis et al., The
pitfalls of sample selection, 2021, arXiv 2108.05386. No model is trained anew, so each was taught the run's own labels.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Float, Int

from benchmark.contracts import InputError
from benchmark.estimates import Weights, accuracies, decisions, largest_share
from benchmark.intervals import Interval
from benchmark.nodules import NoduleTable
from benchmark.predictions import Predictions
from benchmark.scores import Section

RULES = ("published", "text")
_THREE = ("benign", "unsure", "malignant")


@dataclass(frozen=True, eq=False)
class Choice:
    """A choice of labels and nodules.

    Attributes:
        title: For print.
        labels: Class of each nodule of the run's table; -1 where it is left out.
    """

    title: str
    labels: Int[np.ndarray, " nodules"]


@dataclass(frozen=True)
class Sensitivity:
    """A row under one choice.

    Attributes:
        title: Of the choice.
        nodules: How many are tested.
        patients: Whose these are.
        sizes: Nodules of each test class of the section.
        changed: How many of them have another class than in the run.
        unpredicted: How many more the choice would test but the row has no prediction for: the run left them out, or
            their fits are missing.
        largest_class: Share of the largest class: what naming it for every nodule would reach.
        accuracy: Of the row.
    """

    title: str
    nodules: int
    patients: int
    sizes: tuple[int, ...]
    changed: int
    unpredicted: int
    largest_class: float
    accuracy: Interval


def classes_of(
    malignancy: Float[np.ndarray, " nodules"], class_names: Sequence[str], rule: str
) -> Int[np.ndarray, " nodules"]:
    """Return the class of each mean or median malignancy, -1 where it is not among the names or not known.

    Rule `"published"` counts 2.5 as benign and 3.5 as malignant, rule `"text"` both as unsure.

    >>> classes_of(np.array([2.5, 3.0, 3.5]), ("benign", "malignant"), "published")
    array([ 0, -1,  1])

    Raises:
        InputError: An unknown rule.
    """
    if rule not in RULES:
        raise InputError(f"unknown label rule {rule!r}: choose from {', '.join(RULES)}")
    closed = rule == "published"
    benign = malignancy <= 2.5 if closed else malignancy < 2.5
    malignant = malignancy >= 3.5 if closed else malignancy > 3.5
    of_three = [list(class_names).index(name) if name in class_names else -1 for name in _THREE]
    word = np.select([benign, malignant, np.isfinite(malignancy)], [of_three[0], of_three[2], of_three[1]], -1)
    return np.asarray(word)


def choices(table: NoduleTable, label_set: str, class_names: Sequence[str], rule: str) -> Iterator[Choice]:
    """Yield the choices: both edge rules, the median, and the selections of earlier papers, apart and together.

    Median and selections go by the run's own rule. A nodule whose class was given, not scored, keeps it. A number of
    readers or a slice thickness that is not known is selected by none. The median is left out where the readers' single
    scores are not known.

    Args:
        table: The nodules of the run.
        label_set: Name of the classes.
        class_names: The classes.
        rule: The run's own label rule.

    Raises:
        InputError: An unknown rule.
    """
    own, mean = table.labels[label_set], table.malignancy

    def by(scores: Float[np.ndarray, " nodules"], rule: str) -> Int[np.ndarray, " nodules"]:
        return np.where(np.isfinite(mean), classes_of(scores, class_names, rule), own)

    def only(chosen: Bool[np.ndarray, " nodules"]) -> Int[np.ndarray, " nodules"]:
        return np.where(chosen, own, -1)

    yield Choice("mean: at most 2.5 benign, at least 3.5 malignant", by(mean, "published"))
    yield Choice("mean: below 2.5 benign, above 3.5 malignant", by(mean, "text"))
    if table.knows_scores:
        yield Choice("median of the readers", by(_medians(table), rule))
    readers, decided, thin = table.n_readers >= 3, mean != 3, table.slice_thickness_mm <= 2.5
    yield Choice("three readers or more", only(readers))
    yield Choice("mean of exactly 3 left out", only(decided))
    yield Choice("slices of at most 2.5 mm", only(thin))
    yield Choice("these three together", only(readers & decided & thin))


def _medians(table: NoduleTable) -> Float[np.ndarray, " nodules"]:
    """Return the median score of each nodule; NaN where it has none."""
    medians = np.full(len(table), np.nan)
    scored = np.isfinite(table.reader_malignancy).any(axis=1)
    medians[scored] = np.nanmedian(table.reader_malignancy[scored], axis=1)
    return medians


def sensitivities(
    predictions: Predictions, section: Section, table: NoduleTable, rule: str, weights: Weights
) -> list[Sensitivity]:
    """Return the accuracy of a row under every choice; its decisions stay the same.

    Args:
        predictions: Of one row.
        section: A protocol of their label set and how it decides.
        table: The nodules of the run.
        rule: The run's own label rule.
        weights: As `estimates.sample_patients` of these predictions.

    Raises:
        InputError: An unknown rule.
    """
    protocol, decided = section.protocol, decisions(predictions, section)
    found = []
    for choice in choices(table, protocol.label_set, protocol.class_names, rule):
        labels = choice.labels[predictions.nodules]
        tested = np.isin(labels, protocol.test_classes)
        (accuracy,) = accuracies((decided == labels).mean(axis=0), [tested], weights)
        found.append(
            Sensitivity(
                title=choice.title,
                nodules=int(tested.sum()),
                patients=table.count_patients(predictions.nodules[tested]),
                sizes=tuple(int((labels == label).sum()) for label in protocol.test_classes),
                changed=int((labels != predictions.labels)[tested].sum()),
                unpredicted=int(np.isin(choice.labels, protocol.test_classes).sum() - tested.sum()),
                largest_class=largest_share(labels[tested]),
                accuracy=accuracy,
            )
        )
    return found
