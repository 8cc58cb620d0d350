"""A second opinion on two classes: mlscorecheck searches confusion matrices by interval arithmetic."""

import logging

import numpy as np
import pytest

from benchmark.audit.alterations import altered
from benchmark.audit.consistency import Row, row_fits

pytest.importorskip("mlscorecheck", reason="the oracle is in the dev group of pyproject.toml")

from mlscorecheck.check.binary import check_1_testset_no_kfold

HALF_UNIT = 0.0005


@pytest.fixture(autouse=True)
def quiet():
    before = logging.root.level
    logging.disable()
    yield
    logging.disable(before)


def rows(count: int):
    """Yield rows printed from true matrices of two classes, every other one with an altered last digit."""
    rng = np.random.default_rng(0)
    for number in range(count):
        negatives, positives = (int(n) for n in rng.integers(30, 400, size=2))
        tn, tp = int(rng.binomial(negatives, 0.9)), int(rng.binomial(positives, 0.7))
        fn, fp = positives - tp, negatives - tn
        accuracy = (tn + tp) / (negatives + positives)
        numbers = [accuracy, tn / negatives, tp / positives, 2 * tn / (2 * tn + fn + fp), 2 * tp / (2 * tp + fn + fp)]
        scores = [round(1000 * number) for number in numbers]
        row = Row(scores[0], tuple(scores[1:3]), tuple(scores[3:]))
        if number % 2:
            accuracy, *rest = (int(score) for score in rng.choice(altered(row)))
            row = Row(accuracy, tuple(rest[:2]), tuple(rest[2:]))
        yield row, (negatives, positives)


def test_agrees_with_the_oracle_on_200_rows():
    verdicts = []
    for row, (negatives, positives) in rows(200):
        names = ("acc", "spec", "sens", "f1n", "f1p")
        printed = {name: int(score) / 1000 for name, score in zip(names, row.scores, strict=True)}
        opinion = check_1_testset_no_kfold(testset={"p": positives, "n": negatives}, scores=printed, eps=HALF_UNIT)
        verdicts.append((row_fits(row, (negatives, positives)), not opinion["inconsistency"]))
    assert all(ours == theirs for ours, theirs in verdicts)
    assert 100 <= sum(ours for ours, _ in verdicts) < 120  # the true ones, and a few that the alteration left possible
