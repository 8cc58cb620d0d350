import pytest
import torch
from torch.autograd import gradcheck

from methods.poisson import log_probs


def inverse_softplus(rate: float) -> torch.Tensor:
    return torch.tensor([rate], dtype=torch.float64).expm1().log()


@pytest.mark.parametrize(
    ("rate", "tau", "expected"),
    [
        (0.6931471805599453, 1.0, [0.517231, 0.358517, 0.124252]),
        (1.0, 1.0, [0.4, 0.4, 0.2]),
        (2**0.5, 1.0, [0.292893, 0.414214, 0.292893]),
        (1.5, 1.0, [0.275862, 0.413793, 0.310345]),
        (2.0, 1.0, [0.2, 0.4, 0.4]),
        (1.2, 0.3, [0.315377, 0.579118, 0.105505]),
    ],
)
def test_equals_the_hand_computed_values(rate, tau, expected):
    proba = log_probs(inverse_softplus(rate), 3, tau).exp()
    torch.testing.assert_close(proba[0], torch.tensor(expected, dtype=torch.float64), atol=1e-6, rtol=0)


def test_gradient_is_expected_rank_minus_label_over_rate():
    rate = inverse_softplus(0.6931471805599453).requires_grad_()
    for label, expected in enumerate([0.875747, -0.566948, -2.009643]):
        (gradient,) = torch.autograd.grad(-log_probs(rate, 3)[0, label], rate)
        assert gradient.item() / 0.5 == pytest.approx(expected, abs=1e-6)  # d softplus(a) / da = 1/2 at rate ln 2


@pytest.mark.parametrize("num_classes", [2, 3, 5])
def test_is_unimodal_and_sums_to_one(num_classes):
    proba = log_probs(torch.linspace(-6, 12, 200, dtype=torch.float64), num_classes).exp()
    torch.testing.assert_close(proba.sum(1), torch.ones(200, dtype=torch.float64))
    steps = proba.diff(dim=1).sign()
    assert not ((steps[:, :-1] < 0) & (steps[:, 1:] > 0)).any()


def test_is_finite_with_a_finite_gradient_at_huge_scores():
    scores = torch.tensor([-1e4, -20.0, -15.0, 0.0, 1e4], requires_grad=True)
    log_proba = log_probs(scores, 3)
    log_proba.sum().backward()
    assert log_proba.isfinite().all() and scores.grad is not None and scores.grad.isfinite().all()


def test_gradcheck():
    scores = torch.tensor([-20.0, -3.0, 0.3, 4.0], dtype=torch.float64, requires_grad=True)
    assert gradcheck(lambda s: log_probs(s, 3, 0.7), (scores,))
