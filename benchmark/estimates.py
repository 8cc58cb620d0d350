"""What a row's pooled predictions are worth, each number with an interval over patients.

Seeds are judged apart and their numbers averaged, as in the tables; no ensemble of them is judged. Nodules of all folds
are pooled, so a number may differ in the last digit from the table's mean over folds. An interval is the middle 95% of
what samples of patients give (but see `calibration_interval`): it speaks of these fitted models on other patients, not
of new trainings.
"""

from collections.abc import Iterator, Sequence

import numpy as np
from jaxtyping import Bool, Float, Int

from benchmark.bootstrap import patient_weights
from benchmark.calibration import (
    brier_scores,
    calibration_error_by_chance,
    calibration_gaps,
    calibration_interval,
    expected_calibration_error,
    ranked_probability_scores,
)
from benchmark.intervals import Interval
from benchmark.metrics import decide_on, given_test_classes, pairs_won, quadratic_weighted_kappa
from benchmark.nodules import NoduleTable
from benchmark.predictions import Predictions
from benchmark.scores import Section

TITLES = {
    "accuracy": "Accuracy",
    "quadratic_weighted_kappa": "Weighted kappa",
    "mae_ranks": "Error in ranks",
    "auc_ovr": "AUC",
    "rps": "Ranked probability score",
    "brier": "Brier score",
    "ece": "Calibration error",
    "ece_by_chance": "Calibration error by chance",
}
"""What `estimates` gives, in the order of print."""

Weights = Float[np.ndarray, "samples nodules"]


def with_interval(samples: Float[np.ndarray, " samples"]) -> Interval:
    """Return a number, which stands before its samples, with its interval; none where there is no sample."""
    return Interval.of(samples[0], samples[1:]) if len(samples) > 1 else Interval(float(samples[0]))


def sample_patients(predictions: Predictions, table: NoduleTable, samples: int = 1000, seed: int = 0) -> Weights:
    """Return how often each predicted nodule counts: once in the first row, then as its patient is drawn.

    Rows with predictions for the same nodules get the same samples, so make them once for all.
    """
    patients = [table.patient_ids[row] for row in predictions.nodules]
    drawn = patient_weights(patients, samples, seed)
    return np.concatenate([np.ones((1, len(patients))), drawn])


def decisions(predictions: Predictions, section: Section) -> Int[np.ndarray, "seeds nodules"]:
    """Return the class that each seed gives each nodule."""
    decoder, protocol, decision = predictions.decoder, section.protocol, section.decision
    return np.stack([decide_on(proba, decoder, protocol, decision) for proba in predictions.proba])


def accuracies(
    right: Float[np.ndarray, " nodules"], groups: Sequence[Bool[np.ndarray, " nodules"]], weights: Weights
) -> list[Interval]:
    """Return the accuracy in each group.

    Args:
        right: In which part of the seeds each nodule was given its class.
        groups: Which nodules are in it.
        weights: As `sample_patients`.
    """
    members = np.stack(groups, axis=1) if groups else np.empty((len(right), 0), dtype=bool)
    with np.errstate(invalid="ignore"):
        return [with_interval(of) for of in (weights @ (members * right[:, None]) / (weights @ members)).T]


def largest_share(labels: Int[np.ndarray, " nodules"]) -> float:
    """Return the share of the largest class; NaN without a nodule."""
    return float(np.bincount(labels).max() / len(labels)) if len(labels) else float("nan")


def estimates(predictions: Predictions, section: Section, weights: Weights) -> dict[str, Interval]:
    """Return every number of `TITLES` on the nodules that a section tests.

    Where the decision is restricted to the test classes, so are the probabilities that are judged, renormalised. For
    the AUC they always are, as in the tables, and it sets only nodules of one fold against each other: the models of
    two folds share no scale, and one that knows the class sizes alone would be put below 1/2.

    Args:
        predictions: Of one row.
        section: A protocol of their label set and how it decides.
        weights: As `sample_patients` of these predictions.
    """
    chosen = np.isin(predictions.labels, section.protocol.test_classes)
    predictions, weights = predictions.where(chosen), weights[:, chosen]
    by_nodule = np.ascontiguousarray(weights.T)
    by_seed = [
        dict(_of_seed(predictions, section, proba, weights))
        | {"auc_ovr": _auc(predictions, given_test_classes(proba, section.protocol), section, by_nodule)}
        for proba in predictions.proba
    ]
    samples = {name: np.mean([found[name] for found in by_seed], axis=0) for name in by_seed[0]}
    found = {name: with_interval(samples[name]) for name in TITLES}
    low, high = calibration_interval(samples["ece"], samples["ece_distance"])
    return found | {"ece": Interval(found["ece"].value, low, high)}


def _of_seed(
    predictions: Predictions, section: Section, proba: Float[np.ndarray, "nodules classes"], weights: Weights
) -> Iterator[tuple[str, Float[np.ndarray, " samples"]]]:
    """Yield what one seed's probabilities are worth in each sample, but for the AUC."""
    labels, classes = predictions.labels, proba.shape[1]
    decided = decide_on(proba, predictions.decoder, section.protocol, section.decision)
    judged, truth = proba, _one_hot(labels, classes)
    if section.decision == "restricted":
        judged, truth = given_test_classes(proba, section.protocol), truth[:, list(section.protocol.test_classes)]
    of_nodules = {
        "accuracy": labels == decided,
        "mae_ranks": np.abs(labels - decided),
        "brier": brier_scores(truth, judged),
        "rps": ranked_probability_scores(truth, judged),
    }
    parts = [
        np.stack(list(of_nodules.values()), axis=1),
        calibration_gaps(truth, judged),
        _one_hot(labels * classes + decided, classes**2),
    ]
    with np.errstate(invalid="ignore"):
        means = weights @ np.concatenate(parts, axis=1) / weights.sum(axis=1, keepdims=True)
    losses, gaps, confusion = np.split(means, np.cumsum([part.shape[1] for part in parts[:-1]]), axis=1)
    yield from zip(of_nodules, losses.T, strict=True)
    yield "ece", expected_calibration_error(gaps)
    yield "ece_distance", expected_calibration_error(gaps - gaps[0])
    yield "ece_by_chance", np.array([calibration_error_by_chance(judged)])
    yield "quadratic_weighted_kappa", quadratic_weighted_kappa(confusion.reshape(-1, classes, classes))


def _one_hot(of: Int[np.ndarray, " nodules"], count: int) -> Bool[np.ndarray, "nodules count"]:
    return np.asarray(of[:, None] == np.arange(count))


def _auc(
    predictions: Predictions,
    among: Float[np.ndarray, "nodules test_classes"],
    section: Section,
    weights: Float[np.ndarray, "nodules samples"],
) -> Float[np.ndarray, " samples"]:
    """Return the mean over test classes of the AUC of one against the rest."""
    of_classes = []
    for place, label in enumerate(section.protocol.test_classes):
        won = pairs = np.zeros(weights.shape[1])
        for fold in np.unique(predictions.fold):
            rows = predictions.fold == fold
            of_fold = pairs_won(predictions.labels[rows] == label, among[rows, place], weights[rows])
            won, pairs = won + of_fold[0], pairs + of_fold[1]
        of_classes.append(np.divide(won, pairs, out=np.full(len(pairs), np.nan), where=pairs > 0))
    return np.asarray(np.mean(of_classes, axis=0))
