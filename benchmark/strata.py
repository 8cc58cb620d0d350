"""Where a row is right and where it fails: its accuracy in groups of nodules."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool

from benchmark.estimates import Weights, accuracies, decisions, largest_share
from benchmark.intervals import Interval
from benchmark.nodules import NoduleTable
from benchmark.predictions import Predictions
from benchmark.scores import Section

FEWEST = 20
"""A group of fewer nodules is given without an interval."""

UNKNOWN = "not known"

OWN = {"is_from_initial": "scan of LIDC's first release"}
"""Titles of what a collection groups by, where its name alone says too little."""

Groups = Mapping[str, Bool[np.ndarray, " nodules"]]
"""Groups of nodules by name, in the order of print: every nodule is in exactly one."""


@dataclass(frozen=True)
class Stratum:
    """A row in one group.

    Attributes:
        stratum: What is grouped by.
        group: Which group of it.
        nodules: How many of the section's nodules are in it.
        patients: Whose these are.
        largest_class: Share of the largest class among them: what naming it for every nodule would reach. Groups
            differ in it, so an accuracy says little without.
        accuracy: Of the row; no interval where there are fewer than `FEWEST` nodules.
    """

    stratum: str
    group: str
    nodules: int
    patients: int
    largest_class: float
    accuracy: Interval


def agreement(table: NoduleTable) -> Groups:
    """Group nodules by how the readers' malignancy scores agree.

    A nodule is in the first group whose condition it meets:

    1. one reader only;
    2. one class: each score, taken alone, gives the same class (1 or 2, 3, 4 or 5);
    3. one apart: the classes differ, the scores by one at most (2 and 3, or 3 and 4);
    4. further apart: the classes differ, and two scores by more than one, across an edge of the label rule;
    5. not known: the table holds no score of it, or only the mean of several.
    """
    scores, given = table.reader_malignancy, np.isfinite(table.reader_malignancy)
    low = np.where(given, scores, np.inf).min(axis=1, initial=np.inf)
    high = np.where(given, scores, -np.inf).max(axis=1, initial=-np.inf)
    # Single scores are whole numbers, for which both label rules agree; a user's finer scale goes by the published one.
    same = (high <= 2.5) | (low >= 3.5) | ((low > 2.5) & (high < 3.5))
    known = given.any(axis=1)
    return _first(
        {
            "one reader only": table.n_readers == 1,
            "all readers name one class": known & same,
            "classes differ, scores at most one apart": known & (high <= low + 1),
            "classes differ, scores further apart": known,
        }
    )


def by_size(table: NoduleTable) -> Groups:
    """Group nodules by diameter, at the 6 and 8 mm of the Fleischner guidelines; both belong to the middle."""
    size = table.diameter_mm
    return _first({"under 6 mm": size < 6, "6 to 8 mm": size <= 8, "above 8 mm": size > 8})


def by_thickness(table: NoduleTable) -> Groups:
    """Group nodules by the slice thickness of their scan."""
    thickness = table.slice_thickness_mm
    return _first(
        {
            "at most 1.25 mm": thickness <= 1.25,
            "above 1.25, at most 2.5 mm": thickness <= 2.5,
            "above 2.5 mm": thickness > 2.5,
        }
    )


def by_text(values: Sequence[str]) -> Groups:
    """Group nodules by a free column, by the order of its values; an empty one is not known."""
    column = np.array(values)
    names = sorted(set(values) - {""})
    return {name: column == name for name in names} | {UNKNOWN: column == ""}


def _first(conditions: Groups) -> Groups:
    """Put every nodule into the first group whose condition it meets; those that meet none are not known."""
    free = ~np.any(list(conditions.values()), axis=0)
    taken = np.zeros_like(free)
    groups = {}
    for name, condition in conditions.items():
        groups[name] = condition & ~taken
        taken = taken | condition
    return groups | {UNKNOWN: free}


def strata_of(table: NoduleTable) -> dict[str, Groups]:
    """Return every way to group a run's nodules: the readers' agreement, sizes, and what the collection gives."""
    own = {OWN.get(name, name.replace("_", " ")): by_text(values) for name, values in table.strata.items()}
    return {
        "Readers' agreement": agreement(table),
        "Diameter": by_size(table),
        "Slice thickness": by_thickness(table),
    } | own


def by_stratum(predictions: Predictions, section: Section, table: NoduleTable, weights: Weights) -> list[Stratum]:
    """Return the accuracy of a row in every group that holds a nodule which a section tests.

    Args:
        predictions: Of one row.
        section: A protocol of their label set and how it decides.
        table: The nodules of the run.
        weights: As `estimates.sample_patients` of these predictions.
    """
    tested = np.isin(predictions.labels, section.protocol.test_classes)
    right = (decisions(predictions, section) == predictions.labels).mean(axis=0)
    chosen = {
        (stratum, group): tested & members[predictions.nodules]
        for stratum, groups in strata_of(table).items()
        for group, members in groups.items()
    }
    chosen = {names: members for names, members in chosen.items() if members.any()}
    reached = accuracies(right, list(chosen.values()), weights)
    return [
        Stratum(
            stratum=stratum,
            group=group,
            nodules=int(members.sum()),
            patients=table.count_patients(predictions.nodules[members]),
            largest_class=largest_share(predictions.labels[members]),
            accuracy=accuracy if members.sum() >= FEWEST else Interval(accuracy.value),
        )
        for ((stratum, group), members), accuracy in zip(chosen.items(), reached, strict=True)
    ]
