"""How a method spreads the nodules out: t-SNE of image features, and a number that needs no picture.

t-SNE keeps neighbours near each other and little else: sizes of groups and distances between them mean nothing, and
another seed gives another picture. So the share of neighbours of the same class is measured on the features themselves.
Both go by the features' direction (cosine), as vision-language rows do; the length is divided out.
Source: van der Maaten and Hinton, Visualizing data using t-SNE, JMLR 9, 2008.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float, Int
from scipy.spatial import cKDTree
from threadpoolctl import threadpool_limits

from benchmark.contracts import InputError
from benchmark.fidelity.statistics import figure
from benchmark.intervals import Interval

PERPLEXITY = 30.0  # van der Maaten and Hinton: 5 to 50; the default of scikit-learn
FEWEST = 5
NEIGHBOURS = 10

Features = Float[np.ndarray, "nodules features"]


@dataclass(frozen=True)
class Spread:
    """How one trained method spreads nodules out.

    Attributes:
        points: Their places in the plane.
        alike: Mean share of a nodule's nearest neighbours, by all features, that have its class.
        by_chance: The same for features that know nothing.
    """

    points: Float[np.ndarray, "nodules 2"]
    alike: Interval
    by_chance: float


def spread(
    features: Features, labels: Int[np.ndarray, " nodules"], patient_ids: Sequence[str], seed: int = 0
) -> Spread:
    """Look at the image features of nodules that one network was not trained on.

    Args:
        features: Of one network: those of several have nothing to do with each other.
        labels: Classes of the nodules.
        patient_ids: The unit that is resampled for the interval.
        seed: Of t-SNE.

    Raises:
        InputError: Fewer than five nodules, or a feature that is not finite.
    """
    alike = neighbours_alike(features, labels)
    mean = figure(patient_ids, lambda rows: float(alike[rows].mean()))
    return Spread(t_sne(features, seed), mean, alike_by_chance(labels))


def t_sne(features: Features, seed: int = 0) -> Float[np.ndarray, "nodules 2"]:
    """Return a place in the plane for each nodule, the same for the same features, seed and machine.

    It starts from the first two principal components, so that the seed decides next to nothing. Perplexity is 30, or a
    third of the other nodules where these are fewer than 90.

    Raises:
        InputError: Fewer than five nodules, or a feature that is not finite.
    """
    from sklearn.manifold import TSNE  # here: it takes a second

    at = directions(features)
    perplexity = min(PERPLEXITY, (len(at) - 1) / 3)
    with threadpool_limits(limits=1):  # several threads add up in another order at each run
        placed = TSNE(perplexity=perplexity, init="pca", random_state=seed).fit_transform(at)
    return np.asarray(placed, dtype=np.float64)


def directions(features: Features) -> Features:
    """Return features of length one; those that are all zero stay so.

    Raises:
        InputError: Fewer than five nodules, or a feature that is not finite.
    """
    if len(features) < FEWEST:
        raise InputError(f"a picture of image features needs at least {FEWEST} nodules, not {len(features)}")
    if not np.isfinite(features).all():
        raise InputError("an image feature is not finite: the weights that gave it are damaged, train the fit anew")
    length = np.linalg.norm(features.astype(np.float64), axis=1, keepdims=True)
    return np.asarray(features / np.where(length > 0, length, 1.0))


def neighbours_alike(
    features: Features, labels: Int[np.ndarray, " nodules"], count: int = NEIGHBOURS
) -> Float[np.ndarray, " nodules"]:
    """Return for each nodule the share of its nearest neighbours, by cosine, that have its class.

    Fewer than `count` other nodules are all neighbours.

    Raises:
        InputError: Fewer than five nodules, or a feature that is not finite.
    """
    _, found = cKDTree(at := directions(features)).query(at, k=min(count + 1, len(at)))
    return np.array(
        [
            np.mean(labels[[other for other in row if other != self][:count]] == labels[self])
            for self, row in enumerate(np.atleast_2d(found).tolist())
        ]
    )


def alike_by_chance(labels: Int[np.ndarray, " nodules"]) -> float:
    """Return the chance that two different nodules have the same class.

    >>> alike_by_chance(np.array([0, 0, 1, 1]))  # one of three others
    0.3333333333333333
    """
    sizes = np.bincount(labels)
    return float((sizes * (sizes - 1)).sum() / (len(labels) * (len(labels) - 1)))
