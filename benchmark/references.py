"""Reference rows: what no image at all, one number (size, readers), or the radiologists' own ratings can do.

They stand in every table, so that nobody mistakes a class prior or the nodule's size for learning. They are not
methods: they read what a method may not (ratings of the test nodules), and no gradient trains them. Labels of test
nodules reach none.
"""

from typing import TYPE_CHECKING

import numpy as np
from jaxtyping import Float, Int, Shaped

from benchmark.contracts import Columns, Row, Unsupported

if TYPE_CHECKING:
    from sklearn.base import ClassifierMixin

Proba = Float[np.ndarray, "test classes"]
Labels = Int[np.ndarray, " train"]


def majority(train: Columns, test: Columns, labels: Labels, num_classes: int, seed: int) -> Proba:
    """Give every nodule the training set's class frequencies."""
    frequencies = np.bincount(labels, minlength=num_classes) / len(labels)
    return np.tile(frequencies, (len(test), 1))


def log_diameter(train: Columns, test: Columns, labels: Labels, num_classes: int, seed: int) -> Proba:
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
    sizes_train, sizes_test = np.log(train.diameter_mm)[:, None], np.log(test.diameter_mm)[:, None]
    return _over_all_classes(model, sizes_train, sizes_test, labels, num_classes)


def number_of_readers(train: Columns, test: Columns, labels: Labels, num_classes: int, seed: int) -> Proba:
    """Regress the class on how many readers marked the nodule: what a mere habit of marking gives away.

    Each number is a category of its own. A linear term would presume that a class becomes ever more likely with each
    reader, and in LIDC it does not: 49, 66, 30 and 31 % of the nodules with one to four readers are benign. A number
    that no training nodule has gets the regression's intercept alone.

    Raises:
        Unsupported: A nodule's readers are not known.
    """
    if not (train.n_readers.all() and test.n_readers.all()):
        raise Unsupported("the collection does not say how many readers each nodule has")
    from sklearn.linear_model import LogisticRegression
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import OneHotEncoder

    model = make_pipeline(OneHotEncoder(handle_unknown="ignore"), LogisticRegression())
    return _over_all_classes(model, train.n_readers[:, None], test.n_readers[:, None], labels, num_classes)


def ratings_forest(train: Columns, test: Columns, labels: Labels, num_classes: int, seed: int) -> Proba:
    """Grow a random forest on the mean ratings, the test nodules' own included (scikit-learn's defaults).

    Raises:
        Unsupported: The collection has no ratings.
    """
    if not train.attribute_names:
        raise Unsupported("the collection has no attribute ratings")
    from sklearn.ensemble import RandomForestClassifier

    model = RandomForestClassifier(random_state=seed)
    return _over_all_classes(model, train.ratings, test.ratings, labels, num_classes)


def _over_all_classes(
    model: "ClassifierMixin",
    train: Shaped[np.ndarray, "train features"],
    test: Shaped[np.ndarray, "test features"],
    labels: Labels,
    num_classes: int,
) -> Proba:
    """Fit a classifier and return the test probabilities; a class without a training nodule has probability zero."""
    classes = np.unique(labels)
    proba = np.zeros((len(test), num_classes))
    proba[:, classes] = model.fit(train, labels).predict_proba(test) if len(classes) > 1 else 1.0
    return proba


ROWS: dict[str, Row] = {
    row.key: row
    for row in (
        Row("majority", "Majority", "reference", majority),
        Row("log_diameter", "Log diameter", "reference", log_diameter),
        Row("number_of_readers", "Number of readers", "reference", number_of_readers),
        Row("ratings_forest", "Radiologists' ratings", "reference", ratings_forest),
    )
}
