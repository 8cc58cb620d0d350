from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from benchmark.estimates import TITLES, accuracies, decisions, estimates, largest_share, sample_patients, with_interval
from benchmark.metrics import auc, scores
from benchmark.scores import Section
from fakes import A, B, C
from nodule_tables import make_predictions, make_table

SECTIONS = [Section(A, "open"), Section(B, "restricted"), Section(B, "open"), Section(C, "open")]
ONCE = np.ones((1, 60))


CASES = {
    "seed": st.integers(0, 2**32 - 1),
    "digits": st.sampled_from([1, 9]),
    "decoder": st.sampled_from(["argmax", "median"]),
}


def predicted(section, seed, digits, decoder):
    """Predict 60 nodules in two folds at random; one digit makes ties."""
    rng, classes = np.random.default_rng(seed), len(section.protocol.class_names)
    proba = rng.dirichlet(np.ones(classes), size=60).round(digits) + 1e-3
    labels, fold = rng.permutation(np.arange(60) % classes), rng.integers(0, 2, 60)
    return make_predictions(labels, proba / proba.sum(axis=1, keepdims=True), decoder=decoder, fold=fold)


def values(predictions, section, weights=ONCE):
    return {name: found.value for name, found in estimates(predictions, section, weights).items()}


@pytest.mark.parametrize("section", SECTIONS, ids=lambda section: section.key)
@given(**CASES)
@settings(max_examples=25)
def test_what_the_tables_have_too_is_the_same(section, seed, digits, decoder):
    made = replace(predicted(section, seed, digits, decoder), fold=np.zeros(60, dtype=int))
    told = scores(made.labels, made.proba[0], made.decoder, section.protocol, section.decision)
    found = values(made, section)
    assert list(found) == list(TITLES)
    for name in ("accuracy", "mae_ranks", "quadratic_weighted_kappa", "auc_ovr"):
        assert found[name] == pytest.approx(told[name], abs=1e-12), name


@pytest.mark.parametrize("section", SECTIONS, ids=lambda section: section.key)
@given(**CASES)
@settings(max_examples=25)
def test_a_weight_counts_as_so_many_nodules(section, seed, digits, decoder):
    made = predicted(section, seed, digits, decoder)
    times = np.random.default_rng(seed + 1).integers(0, 4, 60)
    rows = np.repeat(np.arange(60), times)
    repeated = make_predictions(made.labels[rows], made.proba[0][rows], decoder=made.decoder, fold=made.fold[rows])
    expected = values(repeated, section, np.ones((1, len(rows))))
    found = values(made, section, times[None].astype(float))
    for name in TITLES:
        if name != "ece_by_chance":  # a number of the probabilities, not of a sample
            assert found[name] == pytest.approx(expected[name], abs=1e-9, nan_ok=True), name


def test_samples_that_draw_every_nodule_once_leave_the_calibration_error_no_width():
    made = make_predictions([0, 2, 2, 2], [[0.8, 0.1, 0.1], [0.1, 0.1, 0.8], [0.2, 0.7, 0.1], [0.1, 0.1, 0.8]])
    found = estimates(made, Section(A, "open"), np.ones((4, 4)))["ece"]
    assert (found.value, found.low, found.high) == pytest.approx([(3 * 0.2 + 0.7) / 4] * 3)


def test_by_hand():
    """Four nodules, decided 0, 2, 1, 2 (one wrong by a rank).

    Brier: 0.06, 0.06, 1.34, 0.06. Ranked probability: nodules 1, 2 and 4 0.2 ** 2 + 0.1 ** 2 over two, nodule 3 (class
    2, told 0.2, 0.7, 0.1) 0.2 ** 2 + 0.9 ** 2 over two. Errors: 0.8 thrice right in a bin, 0.7 wrong in another.
    """
    proba = [[0.8, 0.1, 0.1], [0.1, 0.1, 0.8], [0.2, 0.7, 0.1], [0.1, 0.1, 0.8]]
    found = values(make_predictions([0, 2, 2, 2], proba), Section(A, "open"), np.ones((1, 4)))
    assert found["accuracy"] == 3 / 4 and found["mae_ranks"] == 1 / 4
    nodule_3 = 0.04 + 0.49 + 0.81
    assert found["brier"] == pytest.approx((3 * 0.06 + nodule_3) / 4)
    assert found["rps"] == pytest.approx((3 * (0.04 + 0.01) + 0.04 + 0.81) / 2 / 4)
    assert found["ece"] == pytest.approx((3 * 0.2 + 0.7) / 4)


def test_a_restricted_decision_is_judged_by_restricted_probabilities():
    """0.3, 0.6, 0.1 is 0.75 against 0.25 among the outer classes; open, the nodule's class has 0.3 of 1."""
    made = make_predictions([0, 2], [[0.3, 0.6, 0.1], [0.3, 0.6, 0.1]])
    restricted, opened = (values(made, Section(B, how), np.ones((1, 2))) for how in ("restricted", "open"))
    assert restricted["brier"] == pytest.approx((2 * 0.25**2 + 2 * 0.75**2) / 2)
    assert restricted["rps"] == pytest.approx((0.25**2 + 0.75**2) / 2)
    assert restricted["ece"] == pytest.approx(0.25)
    assert opened["brier"] == pytest.approx(((0.49 + 0.36 + 0.01) + (0.09 + 0.36 + 0.81)) / 2)
    assert opened["ece"] == pytest.approx(0.6)


def test_seeds_are_judged_apart_and_averaged():
    proba = np.random.default_rng(0).dirichlet(np.ones(3), size=(2, 60))
    made, section = make_predictions(np.arange(60) % 3, proba), SECTIONS[0]
    each = [values(replace(made, proba=made.proba[[seed]]), section) for seed in (0, 1)]
    for name, value in values(made, section).items():
        assert value == pytest.approx((each[0][name] + each[1][name]) / 2), name


def test_nodules_of_two_folds_are_never_set_against_each_other():
    """Each fold is in perfect order, at another level; one fold's scale is not another's."""
    top = np.array([0.1, 0.2, 0.8, 0.9])
    made = make_predictions([0, 1, 0, 1], np.stack([1 - top, top], axis=1), fold=np.array([0, 0, 1, 1]))
    assert auc(made.labels, top) == 3 / 4
    assert values(made, Section(C, "open"), np.ones((1, 4)))["auc_ovr"] == 1.0
    turned = replace(made, labels=np.array([0, 1, 1, 0]))  # the second fold's one pair is lost
    assert values(turned, Section(C, "open"), np.ones((1, 4)))["auc_ovr"] == 0.5


def test_a_row_that_knows_the_class_sizes_alone_has_no_skill():
    """Fold by fold the majority's probabilities fall where its class is common in the test fold."""
    labels = np.array([0] * 8 + [1] * 2 + [0] * 6 + [1] * 4)
    fold = np.repeat([0, 1], 10)
    malignant = np.where(fold == 0, 0.4, 0.2)
    made = make_predictions(labels, np.stack([1 - malignant, malignant], axis=1), fold=fold)
    found = values(made, Section(C, "open"), np.ones((1, 20)))
    assert auc(labels, malignant) < 0.4 and found["auc_ovr"] == 0.5 and found["quadratic_weighted_kappa"] == 0


def test_intervals_are_the_middle_of_the_samples_without_the_number_itself():
    found = with_interval(np.array([7.0, *np.arange(1001)]))
    assert (found.value, found.low, found.high) == (7.0, 25.0, 975.0)
    unknown = with_interval(np.array([7.0, 1.0, np.nan, 2.0]))
    assert unknown.value == 7.0 and np.isnan(unknown.low) and np.isnan(unknown.high)


def test_samples_draw_whole_patients_and_begin_with_everybody():
    table = make_table(6, patient_ids=("a", "a", "b", "c", "c", "d"))
    made = make_predictions([0, 1, 2, 0], np.full((4, 3), 1 / 3), nodules=np.array([0, 1, 3, 4]))
    weights = sample_patients(made, table, samples=50)
    assert weights.shape == (51, 4) and (weights[0] == 1).all()
    assert (weights[:, 0] == weights[:, 1]).all() and (weights[:, 2] == weights[:, 3]).all()
    assert (weights[1:, 0] + weights[1:, 2] == 2).all() and set(weights[1:, 0]) == {0, 1, 2}
    assert np.array_equal(weights, sample_patients(made, table, samples=50, seed=0))


def test_intervals_widen_with_patients_of_many_nodules():
    rng = np.random.default_rng(0)
    right = np.repeat(rng.random(50) < 0.6, 10)  # all nodules of a patient are right, or none
    made = make_predictions(np.where(right, 0, 1), np.tile([0.8, 0.2], (500, 1)))
    widths = []
    for patients in (tuple(f"p{i}" for i in range(500)), tuple(f"p{i // 10}" for i in range(500))):
        weights = sample_patients(made, make_table(500, patient_ids=patients))
        found = estimates(made, Section(C, "open"), weights)["accuracy"]
        assert found.low < found.value < found.high
        widths.append(found.high - found.low)
    assert widths[1] == pytest.approx(np.sqrt(10) * widths[0], rel=0.15)


def test_accuracies_of_groups_by_hand():
    weights = np.array([[1, 1, 1, 1], [0, 2, 1, 1], [0, 0, 2, 2]], dtype=float)
    groups = [np.array([True, True, False, False]), np.array([False, True, True, True])]
    first, second = accuracies(np.array([1, 0, 0.5, 1]), groups, weights)
    assert first.value == 0.5 and np.isnan(first.low)  # a sample holds none of them
    assert second.value == 0.5
    assert (second.low, second.high) == (1.5 / 4, 3 / 4)
    assert accuracies(np.ones(4), [], weights) == []


def test_without_tested_nodules_nothing_is_known():
    made = make_predictions([1, 1], [[0.2, 0.5, 0.3]] * 2)
    found = estimates(made, Section(B, "restricted"), np.ones((3, 2)))
    assert np.isnan([value for each in found.values() for value in (each.value, each.low, each.high)]).all()
    assert np.isnan(largest_share(np.array([], dtype=int))) and largest_share(np.array([2, 0, 2])) == 2 / 3


def test_decisions_are_the_decoders():
    made = make_predictions([0], [[[0.4, 0.15, 0.45]], [[0.6, 0.1, 0.3]]])
    assert decisions(made, SECTIONS[0]).tolist() == [[2], [0]]
    assert decisions(replace(made, decoder="median"), SECTIONS[0]).tolist() == [[1], [0]]


def test_a_nodule_without_probability_on_the_tested_classes_has_them_alike():
    made = make_predictions([0, 2], [[0.0, 1.0, 0.0]] * 2)
    found = values(made, Section(B, "restricted"), np.ones((1, 2)))
    assert (found["brier"], found["rps"], found["auc_ovr"]) == (0.5, 0.25, 0.5)
