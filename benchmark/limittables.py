"""The labels' limit in print: one radiologist with models on the same reads, and two readers against two."""

from collections.abc import Mapping, Sequence

import numpy as np
from jaxtyping import Int

from benchmark.intervals import Interval
from benchmark.limit import Classify, Reads, Scores, against_all, against_others, difference, model_on, pairs, scored
from benchmark.scores import metric_title

Weights = Int[np.ndarray, "replicates nodules"]
OTHERS = "One radiologist, against the mean of the others"
ALL = "One radiologist, against the mean of all, their own included"
PAIRS = "Two readers against two"


def one_radiologist(
    scores: Scores,
    classify: Classify,
    class_names: Sequence[str],
    models: Mapping[str, Int[np.ndarray, "seeds nodules"]],
    weights: Weights,
) -> list[list[str]]:
    """Return the row One radiologist, and models on the same reads, in percent (kappa as a fraction).

    A model's line has the radiologist's accuracy on its own reads beside it, since a model that was not tested on
    some nodules has fewer reads: on LIDC-C those whose mean over all readers is unsure are in no test fold.

    Args:
        scores: Each reader's malignancy score, NaN beyond the nodule's readers.
        classify: The label rule (see limit.py).
        class_names: Of the label set, in order.
        models: What each decided, by title (`limit.decisions_of`).
        weights: How often each replicate draws each nodule (`bootstrap.patient_weights`).

    Returns:
        The header, and a line a row, all of one length.
    """
    others, everyone = (make(scores, classify, len(class_names)) for make in (against_others, against_all))
    body = [[OTHERS, *_cells(others, class_names, weights), "", ""]]
    body += [[ALL, *_cells(everyone, class_names, weights), "", ""]]
    for title, decisions in models.items():
        theirs = model_on(others, decisions)
        same = others.among(np.any(decisions >= 0, axis=0))
        reader, less = scored(same, class_names, weights)["accuracy"], difference(theirs, same, weights)
        beside = [_percent(reader), less.text("+.1f", 100)]
        body.append([title, *_cells(theirs, class_names, weights), *beside])
    return [[*_header(class_names), "One radiologist on these reads", "Difference"], *body]


def readers_in_pairs(
    scores: Scores, classify: Classify, class_names: Sequence[str], weights: Weights
) -> list[list[str]]:
    """Return how well two readers agree with two others, over the three ways to pair four.

    Returns:
        The header, and one line; each pairing counts twice among the reads, once from either side.
    """
    return [_header(class_names), [PAIRS, *_cells(pairs(scores, classify, len(class_names)), class_names, weights)]]


def _header(class_names: Sequence[str]) -> list[str]:
    of_class = [metric_title(f"{score}_{name}") for name in class_names for score in ("recall", "f1")]
    return ["Who decided", "Reads", "Accuracy", *of_class, "Weighted kappa"]


def _cells(reads: Reads, class_names: Sequence[str], weights: Weights) -> list[str]:
    *shares, kappa = scored(reads, class_names, weights).values()
    return [f"{len(reads):,}", *map(_percent, shares), kappa.text()]


def _percent(share: Interval) -> str:
    return share.text(".1f", 100)
