"""From probabilities to decisions, and from decisions to the numbers of the tables.

Everything but the AUC is a function of one confusion matrix (rows: true class, columns: decision), so a reader
can recompute it by hand. Percentages are made when printing; here every score is a fraction.
"""

import numpy as np
from jaxtyping import Float, Int

from benchmark.contracts import Decision, Decoder, Protocol


def decide(proba: Float[np.ndarray, "nodules classes"], decoder: Decoder) -> Int[np.ndarray, " nodules"]:
    """Read a class off each row of probabilities.

    `"median"` takes the first class at which the cumulative probability reaches 1/2; it minimises the
    expected absolute rank error, where `"argmax"` minimises the expected error count.

    >>> p = np.array([[0.4, 0.15, 0.45]])
    >>> decide(p, "argmax"), decide(p, "median")
    (array([2]), array([1]))
    """
    if decoder == "argmax":
        return np.asarray(proba.argmax(axis=1))
    # 1e-9: a cumulative sum that is 1/2 but for rounding has reached 1/2.
    passed = proba.cumsum(axis=1) >= 0.5 * proba.sum(axis=1, keepdims=True) - 1e-9
    return np.asarray(passed.argmax(axis=1))


def confusion_matrix(
    labels: Int[np.ndarray, " nodules"], decisions: Int[np.ndarray, " nodules"], num_classes: int
) -> Int[np.ndarray, "classes classes"]:
    """Count nodules by true class (rows) and decision (columns)."""
    counts = np.bincount(labels * num_classes + decisions, minlength=num_classes**2)
    return counts.reshape(num_classes, num_classes)


def auc(labels: Int[np.ndarray, " nodules"], scores: Float[np.ndarray, " nodules"]) -> float:
    """Return the area under the ROC curve of `scores` for label 1 against label 0; NaN if a side is empty.

    The Mann-Whitney form: the chance that a positive outscores a negative, ties counting half.
    """
    positives = int((labels == 1).sum())
    negatives = len(labels) - positives
    if positives == 0 or negatives == 0:
        return float("nan")
    _, place, ties = np.unique(scores, return_inverse=True, return_counts=True)
    ranks = (ties.cumsum() - (ties - 1) / 2)[place]  # tied scores share the mean of their ranks
    rank_sum = float(ranks[labels == 1].sum())
    return (rank_sum - positives * (positives + 1) / 2) / (positives * negatives)


def quadratic_weighted_kappa(confusion: Int[np.ndarray, "classes classes"]) -> float:
    """Return Cohen's kappa with squared rank distances; NaN where chance alone leaves no disagreement."""
    ranks = np.arange(len(confusion))
    distance = (ranks[:, None] - ranks) ** 2
    expected = np.outer(confusion.sum(axis=1), confusion.sum(axis=0)) / confusion.sum()
    chance = float((distance * expected).sum())
    return 1 - float((distance * confusion).sum()) / chance if chance > 0 else float("nan")


def scores(
    labels: Int[np.ndarray, " nodules"],
    proba: Float[np.ndarray, "nodules classes"],
    decoder: Decoder,
    protocol: Protocol,
    decision: Decision,
) -> dict[str, float]:
    """Return every metric of one fit on one protocol; `accuracy_argmax` is that of the most probable class.

    Nodules of classes outside the protocol's test set are left out first. A per-class score is missing (NaN)
    where the test set lacks the class; an F1 without any hit is zero.

    Args:
        labels: True classes 0..K-1 of the label set.
        proba: Probabilities over the same K classes.
        decoder: The method's.
        protocol: What is tested.
        decision: `"open"` over all K classes, `"restricted"` over the protocol's test classes.
    """
    classes = list(protocol.test_classes)
    rows = np.isin(labels, classes)
    labels, proba = labels[rows], proba[rows].astype(np.float64)
    among = proba[:, classes]

    def decided_by(decoder: Decoder) -> Int[np.ndarray, " nodules"]:
        return np.array(classes)[decide(among, decoder)] if decision == "restricted" else decide(proba, decoder)

    decisions = decided_by(decoder)
    confusion = confusion_matrix(labels, decisions, proba.shape[1])
    hits = confusion.diagonal()[classes].astype(np.float64)
    actual = confusion.sum(axis=1)[classes]
    decided = confusion.sum(axis=0)[classes]
    with np.errstate(invalid="ignore"):
        recall = hits / actual
        f1 = np.where(actual > 0, 2 * hits / (actual + decided), np.nan)
    result = {"accuracy": float((labels == decisions).mean())}
    for index, k in enumerate(classes):
        name = protocol.class_names[k]
        result[f"recall_{name}"] = float(recall[index])
        result[f"f1_{name}"] = float(f1[index])
    if len(classes) < proba.shape[1]:
        # Where every tested class has probability zero there is nothing to renormalise: all rank equally.
        total = among.sum(axis=1, keepdims=True)
        among = np.divide(among, total, out=np.full_like(among, 1 / len(classes)), where=total > 0)
    return result | {
        "accuracy_argmax": float((labels == decided_by("argmax")).mean()),
        "macro_f1": float(f1.mean()),
        "balanced_accuracy": float(recall.mean()),
        "mae_ranks": float(np.abs(labels - decisions).mean()),
        "quadratic_weighted_kappa": quadratic_weighted_kappa(confusion),
        "auc_ovr": float(np.mean([auc((labels == k).astype(int), among[:, i]) for i, k in enumerate(classes)])),
    }
