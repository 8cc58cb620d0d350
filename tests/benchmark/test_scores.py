import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from benchmark.records import FitSpec
from benchmark.scores import Score, Section, by_fold, metric_title, scores_of, sections_of, share_tested
from fakes import A, B, C, record

OPEN_A, RESTRICTED_B, OPEN_B, OPEN_C = (
    Section(A, "open"),
    Section(B, "restricted"),
    Section(B, "open"),
    Section(C, "open"),
)


def fit(fold: int, seed: int, right: int, **changes: object):
    """A fit that decides so many of ten benign nodules rightly, and the others malignant."""
    decided = [0] * right + [2] * (10 - right)
    spec = FitSpec("three", "ce", fold, seed)
    return record(spec, [0] * 10, np.eye(3)[decided].tolist(), **changes)


def test_sections_are_the_papers_decisions_first_and_the_others_behind():
    assert sections_of([A, B, C]) == [OPEN_A, RESTRICTED_B, OPEN_C, OPEN_B]
    assert [section.key for section in sections_of([B])] == ["B-restricted", "B-open"]


def test_a_section_names_its_decision_only_where_there_is_a_choice():
    assert OPEN_A.title == "LIDC-A"
    assert RESTRICTED_B.title == "LIDC-B (decision among benign or malignant)"
    assert OPEN_B.title == "LIDC-B (decision among all classes)"


def test_columns_stand_in_the_papers_order():
    assert OPEN_A.metrics == [
        "accuracy",
        *("recall_benign", "f1_benign", "recall_malignant", "f1_malignant", "recall_unsure", "f1_unsure"),
    ]
    assert RESTRICTED_B.metrics == ["accuracy", "recall_benign", "f1_benign", "recall_malignant", "f1_malignant"]


def test_seeds_of_a_fold_are_averaged_before_folds_are_spread():
    score = Score.of({0: [0.5, 0.7], 2: [0.8, 1.0]})
    assert score.folds.tolist() == pytest.approx([0.6, 0.9])
    assert (score.numbers, score.seeds) == ((0, 2), 2)
    assert score.mean == pytest.approx(0.75)
    assert score.std == pytest.approx(0.3 / math.sqrt(2))  # over two folds, not over four fits


def test_the_spread_between_seeds_is_pooled_by_degrees_of_freedom():
    assert Score.of({0: [0.5, 0.7], 1: [0.8, 0.8]}).seed_std == pytest.approx(math.sqrt(0.02 / 2))
    unequal = Score.of({0: [0.4, 0.5, 0.6], 1: [0.8], 2: [0.0, 0.2]})  # squares 0.02, 0, 0.02; freedom 2, 0, 1
    assert unequal.seed_std == pytest.approx(math.sqrt(0.04 / 3)) and unequal.seeds == 1


def test_one_seed_a_fold_says_nothing_of_seeds():
    score = Score.of({1: [0.5], 0: [0.25]})
    assert math.isnan(score.seed_std) and score.seeds == 1
    assert score.numbers == (0, 1) and score.folds.tolist() == [0.25, 0.5]  # folds ascend


def test_one_fold_has_a_mean_and_no_spread():
    assert Score.of({3: [0.5]}).mean == 0.5 and math.isnan(Score.of({3: [0.5]}).std)


def test_a_score_without_folds_is_unknown():
    empty = Score(np.array([]), ())
    assert math.isnan(empty.mean) and math.isnan(empty.std)
    assert empty.seeds == 1 and math.isnan(empty.seed_std)


@given(st.dictionaries(st.integers(0, 9), st.lists(st.floats(0, 1), min_size=1, max_size=4), min_size=1))
def test_the_mean_weighs_every_fold_alike_whatever_its_seeds(reached):
    assert Score.of(reached).mean == pytest.approx(np.mean([np.mean(of_fold) for of_fold in reached.values()]))


def test_every_metric_of_every_finished_fit_is_kept_by_fold_and_seed():
    fits = [fit(1, 1, 4), fit(1, 0, 3), fit(0, 0, 2), fit(0, 1, 9, status="failed"), fit(2, 0, 9, status="unsupported")]
    reached = by_fold(fits, RESTRICTED_B)
    assert reached["accuracy"] == {0: [0.2], 1: [0.3, 0.4]}
    assert list(reached["accuracy"]) == [0, 1]  # in order
    assert {"accuracy", "recall_benign", "f1_benign", "macro_f1", "auc_ovr"} <= reached.keys()


def test_scores_are_the_sections_own():
    """Ten benign nodules, argmax unsure, benign before malignant: wrong among three classes, right among two."""
    unsure = record(FitSpec("three", "ce", 0, 0), [0] * 10, [[0.3, 0.5, 0.2]] * 10)
    assert scores_of([unsure], OPEN_B)["accuracy"].mean == 0.0
    assert scores_of([unsure], RESTRICTED_B)["accuracy"].mean == 1.0


def test_the_records_decoder_decides():
    split = [[0.4, 0.2, 0.4]] * 10
    for decoder, right in (("argmax", 1.0), ("median", 0.0)):
        fits = [record(FitSpec("three", "ce", 0, 0), [0] * 10, split, decoder=decoder)]
        assert scores_of(fits, OPEN_A)["accuracy"].mean == right


def test_no_finished_fit_means_no_score():
    assert scores_of([fit(0, 0, 5, status="failed")], OPEN_A) == {} == scores_of([], OPEN_A)


@pytest.mark.parametrize(
    ("metric", "title"),
    [("accuracy", "Accuracy"), ("f1_benign", "Benign F1"), ("recall_malignant", "Malignant recall")],
)
def test_headings_read_as_the_papers(metric, title):
    assert metric_title(metric) == title


def test_a_section_tests_the_nodules_of_its_own_classes():
    """Of LIDC's 2,651 nodules 1,123 are benign and 502 malignant: of five folds LIDC-B corrects by 0.153, not 0.25."""
    labels = {0: [0] * 200 + [1] * 205 + [2] * 125, 1: [0] * 923 + [1] * 821 + [2] * 377}
    fits = [record(FitSpec("three", "ce", fold, 0), of, [[1.0, 0.0, 0.0]] * len(of)) for fold, of in labels.items()]
    assert share_tested(fits, RESTRICTED_B) == share_tested(fits, OPEN_B) == 1625 / 2651
    assert share_tested(fits, RESTRICTED_B) / 4 == pytest.approx(0.1532, abs=1e-4)
    assert share_tested(fits, OPEN_A) == 1


def test_a_fold_is_counted_once_and_a_broken_fit_not_at_all():
    twice = [record(FitSpec("three", row, 0, 0), [0, 1], [[1.0, 0.0, 0.0]] * 2) for row in ("ce", "udm")]
    other = record(FitSpec("three", "ce", 1, 0), [1, 1], [[1.0, 0.0, 0.0]] * 2)
    broken = record(FitSpec("three", "ce", 2, 0), [], [], status="failed")
    assert share_tested([*twice, other, broken], RESTRICTED_B) == 1 / 4
    assert share_tested([broken], RESTRICTED_B) == 1
