from math import log

import pytest
import torch

from benchmark.contracts import EncoderSpec, Task, TextTowerSpec
from methods.nsb import NeuronStickBreaking, log_probs
from vision import batch_of

TASK = Task(3, ("a", "b", "c"), (), (2, 16, 16), EncoderSpec((4, 4, 4, 4), (1, 1, 1, 1), "deep"), TextTowerSpec())


@pytest.mark.parametrize(
    ("scores", "expected"),
    [
        ((0.0, 0.0), [0.5, 0.25, 0.25]),
        ((log(3), 0.0), [0.75, 0.125, 0.125]),
        ((-log(3), log(3)), [0.25, 0.5625, 0.1875]),
        ((-log(2), 0.0), [1 / 3, 1 / 3, 1 / 3]),
        ((0.0,), [0.5, 0.5]),
    ],
)
def test_equals_the_hand_computed_values(scores, expected):
    proba = log_probs(torch.tensor([scores], dtype=torch.float64)).exp()
    torch.testing.assert_close(proba[0], torch.tensor(expected, dtype=torch.float64), atol=1e-6, rtol=0)


def test_far_scores_are_exact_in_log_space():
    log_proba = log_probs(torch.tensor([[-100.0, -100.0]]))
    torch.testing.assert_close(log_proba, torch.tensor([[-100.0, -100.0, 0.0]]))


def test_a_class_can_have_all_the_probability():
    assert (log_probs(torch.tensor([[60.0, 0.0], [-60.0, 60.0], [-60.0, -60.0]])).exp().diagonal() == 1).all()


def test_a_label_moves_only_the_scores_up_to_its_own():
    scores = torch.tensor([[0.3, -0.7]], dtype=torch.float64, requires_grad=True)
    stop = scores.detach()[0].sigmoid()
    for label, expected in enumerate([[stop[0] - 1, 0], [stop[0], stop[1] - 1], [stop[0], stop[1]]]):
        (gradient,) = torch.autograd.grad(-log_probs(scores)[0, label], scores)
        assert gradient[0].tolist() == pytest.approx([float(value) for value in expected], abs=1e-12)


def test_chance_to_pass_a_class_is_a_product_that_falls():
    scores = torch.randn(50, 4, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    above = 1 - log_probs(scores).exp().cumsum(1)[:, :-1]
    torch.testing.assert_close(above, (1 - scores.sigmoid()).cumprod(1))


def test_has_no_mirror_image():
    scores = torch.tensor([[0.3, -0.7]])
    assert not torch.allclose(log_probs(scores).flip(1), log_probs(-scores.flip(1)), atol=1e-3)


def test_starts_with_equally_likely_classes():
    method = NeuronStickBreaking(TASK)
    proba = log_probs(method.head.bias[None]).exp()
    torch.testing.assert_close(proba, torch.full((1, 3), 1 / 3))


def test_smoothing_keeps_most_of_the_target_on_the_label():
    torch.manual_seed(0)
    method = NeuronStickBreaking(TASK, smoothing=0.15).eval()
    batch = batch_of(torch.rand(1, 2, 16, 16), torch.tensor([0]))
    # 0.85 (1, 0, 0) + 0.15 (0.665241, 0.244728, 0.090031)
    target = torch.tensor([0.949786, 0.036709, 0.013505])
    expected = -(target * method.log_proba(batch.images)).sum()
    torch.testing.assert_close(method.loss(batch)["nll"], expected, atol=1e-5, rtol=0)


@pytest.mark.parametrize("options", [{"smoothing": 1.0}, {"smoothing": -0.1}, {"smoothing_tau": 0.0}])
def test_refuses_impossible_smoothing(options):
    with pytest.raises(ValueError, match="NSB's smoothing"):
        NeuronStickBreaking(TASK, **options)
