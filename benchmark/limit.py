"""The labels' own limit: what one radiologist, or two, reach on the labels that the other readers give.

A *read* is a decision on one nodule beside a class that others give it. In the row "One radiologist" each reader of a
nodule with three or more decides by their own malignancy score, and the class is that of the mean of the *other*
readers' scores; score and mean become classes by one label rule. So the label knows nothing of who decides, as a
test label knows nothing of a model. A nodule with four readers gives four reads, whose labels may differ.

Where a label set leaves a score out (a 3 where there are two classes alone), the decision is shared evenly among the
classes: it counts as half right. Where it leaves the others' mean out, there is no label, and so no read.

Label rules are no business of this file: `classify` turns means into class indices, with -1 for what is left out, as
`functools.partial(datasets.protocols.classify, label_set="three", rule="published")` does. Intervals draw whole
patients, so that reads of one nodule, and nodules of one patient, stay together.

What it is not: see `CAVEATS`, which stand under every table that is made from this.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import numpy as np
from jaxtyping import Bool, Float, Int

from benchmark.intervals import Interval
from benchmark.metrics import decide
from benchmark.records import FitRecord

CAVEATS = (
    "LIDC's second reading round was unblinded: each reader saw the others' marks before settling their own, so these "
    "readers agree more than readers who know nothing of each other would.",
    "The labels here are means of few scores: two others move the mean in steps of a half, three in steps of a third. "
    "How much of it falls on or beside an edge depends on the number of readers, and on the label rule.",
    "It is no ceiling. A mean is steadier than any one of the scores in it, so a model that foretells the mean can "
    "pass a single reader without being better at telling cancer: no label here comes from pathology.",
    "Readers did not decide between these classes: they gave a score from 1 to 5. They saw whole scans; a model has a "
    "crop.",
    "Where only some nodules are tested (LIDC-C), the mean over all readers chose them, the judged reader's own score "
    "among them. On the reads shared with models that favours the reader.",
    "The database does not say who read what, so there is no row for one person: each read is by some reader.",
)

Classify = Callable[[Float[np.ndarray, " means"]], Int[np.ndarray, " means"]]
Scores = Float[np.ndarray, "nodules readers"]


@dataclass(frozen=True, eq=False)
class Reads:
    """Decisions on nodules beside the classes that others give them.

    Attributes:
        nodules: The nodule of each read, a row of the cohort.
        labels: Its class by the others.
        decided: What was decided, a row of sum one: a single 1, or shared.
    """

    nodules: Int[np.ndarray, " reads"]
    labels: Int[np.ndarray, " reads"]
    decided: Float[np.ndarray, "reads classes"]

    def __len__(self) -> int:
        return len(self.labels)

    def among(self, kept: Bool[np.ndarray, " nodules"]) -> "Reads":
        """Return the reads of some nodules."""
        rows = kept[self.nodules]
        return Reads(self.nodules[rows], self.labels[rows], self.decided[rows])


def against_others(scores: Scores, classify: Classify, num_classes: int) -> Reads:
    """Return every reader of a nodule with three or more, against the class by the mean of the others.

    Args:
        scores: Each reader's malignancy score, 1 to 5, NaN beyond the nodule's readers.
        classify: The label rule.
        num_classes: Of the label set.
    """
    nodules, readers = _readers(scores)
    others = scores[nodules]
    others[np.arange(len(nodules)), readers] = np.nan
    return _reads(nodules, np.nanmean(others, axis=1), scores[nodules, readers], classify, num_classes)


def against_all(scores: Scores, classify: Classify, num_classes: int) -> Reads:
    """Return the same readers against the class by the mean over all, in which their own score has a part."""
    nodules, readers = _readers(scores)
    return _reads(nodules, np.nanmean(scores[nodules], axis=1), scores[nodules, readers], classify, num_classes)


def pairs(scores: Scores, classify: Classify, num_classes: int) -> Reads:
    """Return two readers against two: the class by a pair's mean, against that by the mean of the other pair.

    Nodules with exactly four readers, over the three ways to pair them. Neither pair is the truth, so each stands
    once as the label and once as the decision: six reads a nodule, and a symmetric confusion matrix.
    """
    nodules = np.flatnonzero(np.isfinite(scores).sum(axis=1) == 4)
    four = scores[nodules][np.isfinite(scores[nodules])].reshape(-1, 4)
    ways = [(0, 1, 2, 3), (0, 2, 1, 3), (0, 3, 1, 2)]
    ways += [(c, d, a, b) for a, b, c, d in ways]
    means = [(four[:, way[:2]].mean(axis=1), four[:, way[2:]].mean(axis=1)) for way in ways]
    ones, others = (np.concatenate(side) for side in zip(*means, strict=True))
    return _reads(np.tile(nodules, len(ways)), others, ones, classify, num_classes)


def decisions_of(records: Sequence[FitRecord], nodule_ids: Sequence[str]) -> Int[np.ndarray, "seeds nodules"]:
    """Return what a row's fits decided on each nodule while it was tested, seeds ascending; -1 where none did.

    Args:
        records: The row's, of one label set; those without probabilities decide nothing.
        nodule_ids: The cohort's.
    """
    done = [record for record in records if record.status == "done"]
    seeds = sorted({record.spec.seed for record in done})
    row_of = {name: row for row, name in enumerate(nodule_ids)}
    decisions = np.full((len(seeds), len(nodule_ids)), -1)
    for record in done:
        rows = [row_of[name] for name in record.nodule_ids]
        decisions[seeds.index(record.spec.seed), rows] = decide(record.proba, record.decoder)
    return decisions


def model_on(reads: Reads, decisions: Int[np.ndarray, "seeds nodules"]) -> Reads:
    """Return a model's decisions on the same nodules and the same labels as some reads, nodules that it decided.

    Args:
        reads: Of readers.
        decisions: Class index by seed and nodule, -1 where there is none; a nodule's seeds count equally.
    """
    one_hot = decisions[..., None] == np.arange(reads.decided.shape[1])
    counts = one_hot.sum(axis=0)
    kept = reads.among(counts.any(axis=1))
    of_nodule = counts[kept.nodules]
    return replace(kept, decided=of_nodule / of_nodule.sum(axis=1, keepdims=True))


def scored(
    reads: Reads, class_names: Sequence[str], weights: Int[np.ndarray, "replicates nodules"]
) -> dict[str, Interval]:
    """Return accuracy, recall and F1 of each class, and quadratically weighted kappa, as fractions.

    Args:
        reads: Whose.
        class_names: In order.
        weights: How often each replicate draws each nodule (`bootstrap.patient_weights`).
    """
    whole, drawn = (_statistics(counts, class_names) for counts in _confusions(reads, weights))
    return {name: Interval.of(whole[name][0], drawn[name]) for name in whole}


def difference(one: Reads, other: Reads, weights: Int[np.ndarray, "replicates nodules"]) -> Interval:
    """Return the accuracy of one less that of the other, paired: both see the same patients in each replicate."""
    whole, drawn = (
        _accuracy(mine) - _accuracy(yours)
        for mine, yours in zip(_confusions(one, weights), _confusions(other, weights), strict=True)
    )
    return Interval.of(whole[0], drawn)


def _readers(scores: Scores) -> tuple[Int[np.ndarray, " reads"], Int[np.ndarray, " reads"]]:
    """Return nodule and column of every score of a nodule with three readers or more."""
    known = np.isfinite(scores)
    nodules, readers = np.nonzero(known & (known.sum(axis=1) >= 3)[:, None])
    return nodules, readers


def _reads(
    nodules: Int[np.ndarray, " reads"],
    others: Float[np.ndarray, " reads"],
    own: Float[np.ndarray, " reads"],
    classify: Classify,
    num_classes: int,
) -> Reads:
    """Turn means into labels and decisions; a read without a label is none."""
    labels, classes = classify(others), classify(own)
    decided = np.where(classes[:, None] < 0, 1 / num_classes, classes[:, None] == np.arange(num_classes))
    kept = labels >= 0
    return Reads(nodules[kept], labels[kept], decided[kept])


def _confusions(
    reads: Reads, weights: Int[np.ndarray, "replicates nodules"]
) -> tuple[Float[np.ndarray, "1 classes classes"], Float[np.ndarray, "replicates classes classes"]]:
    """Return the confusion matrix (rows: label, columns: decision) on all nodules, and those of the replicates."""
    classes = reads.decided.shape[1]
    of_nodule = np.zeros((weights.shape[1], classes, classes))
    np.add.at(of_nodule, (reads.nodules, reads.labels), reads.decided)
    drawn = weights.astype(np.float64) @ of_nodule.reshape(len(of_nodule), -1)
    return of_nodule.sum(axis=0)[None], drawn.reshape(-1, classes, classes)


def _accuracy(counts: Float[np.ndarray, "some classes classes"]) -> Float[np.ndarray, " some"]:
    with np.errstate(invalid="ignore"):  # NaN where nothing was drawn
        return np.asarray(np.trace(counts, axis1=1, axis2=2) / counts.sum(axis=(1, 2)))


def _statistics(
    counts: Float[np.ndarray, "some classes classes"], class_names: Sequence[str]
) -> dict[str, Float[np.ndarray, " some"]]:
    """Return every score of each confusion matrix, NaN where a class that it needs is absent."""
    hits, actual, decided = np.diagonal(counts, axis1=1, axis2=2), counts.sum(axis=2), counts.sum(axis=1)
    ranks = np.arange(len(class_names))
    distance = (ranks[:, None] - ranks) ** 2
    chance = (distance * actual[:, :, None] * decided[:, None]).sum(axis=(1, 2))
    with np.errstate(invalid="ignore", divide="ignore"):
        recall, f1 = hits / actual, np.where(actual > 0, 2 * hits / (actual + decided), np.nan)
        kappa = 1 - (distance * counts).sum(axis=(1, 2)) * counts.sum(axis=(1, 2)) / np.where(
            chance > 0, chance, np.nan
        )
    named = {"accuracy": _accuracy(counts)}
    for index, name in enumerate(class_names):
        named |= {f"recall_{name}": recall[:, index], f"f1_{name}": f1[:, index]}
    return named | {"quadratic_weighted_kappa": kappa}
