from math import log

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from benchmark.contracts import EncoderSpec, Task, TextTowerSpec, Unsupported
from methods.udm import LEAST_GAP, UnsureDataModel, cost_weights, log_probs, ordered
from vision import batch_of

SPEC = EncoderSpec((4, 4, 4, 4), (1, 1, 1, 1), "deep")
TASK = Task(3, ("a", "b", "c"), (), (2, 16, 16), SPEC, TextTowerSpec())


def double(*values: float) -> torch.Tensor:
    return torch.tensor(values, dtype=torch.float64)


@pytest.mark.parametrize(
    ("score", "thresholds", "expected"),
    [
        (0.0, (-log(3), log(3)), [0.25, 0.5, 0.25]),
        (0.0, (-1.0, 1.0), [0.268941, 0.462117, 0.268941]),
        (1.0, (-1.0, 1.0), [0.119203, 0.380797, 0.5]),
        (0.0, (-log(2), log(2)), [1 / 3, 1 / 3, 1 / 3]),
        (0.0, (-1.0 + log(0.5), 1.0), [0.155362, 0.575696, 0.268941]),  # e_0 = 1/2
        (0.0, (-0.5, 0.5), [0.377541, 0.244919, 0.377541]),  # a valley: the logistic link is not unimodal
        (0.0, (log(3),), [0.75, 0.25]),
    ],
)
def test_equals_the_hand_computed_values(score, thresholds, expected):
    proba = log_probs(double(score), double(*thresholds)).exp()
    torch.testing.assert_close(proba[0], double(*expected), atol=1e-6, rtol=0)


def test_far_intervals_are_exact_in_log_space():
    thresholds = double(30.0, 31.0)
    assert log_probs(double(0.0), thresholds)[0, 1].item() == pytest.approx(-30.458675, abs=1e-6)
    assert log_probs(torch.zeros(1), thresholds.float())[0, 1].item() == pytest.approx(-30.458675, rel=1e-6)


def test_mirrors_and_does_not_move_with_a_common_shift():
    scores, thresholds = torch.linspace(-5, 5, 41, dtype=torch.float64), double(-1.3, 0.2, 0.9)
    log_proba = log_probs(scores, thresholds)
    torch.testing.assert_close(log_probs(-scores, -thresholds.flip(0)), log_proba.flip(1))
    torch.testing.assert_close(log_probs(scores + 7.5, thresholds + 7.5), log_proba)


def test_a_higher_score_makes_every_higher_class_likelier():
    log_proba = log_probs(torch.linspace(-5, 5, 101, dtype=torch.float64), double(-1.0, 1.0))
    above = 1 - log_proba.exp().cumsum(1)[:, :-1]
    assert (above.diff(dim=0) > 0).all()


@settings(deadline=None)
@given(st.lists(st.floats(-50, 50), min_size=1, max_size=4))
def test_thresholds_never_cross(free):
    thresholds = ordered(torch.tensor(free), torch.full((len(free) - 1,), LEAST_GAP))
    assert (thresholds.diff() > 0).all() and log_probs(torch.zeros(1), thresholds).isfinite().all()


@pytest.mark.parametrize("e", [(), (0.5, 1.0), (3.0, 1.0), (1.0, 0.01)])
def test_median_class_is_the_threshold_rule_whatever_e(e):
    torch.manual_seed(0)
    method = UnsureDataModel(TASK, e=e).eval()
    method.head.weight.data *= 30
    images = torch.rand(64, 2, 16, 16)
    median = (method.predict_proba(images).cumsum(1)[:, :-1] < 0.5).sum(1)
    rule = (method.scores(images)[:, None] > method.thresholds).sum(1)
    assert torch.equal(median, rule) and len(rule.unique()) > 1


@pytest.mark.parametrize(("gap", "argmax"), [(log(4) - 0.01, {0, 2}), (log(4) + 0.01, {1})])
def test_argmax_would_need_thresholds_ln_4_apart_to_say_unsure(gap, argmax):
    log_proba = log_probs(double(0.0), double(-gap / 2, gap / 2))
    assert log_proba.argmax().item() in argmax


def test_starts_at_minus_one_and_one_and_the_optimiser_does_not_decay_thresholds():
    method = UnsureDataModel(TASK)
    torch.testing.assert_close(method.thresholds, torch.tensor([-1.0, 1.0]))
    _, spared = method.param_groups()
    assert spared["weight_decay"] == 0 and spared["params"][0] is method.free_thresholds


def test_loss_uses_e_c_and_gamma_and_the_prediction_does_not():
    batch = batch_of(torch.rand(6, 2, 16, 16), torch.tensor([0, 0, 0, 1, 1, 2]))

    def loss_and_proba(**options) -> tuple[float, torch.Tensor]:
        torch.manual_seed(0)
        method = UnsureDataModel(TASK, **options).eval()
        return method.loss(batch)["nll"].item(), method.predict_proba(batch.images)

    neutral, proba = loss_and_proba()
    for options in ({"e": (0.5, 1.0)}, {"c": (0.0, 0.5)}, {"gamma": (1.0, 2.0, 3.0)}, {"gamma": "balanced"}):
        loss, same = loss_and_proba(**options)
        assert abs(loss - neutral) > 1e-3 and torch.equal(same, proba)
    assert loss_and_proba(e=(0.5, 1.0))[0] == pytest.approx(loss_and_proba(c=(log(0.5), 0.0))[0], abs=1e-6)


def test_balanced_costs_give_present_classes_equal_weight():
    assert cost_weights(torch.tensor([0, 0, 0, 1]), None, 3).tolist() == pytest.approx([2 / 3, 2 / 3, 2 / 3, 2.0])


@pytest.mark.parametrize(
    ("options", "reason"),
    [
        ({"e": (0.0, 1.0)}, "e must be positive"),
        ({"gamma": (1.0, -1.0, 1.0)}, "gamma must be"),
        ({"gamma": "fair"}, "gamma must be"),
    ],
)
def test_refuses_impossible_options(options, reason):
    with pytest.raises(ValueError, match=reason):
        UnsureDataModel(TASK, **options)


@pytest.mark.parametrize(
    ("options", "reason"),
    [
        ({"e": (1.0,)}, "e needs 2 values"),
        ({"c": (0.0,) * 3}, "c needs 2 values"),
        ({"gamma": (1.0, 1.0)}, "gamma needs 3 values"),
    ],
)
def test_options_for_another_number_of_classes_are_a_task_that_it_cannot_do(options, reason):
    with pytest.raises(Unsupported, match=reason):
        UnsureDataModel(TASK, **options)
