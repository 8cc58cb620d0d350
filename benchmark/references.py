"""Reference rows: what no image at all, one number, or the radiologists' own ratings can do.

They stand in every table, so that nobody mistakes a class prior or the nodule's size for learning. They are not
methods: they read what a method may not (ratings of the test nodules), and no gradient trains them. Labels of test
nodules reach none.
"""

import numpy as np
from jaxtyping import Float, Int

from benchmark.contracts import Columns, Row, Unsupported

Proba = Float[np.ndarray, "test classes"]
Labels = Int[np.ndarray, " train"]


def majority(train: Columns, test: Columns, labels: Labels, seed: int) -> Proba:
    """Give every nodule the training set's class frequencies."""
    frequencies = np.bincount(labels) / len(labels)
    return np.tile(frequencies, (len(test), 1))


def log_diameter(train: Columns, test: Columns, labels: Labels, seed: int) -> Proba:
    """Regress the class on the logarithm of the diameter, standardised, by multinomial logistic regression.

    Raises:
        Unsupported: A nodule has no diameter.
    """
    if not (np.isfinite(train.diameter_mm).all() and np.isfinite(test.diameter_mm).all()):
        raise Unsupported("the collection does not give every nodule's diameter")
    from sklearn.linear_model import LogisticRegression
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

    model = make_pipeline(StandardScaler(), LogisticRegression())
    model.fit(np.log(train.diameter_mm)[:, None], labels)
    return np.asarray(model.predict_proba(np.log(test.diameter_mm)[:, None]))


def ratings_forest(train: Columns, test: Columns, labels: Labels, seed: int) -> Proba:
    """Grow a random forest on the mean ratings, the test nodules' own included (scikit-learn's defaults).

    Raises:
        Unsupported: The collection has no ratings.
    """
    if not train.attribute_names:
        raise Unsupported("the collection has no attribute ratings")
    from sklearn.ensemble import RandomForestClassifier

    model = RandomForestClassifier(random_state=seed)
    return np.asarray(model.fit(train.ratings, labels).predict_proba(test.ratings))


ROWS: dict[str, Row] = {
    row.key: row
    for row in (
        Row("majority", "Majority", "reference", majority),
        Row("log_diameter", "Log diameter", "reference", log_diameter),
        Row("ratings_forest", "Radiologists' ratings", "reference", ratings_forest),
    )
}
