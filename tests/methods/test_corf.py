import pytest
import torch
from torch import Tensor

from benchmark.contracts import Batch, EncoderSpec, Task, TextTowerSpec
from methods._ordinal import levels
from methods.corf import LEAVES, OrdinalForest, answers_of, log_probs
from vision import batch_of

SPEC = EncoderSpec((4, 4, 4, 4), (1, 1, 1, 1), "deep")
TASK = Task(3, ("a", "b", "c"), (), (2, 16, 16), SPEC, TextTowerSpec())


def double(values: list) -> Tensor:
    return torch.tensor(values, dtype=torch.float64)


def answers(labels: list[int], num_classes: int, leaf: str = "bernoulli") -> Tensor:
    return answers_of(torch.nn.functional.one_hot(torch.tensor(labels), num_classes).double(), leaf)


def a_batch(size: int, num_classes: int = 3) -> Batch:
    images = torch.rand(size, 2, 16, 16, generator=torch.Generator().manual_seed(0))
    return batch_of(images, torch.arange(size) % num_classes)


def refresh(method: OrdinalForest, batch: Batch, size: int) -> None:
    method.eval()
    with torch.no_grad():
        method.after_epoch(batch.split(size))


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
    predictions = []
    for rows, size in ((batch, 30), (batch, 7), (batch[order], 11)):
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
