import pytest
import torch

from benchmark.contracts import EncoderSpec, Task, TextTowerSpec
from methods import udm
from methods.clm import LINKS, CumulativeLink, log_probs

TASK = Task(4, ("a", "b", "c", "d"), (), (2, 16, 16), EncoderSpec((4, 4, 4, 4), (1, 1, 1, 1), "deep"), TextTowerSpec())


def double(*values: float) -> torch.Tensor:
    return torch.tensor(values, dtype=torch.float64)


@pytest.mark.parametrize(
    ("link", "score", "expected"),
    # ln of differences of the distribution function at -1 - score and 1 - score, computed with 2000 digits
    [
        ("logit", 0.0, [-1.313262, -0.771937, -1.313262]),
        ("logit", 1.0, [-2.126928, -0.965489, -0.693147]),
        ("probit", 0.0, [-1.84102164501, -0.381715146302, -1.84102164501]),
        ("probit", 1.0, [-3.78318433368, -0.739715092852, -0.69314718056]),
        ("probit", -1.5, [-0.368946415289, -1.19624317701, -5.08164827728]),
        ("probit", 12.0, [-87.989719971, -63.8249340945, -1.9106595745e-28]),
        ("probit", -12.0, [-1.9106595745e-28, -63.8249340945, -87.989719971]),
        ("probit", 38.0, [-765.083156564, -689.030585577, -5.72557122252e-300]),
        ("cloglog", 0.0, [-1.17830709642, -0.468065362164, -2.71828182846]),
        ("cloglog", 1.0, [-2.06690460644, -0.682121037864, -1.0]),
        ("cloglog", -3.0, [-0.000618170017052, -7.38905609893, -54.5981500331]),
        ("cloglog", 12.0, [-13.0000011302, -11.1454229389, -1.67017007902e-5]),
        ("cloglog", 38.0, [-39.0, -37.1454134579, -8.53304762574e-17]),
    ],
)
def test_equals_values_of_many_digits(link, score, expected):
    log_proba = log_probs(double(score), double(-1.0, 1.0), link)
    torch.testing.assert_close(log_proba[0], double(*expected), atol=1e-6, rtol=1e-9)


def test_logit_link_is_udm_without_its_options():
    scores, thresholds = torch.linspace(-9, 9, 50, dtype=torch.float64), double(-0.7, 0.1, 2.0)
    assert torch.equal(log_probs(scores, thresholds), udm.log_probs(scores, thresholds))


@pytest.mark.parametrize(("link", "mirrors"), [("logit", True), ("probit", True), ("cloglog", False)])
def test_symmetric_links_mirror(link, mirrors):
    scores, thresholds = torch.linspace(-5, 5, 41, dtype=torch.float64), double(-1.3, 0.2, 0.9)
    mirror = log_probs(-scores, -thresholds.flip(0), link).flip(1)
    assert torch.allclose(mirror, log_probs(scores, thresholds, link)) is mirrors


@pytest.mark.parametrize("link", LINKS)
def test_the_worst_errors_still_get_a_gradient(link):
    scores = torch.tensor([-40.0, 40.0], requires_grad=True)
    loss = -log_probs(scores, torch.tensor([-1.0, 1.0]), link)[[0, 1], [2, 0]].sum()
    (gradient,) = torch.autograd.grad(loss, scores)
    assert gradient[0] < -0.9 and gradient[1] > 0.9


def test_thresholds_start_a_unit_apart_and_never_cross():
    method = CumulativeLink(TASK)
    torch.testing.assert_close(method.thresholds, torch.tensor([0.0, 1.0, 2.0]), atol=3e-3, rtol=0)
    method.free_thresholds.data = torch.tensor([0.5, 0.0, -3.0])
    assert (method.thresholds.diff() > 0).all()


def test_the_optimiser_does_not_decay_thresholds():
    method = CumulativeLink(TASK)
    _, spared = method.param_groups()
    assert spared["weight_decay"] == 0 and spared["params"][0] is method.free_thresholds


def test_refuses_an_unknown_link():
    with pytest.raises(ValueError, match="CLM's link must be one of logit, probit, cloglog, not 'cauchit'"):
        CumulativeLink(TASK, link="cauchit")
