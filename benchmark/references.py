"""Reference rows: what no image at all, one number, or the radiologists' own ratings can do.

They stand in every table, so that nobody mistakes a class prior or the nodule's size for learning. They are not
methods: they read what a method may not (ratings of the test nodules), and no gradient trains them.
"""

from collections.abc import Callable

import numpy as np
from jaxtyping import Float, Int

from benchmark.contracts import Cohort, Fold

Proba = Float[np.ndarray, "test classes"]
Labels = Int[np.ndarray, " train"]


def majority(cohort: Cohort, fold: Fold, labels: Labels, seed: int) -> Proba:
    """Give every nodule the training set's class frequencies."""
    frequencies = np.bincount(labels) / len(labels)
    return np.tile(frequencies, (len(fold.test), 1))


def log_diameter(cohort: Cohort, fold: Fold, labels: Labels, seed: int) -> Proba:
    """Regress the class on the logarithm of the diameter, standardised, by multinomial logistic regression."""
    from sklearn.linear_model import LogisticRegression
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

    features = np.log(cohort.diameter_mm)[:, None]
    model = make_pipeline(StandardScaler(), LogisticRegression())
    return np.asarray(model.fit(features[fold.train], labels).predict_proba(features[fold.test]))


def ratings_forest(cohort: Cohort, fold: Fold, labels: Labels, seed: int) -> Proba:
    """Grow a random forest on the eight mean ratings, the test nodules' own included (scikit-learn's defaults)."""
    from sklearn.ensemble import RandomForestClassifier

    model = RandomForestClassifier(random_state=seed)
    return np.asarray(model.fit(cohort.ratings[fold.train], labels).predict_proba(cohort.ratings[fold.test]))


REFERENCES: dict[str, tuple[str, Callable[[Cohort, Fold, Labels, int], Proba]]] = {
    "majority": ("Majority", majority),
    "log_diameter": ("Log diameter", log_diameter),
    "ratings_forest": ("Eight ratings", ratings_forest),
}
