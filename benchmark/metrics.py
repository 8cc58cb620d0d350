"""From probabilities to decisions, and from decisions to the numbers of the tables.

Everything but the AUC is a function of one confusion matrix (rows: true class, columns: decision), so a reader
can recompute it by hand. Percentages are made when printing; here every score is a fraction. What takes weights counts
each nodule that often: a bootstrap sample is a row of weights.
"""

import numpy as np
from jaxtyping import Bool, Float, Int, Num

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
    won, pairs = pairs_won(labels == 1, scores, np.ones((len(labels), 1)))
    return float(won[0] / pairs[0]) if pairs[0] else float("nan")


def pairs_won(
    positive: Bool[np.ndarray, " nodules"],
    scores: Float[np.ndarray, " nodules"],
    weights: Float[np.ndarray, "nodules replicates"],
) -> tuple[Float[np.ndarray, " replicates"], Float[np.ndarray, " replicates"]]:
    """Return how many pairs a positive wins against a negative, a tie being half a win, and how many pairs there are.

    Their ratio is the area under the ROC curve. Nodules count as often as each column of weights says.
    """
    order = np.flatnonzero(~positive)[np.argsort(scores[~positive])]
    below = np.zeros((len(order) + 1, weights.shape[1]))  # row i: the weight of the i lowest negatives
    np.cumsum(weights[order], axis=0, out=below[1:])
    of_positives = weights[positive]
    ranks = [np.searchsorted(scores[order], scores[positive], side=side) for side in ("left", "right")]
    won = sum(np.einsum("ij,ij->j", of_positives, below[rank]) for rank in ranks) / 2
    return won, of_positives.sum(axis=0) * below[-1]


def quadratic_weighted_kappa(
    confusion: Num[np.ndarray, "*replicates classes classes"],
) -> Float[np.ndarray, "*replicates"]:
    """Return Cohen's kappa with squared rank distances; NaN where chance alone leaves no disagreement."""
    ranks = np.arange(confusion.shape[-1])
    distance = (ranks[:, None] - ranks) ** 2
    observed = (distance * confusion).sum(axis=(-2, -1))
    outer = confusion.sum(axis=-1)[..., :, None] * confusion.sum(axis=-2)[..., None, :]
    with np.errstate(invalid="ignore", divide="ignore"):
        chance = (distance * outer).sum(axis=(-2, -1)) / confusion.sum(axis=(-2, -1))
        return np.where(chance > 0, 1 - observed / chance, np.nan)


def decide_on(
    proba: Float[np.ndarray, "nodules classes"], decoder: Decoder, protocol: Protocol, decision: Decision
) -> Int[np.ndarray, " nodules"]:
    """Read a class off each row of probabilities as a protocol asks: over all classes, or over its test classes."""
    if decision == "open":
        return decide(proba, decoder)
    classes = np.array(protocol.test_classes)
    return np.asarray(classes[decide(proba[:, classes], decoder)])


def given_test_classes(
    proba: Float[np.ndarray, "nodules classes"], protocol: Protocol
) -> Float[np.ndarray, "nodules test_classes"]:
    """Return the probabilities of a protocol's test classes, renormalised where these are not all classes."""
    among = proba[:, list(protocol.test_classes)]
    if among.shape[1] == proba.shape[1]:
        return among
    # Where every tested class has probability zero there is nothing to renormalise: all rank equally.
    total = among.sum(axis=1, keepdims=True)
    return np.asarray(np.divide(among, total, out=np.full_like(among, 1 / among.shape[1]), where=total > 0))


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
    among = given_test_classes(proba, protocol)
    decisions = decide_on(proba, decoder, protocol, decision)
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
    return result | {
        "accuracy_argmax": float((labels == decide_on(proba, "argmax", protocol, decision)).mean()),
        "macro_f1": float(f1.mean()),
        "balanced_accuracy": float(recall.mean()),
        "mae_ranks": float(np.abs(labels - decisions).mean()),
        "quadratic_weighted_kappa": float(quadratic_weighted_kappa(confusion)),
        "auc_ovr": float(np.mean([auc((labels == k).astype(int), among[:, i]) for i, k in enumerate(classes)])),
    }
