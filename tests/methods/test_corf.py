from math import log

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor
from torch.autograd import gradcheck

from benchmark.contracts import Batch, EncoderSpec, Task, TextTowerSpec, batches_of
from methods._forest import FLOOR, above_floor, forest_loss, mix, route, update_leaves
from methods._ordinal import levels
from methods.corf import LEAVES, OrdinalForest, answers_of, log_probs

SPEC = EncoderSpec((4, 4, 4, 4), (1, 1, 1, 1), "deep")
TASK = Task(3, ("a", "b", "c"), (), (2, 16, 16), SPEC, TextTowerSpec())


def double(values: list) -> Tensor:
    return torch.tensor(values, dtype=torch.float64)


def answers(labels: list[int], num_classes: int, leaf: str = "bernoulli") -> Tensor:
    return answers_of(torch.nn.functional.one_hot(torch.tensor(labels), num_classes).double(), leaf)


def a_batch(size: int, num_classes: int = 3) -> Batch:
    images = torch.rand(size, 2, 16, 16, generator=torch.Generator().manual_seed(0))
    return Batch(images, torch.arange(size) % num_classes, torch.zeros(size, 0))


def refresh(method: OrdinalForest, batch: Batch, size: int) -> None:
    method.eval()
    with torch.no_grad():
        method.after_epoch(batches_of(batch, size))


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


def test_bernoulli_answers_are_the_levels_and_categorical_ones_the_classes():
    labels = [0, 1, 2, 3]
    assert torch.equal(answers(labels, 4)[..., 1], levels(torch.tensor(labels), 4).double())
    assert torch.equal(answers(labels, 4, "categorical")[:, 0], torch.eye(4, dtype=torch.float64))


def test_class_probabilities_are_differences_after_a_running_minimum():
    def proba(*above: float) -> Tensor:
        leaf = double([[1 - chance, chance] for chance in above])
        return log_probs(torch.ones(1, 1, 1, dtype=torch.float64), leaf[None, None]).exp()[0]

    torch.testing.assert_close(proba(0.75, 0.5), double([0.25, 0.25, 0.5]))
    torch.testing.assert_close(proba(0.4, 0.6), double([0.6, 0.0, 0.4]), atol=2e-6, rtol=0)
    torch.testing.assert_close(proba(0.3), double([0.7, 0.3]))


def test_categorical_leaves_keep_the_order_and_their_probabilities():
    leaves = double([[[[0.2, 0.5, 0.3]], [[0.6, 0.1, 0.3]]]])
    proba = log_probs(double([[[0.25, 0.75]]]), leaves).exp()
    torch.testing.assert_close(proba, double([[0.5, 0.2, 0.3]]))


def test_node_maps_repeat_no_unit_within_a_tree_and_follow_the_seed():
    def maps(seed: int) -> Tensor:
        torch.manual_seed(seed)
        return OrdinalForest(TASK).node_maps

    assert maps(0).shape == (5, 31) and all(len(tree.unique()) == 31 for tree in maps(0))
    assert torch.equal(maps(0), maps(0)) and not torch.equal(maps(0), maps(1))


@pytest.mark.parametrize("leaf", LEAVES)
def test_leaves_are_buffers_that_pass_the_network_a_gradient_before_any_update(leaf):
    torch.manual_seed(0)
    method = OrdinalForest(TASK, leaf=leaf)
    assert {"leaves", "node_maps"} == {name for name, _ in method.named_buffers() if "." not in name}
    assert {name.split(".")[0] for name, _ in method.named_parameters()} == {"encoder", "head"}
    method.loss(a_batch(8))["forest"].backward()
    assert method.head.weight.grad.abs().max() > 1e-6
    # Uniform leaves would not: whatever the routing, the answers are the same.
    method.leaves.fill_(0.5 if leaf == "bernoulli" else 1 / 3)
    method.zero_grad()
    method.loss(a_batch(8))["forest"].backward()
    assert method.head.weight.grad.abs().max() < 1e-6


@pytest.mark.parametrize("leaf", LEAVES)
def test_leaves_do_not_depend_on_how_the_training_set_is_cut_or_ordered(leaf):
    batch = a_batch(30)
    order = torch.randperm(30, generator=torch.Generator().manual_seed(1))
    shuffled = Batch(batch.images[order], batch.labels[order], batch.attributes[order])
    predictions = []
    for rows, size in ((batch, 30), (batch, 7), (shuffled, 11)):
        torch.manual_seed(0)
        method = OrdinalForest(TASK, leaf=leaf)
        before = method.leaves.clone()
        refresh(method, rows, size)
        assert not torch.equal(method.leaves, before)
        predictions.append(method.predict_proba(batch.images))
    for other in predictions[1:]:
        torch.testing.assert_close(other, predictions[0], atol=1e-6, rtol=0)


@pytest.mark.parametrize("leaf", LEAVES)
def test_an_epochs_leaf_updates_lower_the_training_loss(leaf):
    torch.manual_seed(0)
    method, batch = OrdinalForest(TASK, leaf=leaf).eval(), a_batch(30)
    before = method.loss(batch)["forest"]
    refresh(method, batch, 30)
    assert method.loss(batch)["forest"] < before


def test_two_classes_make_both_kinds_of_leaf_the_same_model():
    task = Task(2, ("a", "b"), (), (2, 16, 16), SPEC, TextTowerSpec())
    batch, predictions = a_batch(12, num_classes=2), []
    for leaf in LEAVES:
        torch.manual_seed(0)
        method = OrdinalForest(task, leaf=leaf)
        refresh(method, batch, 12)
        predictions.append(method.predict_proba(batch.images))
    torch.testing.assert_close(*predictions)


@pytest.mark.parametrize(
    ("options", "reason"),
    [
        ({"depth": 8}, "read 255 different units; units=128 is too few"),
        ({"trees": 0}, "trees=0"),
        ({"leaf_updates": 0}, "leaf_updates=0"),
        ({"leaf": "gaussian"}, "leaf must be one of bernoulli, categorical"),
    ],
)
def test_refuses_impossible_options(options, reason):
    with pytest.raises(ValueError, match=reason):
        OrdinalForest(TASK, **options)
