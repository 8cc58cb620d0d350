from math import log

import pytest
import torch

from methods.binomial import log_probs


def logit(chance: float) -> torch.Tensor:
    return torch.tensor([chance], dtype=torch.float64).logit()


@pytest.mark.parametrize(
    ("chance", "expected"),
    [
        (1 / 2, [0.25, 0.5, 0.25]),
        (2 / 3, [1 / 9, 4 / 9, 4 / 9]),
        (1 / 4, [0.5625, 0.375, 0.0625]),
        (1 / 2, [1 / 16, 4 / 16, 6 / 16, 4 / 16, 1 / 16]),
        (0.3, [0.7, 0.3]),
    ],
)
def test_equals_the_hand_computed_values(chance, expected):
    proba = log_probs(logit(chance), len(expected)).exp()
    torch.testing.assert_close(proba[0], torch.tensor(expected, dtype=torch.float64), atol=1e-6, rtol=0)


def test_gradient_is_expected_rank_minus_label():
    scores = logit(0.3).requires_grad_()
    for label in range(4):
        (gradient,) = torch.autograd.grad(-log_probs(scores, 4)[0, label], scores)
        assert gradient.item() == pytest.approx(3 * 0.3 - label, abs=1e-9)


@pytest.mark.parametrize("tau", [0.3, 1.0, 2.0])
@pytest.mark.parametrize("num_classes", [2, 3, 5])
def test_is_unimodal_and_mirrors(num_classes, tau):
    scores = torch.linspace(-6, 6, 121, dtype=torch.float64)
    log_proba = log_probs(scores, num_classes, tau)
    assert (log_proba.diff(n=2, dim=1) < 0).all()  # log-concave, hence unimodal
    torch.testing.assert_close(log_proba.flip(1), log_probs(-scores, num_classes, tau))


def test_argmax_cuts_are_at_a_third_and_two_thirds_whatever_the_temperature():
    chances = torch.tensor([0.1, 0.33, 0.34, 0.66, 0.67, 0.9], dtype=torch.float64)
    for tau in (0.3, 1.0, 2.0):
        assert log_probs(chances.logit(), 3, tau).argmax(1).tolist() == [0, 0, 1, 1, 2, 2]


def test_an_unsure_nodule_costs_at_least_ln_2():
    losses = -log_probs(torch.linspace(-8, 8, 1001, dtype=torch.float64), 3)[:, 1]
    assert losses.min().item() == pytest.approx(log(2), abs=1e-9)
