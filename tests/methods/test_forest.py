from math import log

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor
from torch.autograd import gradcheck

from methods._forest import FLOOR, above_floor, forest_loss, mix, route, update_leaves
from methods.corf import LEAVES, answers_of


def double(values: list) -> Tensor:
    return torch.tensor(values, dtype=torch.float64)


def answers(labels: list[int], num_classes: int, leaf: str = "bernoulli") -> Tensor:
    return answers_of(torch.nn.functional.one_hot(torch.tensor(labels), num_classes).double(), leaf)


def test_routing_equals_the_hand_computed_values():
    torch.testing.assert_close(route(torch.zeros(1, 1, 3)), torch.full((1, 1, 4), 0.25))
    routing = route(double([[[0.75, 0.5, 0.75]]]).logit())
    torch.testing.assert_close(routing[0, 0], double([0.375, 0.375, 0.1875, 0.0625]), atol=1e-6, rtol=0)


@pytest.mark.parametrize("depth", [1, 2, 5])
def test_every_image_reaches_some_leaf(depth):
    routing = route(10 * torch.randn(20, 3, 2**depth - 1, dtype=torch.float64))
    assert routing.shape == (20, 3, 2**depth)
    torch.testing.assert_close(routing.sum(2), torch.ones(20, 3, dtype=torch.float64))


def test_routing_gradcheck():
    assert gradcheck(route, (torch.randn(3, 2, 7, dtype=torch.float64, requires_grad=True),))


def test_loss_is_finite_with_a_finite_gradient_at_huge_scores():
    scores = torch.tensor([1e4, -1e4, 1e4, -1e4, 1e4, 1e4]).reshape(1, 2, 3).requires_grad_()
    leaves = above_floor(torch.tensor([[0.0, 1.0], [1.0, 0.0]]).expand(2, 4, 2, 2))
    loss = forest_loss(mix(route(scores), leaves), answers([1], 3).float())
    (gradient,) = torch.autograd.grad(loss, scores)
    assert loss.isfinite() and gradient.isfinite().all()


def test_leaf_updates_equal_the_hand_computed_values():
    routing, targets = double([[[0.75, 0.25]], [[0.25, 0.75]]]), answers([0, 2], 3)
    leaves = torch.full((1, 2, 2, 2), 0.5, dtype=torch.float64)
    expected = [(0.5, 1.386294), (0.25, 0.940007), (0.1, 0.713350), (0.0357143, 0.623559)]
    for chance, loss in expected:
        torch.testing.assert_close(leaves[0, 0, :, 1], double([chance, chance]), atol=1e-6, rtol=0)
        torch.testing.assert_close(leaves[0, 1, :, 1], double([1 - chance, 1 - chance]), atol=1e-6, rtol=0)
        assert forest_loss(mix(routing, leaves), targets).item() == pytest.approx(loss, abs=1e-6)
        leaves = update_leaves(leaves, routing, targets)
    for _ in range(50):
        leaves = update_leaves(leaves, routing, targets)
    assert forest_loss(mix(routing, leaves), targets).item() == pytest.approx(2 * log(4 / 3), abs=1e-5)


def test_one_update_of_three_nodules_equals_the_hand_computed_values():
    routing, targets = double([[[0.8, 0.2]], [[0.5, 0.5]], [[0.2, 0.8]]]), answers([0, 1, 2], 3)
    leaves = update_leaves(torch.full((1, 2, 2, 2), 0.5, dtype=torch.float64), routing, targets)
    torch.testing.assert_close(leaves[0, :, :, 1], double([[7 / 15, 2 / 15], [13 / 15, 8 / 15]]))


@settings(deadline=None, max_examples=60)
@given(
    seed=st.integers(0, 2**32 - 1),
    num_classes=st.integers(2, 5),
    depth=st.integers(1, 4),
    nodules=st.integers(1, 40),
    spread=st.sampled_from([0.1, 1.0, 10.0, 1000.0]),
    leaf=st.sampled_from(LEAVES),
)
def test_a_leaf_update_never_raises_the_loss(seed, num_classes, depth, nodules, spread, leaf):
    generator = torch.Generator().manual_seed(seed)
    scores = spread * torch.randn(nodules, 2, 2**depth - 1, dtype=torch.float64, generator=generator)
    targets = answers(torch.randint(num_classes, (nodules,), generator=generator).tolist(), num_classes, leaf)
    random = torch.rand(2, 2**depth, *targets.shape[1:], dtype=torch.float64, generator=generator)
    routing, leaves = route(scores), above_floor(random / random.sum(-1, keepdim=True))
    before = forest_loss(mix(routing, leaves), targets)
    for _ in range(20):
        leaves = update_leaves(leaves, routing, targets)
        torch.testing.assert_close(leaves.sum(-1), torch.ones_like(leaves[..., 0]))
        assert leaves.min() > 0.9 * FLOOR
        after = forest_loss(mix(routing, leaves), targets)
        assert after <= before + 1e-9
        before = after


def test_a_leaf_that_nothing_reaches_stays_as_it_is():
    leaves = double([[[[0.3, 0.7]], [[0.2, 0.8]]]])
    updated = update_leaves(leaves, double([[[1.0, 0.0]]]), answers([1], 2))
    assert torch.equal(updated[0, 1], leaves[0, 1]) and updated[0, 0, 0, 1] > 0.999
