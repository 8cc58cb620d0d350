"""What the mathematics of every ordinal head promises, for two, three and five classes."""

import pytest
import torch
from torch import Tensor
from torch.autograd import gradcheck

from methods import binomial, clm, coral, corf, corn, nsb, poisson, sord, udm
from methods._forest import route

ROWS = 7


def head(key: str, num_classes: int, dtype: torch.dtype):
    """Return the head as a function of tensors, the shape of its scores, and its other inputs."""
    levels = num_classes - 1
    ascending = torch.arange(levels, dtype=dtype) * 0.7 - 0.4
    leaves = torch.rand(2, 4, levels, 2, dtype=dtype, generator=torch.Generator().manual_seed(0)) + 0.1
    return {
        "poisson": (lambda s: poisson.log_probs(s, num_classes, 0.7), (ROWS,), ()),
        "binomial": (lambda s: binomial.log_probs(s, num_classes, 0.7), (ROWS,), ()),
        "nsb": (nsb.log_probs, (ROWS, levels), ()),
        "udm": (udm.log_probs, (ROWS,), (ascending,)),
        "corf": (lambda s, leaves: corf.log_probs(route(s), leaves), (ROWS, 2, 3), (leaves / leaves.sum(-1, True),)),
        "coral": (coral.log_probs, (ROWS,), (-ascending,)),
        "corn": (corn.log_probs, (ROWS, levels), ()),
        "sord": (sord.log_probs, (ROWS, num_classes), ()),
        "clm_logit": (lambda s, b: clm.log_probs(s, b, "logit"), (ROWS,), (ascending,)),
        "clm_probit": (lambda s, b: clm.log_probs(s, b, "probit"), (ROWS,), (ascending,)),
        "clm_cloglog": (lambda s, b: clm.log_probs(s, b, "cloglog"), (ROWS,), (ascending,)),
    }[key]


KEYS = ["poisson", "binomial", "nsb", "udm", "corf", "coral", "corn", "sord", "clm_logit", "clm_probit", "clm_cloglog"]
pytestmark = [pytest.mark.parametrize("num_classes", [2, 3, 5]), pytest.mark.parametrize("key", KEYS)]


def random_scores(shape: tuple[int, ...], spread: float) -> Tensor:
    return spread * torch.randn(shape, dtype=torch.float64, generator=torch.Generator().manual_seed(1))


@pytest.mark.parametrize("spread", [1.0, 30.0])
def test_probabilities_sum_to_one(key, num_classes, spread):
    log_probs, shape, others = head(key, num_classes, torch.float64)
    proba = log_probs(random_scores(shape, spread), *others).exp()
    assert proba.shape == (ROWS, num_classes) and (proba >= 0).all()
    torch.testing.assert_close(proba.sum(dim=1), torch.ones(ROWS, dtype=torch.float64), atol=1e-9, rtol=0)


def test_gradcheck(key, num_classes):
    log_probs, shape, others = head(key, num_classes, torch.float64)
    inputs = [tensor.clone().requires_grad_() for tensor in (random_scores(shape, 2.0), *others)]
    assert gradcheck(log_probs, inputs)


@pytest.mark.parametrize("pattern", [(1e4,), (-1e4,), (1e4, -1e4)])
def test_values_and_gradients_are_finite_at_huge_scores(key, num_classes, pattern):
    log_probs, shape, others = head(key, num_classes, torch.float32)
    rows = torch.tensor([pattern[i % len(pattern)] for i in range(torch.Size(shape).numel())]).reshape(shape)
    inputs = [tensor.clone().requires_grad_() for tensor in (rows, *others)]
    log_proba = log_probs(*inputs)
    assert log_proba.isfinite().all()
    for column in log_proba.unbind(dim=1):
        gradients = torch.autograd.grad(column.sum(), inputs, retain_graph=True)
        assert all(gradient.isfinite().all() for gradient in gradients)
