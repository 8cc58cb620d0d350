import pytest
import torch
from torch.autograd import gradcheck

from benchmark.contracts import EncoderSpec, Task, TextTowerSpec
from methods.poisson import Poisson, log_probs
from vision import batch_of

TASK = Task(3, ("a", "b", "c"), (), (2, 16, 16), EncoderSpec((4, 4, 4, 4), (1, 1, 1, 1), "deep"), TextTowerSpec())
BATCH = batch_of(torch.rand(6, 2, 16, 16, generator=torch.Generator().manual_seed(0)), torch.arange(6) % 3)


def build(**options) -> Poisson:
    torch.manual_seed(0)
    return Poisson(TASK, **options).eval()


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


def test_gradcheck_of_the_temperature():
    scores = torch.tensor([-3.0, 0.3, 4.0], dtype=torch.float64)
    log_tau = torch.tensor(-0.4, dtype=torch.float64, requires_grad=True)
    assert gradcheck(lambda t: log_probs(scores, 3, t.exp()), (log_tau,))


@pytest.mark.parametrize("tau", [1.0, 0.3])
def test_a_learned_temperature_starts_where_a_fixed_one_stays(tau):
    fixed, learned = build(tau=tau), build(tau=tau, learn_tau=True)
    torch.testing.assert_close(learned.predict_proba(BATCH.images), fixed.predict_proba(BATCH.images))
    assert learned.state_dict().keys() - fixed.state_dict().keys() == {"log_tau"}


def test_a_learned_temperature_follows_its_gradient_and_is_not_decayed():
    method = build(learn_tau=True)
    before = method.loss(BATCH)["nll"]
    *_, spared = method.param_groups()
    assert spared["weight_decay"] == 0 and spared["params"][0] is method.log_tau
    for _ in range(5):
        (gradient,) = torch.autograd.grad(method.loss(BATCH)["nll"], method.log_tau)
        method.log_tau.data -= gradient
    assert method.loss(BATCH)["nll"] < before and method.log_tau.exp() > 0


@pytest.mark.parametrize("tau", [0.0, -1.0])
def test_refuses_an_impossible_temperature(tau):
    with pytest.raises(ValueError, match="temperature tau must be positive"):
        build(tau=tau)
