import pytest
import torch
from torch import Tensor

from benchmark.contracts import Batch, EncoderSpec, Task, TextTowerSpec
from benchmark.recipe import Recipe
from benchmark.trainer import fit
from methods.corf import LEAVES, OrdinalForest
from methods.morf import MetaForest, balanced, virtual_step
from vision import batch_of

SPEC = EncoderSpec((4, 4, 4, 4), (1, 1, 1, 1), "deep")
TASK = Task(3, ("a", "b", "c"), (), (2, 16, 16), SPEC, TextTowerSpec())
RECIPE = Recipe(epochs=3, batch_size=8, lr=0.1, nesterov=True, weight_decay=5e-4)


def a_batch(size: int = 24) -> Batch:
    images = torch.rand(size, 2, 16, 16, generator=torch.Generator().manual_seed(0))
    return batch_of(images, torch.arange(size) % 3)


def built(seed: int = 0, **options) -> MetaForest:
    torch.manual_seed(seed)
    return MetaForest(TASK, **options)


def always_one(method: MetaForest) -> MetaForest:
    last = method.weigher[2]
    with torch.no_grad():
        last.weight.zero_()
        last.bias.fill_(40.0)  # whose sigmoid is one in single precision
    return method


@pytest.mark.parametrize("leaf", LEAVES)
def test_with_equal_weights_and_no_choice_of_units_it_is_corf_bit_for_bit(leaf):
    method = always_one(built(group=1, leaf=leaf))
    torch.manual_seed(0)
    corf = OrdinalForest(TASK, leaf=leaf)
    histories = [fit(one, a_batch(), RECIPE, seed=1).history for one in (method, corf)]
    assert [epoch["forest"] for epoch in histories[0]] == [epoch["forest"] for epoch in histories[1]]
    state = method.state_dict()
    assert all(torch.equal(value, state[name]) for name, value in corf.state_dict().items())
    with torch.no_grad():
        assert torch.equal(method.predict_proba(a_batch().images), corf.predict_proba(a_batch().images))


@pytest.mark.parametrize("change", [{"group": 4}, {"group": 1}])
def test_weights_and_choice_each_make_another_forest(change):
    method = built(**change)
    if change["group"] > 1:
        always_one(method)
    torch.manual_seed(0)
    corf = OrdinalForest(TASK)
    for one in (method, corf):
        fit(one, a_batch(), RECIPE, seed=1)
    assert not torch.allclose(method.head.weight, corf.head.weight, atol=1e-4)


def test_weights_lie_between_zero_and_one_and_follow_the_loss():
    weights = built().weigh(torch.linspace(0, 4, 50))
    assert ((weights > 0) & (weights < 1)).all() and weights.std() > 1e-3


def test_balanced_weights_equal_the_hand_computed_values():
    expected = torch.tensor([1 / 6, 1 / 6, 1 / 6, 1 / 2])
    torch.testing.assert_close(balanced(torch.tensor([0, 0, 0, 2]), 3), expected)


def test_a_virtual_step_equals_the_hand_computed_one():
    """Losses x^2 / 2 and -x at x = 2: their mean has slope 1/2, a step of 0.1 ends at 1.95, where x^2 / 2 has 1.95."""

    def losses_of(layer: tuple[Tensor, ...]) -> Tensor:
        return torch.stack([layer[0] ** 2 / 2, -layer[0]])

    x = torch.tensor(2.0, dtype=torch.float64)
    value, slopes = virtual_step(losses_of, lambda layer: layer[0] ** 2 / 2, (x,), x.new_ones(2), 0.1)
    assert value.item() == pytest.approx(1.95**2 / 2)
    assert slopes.tolist() == pytest.approx([-0.05 * 2 * 1.95, 0.05 * 1.95])


def test_the_gradient_by_the_weights_is_that_of_finite_differences():
    method, batch = built().double().eval(), a_batch()
    features = torch.rand(24, 4, dtype=torch.float64, generator=torch.Generator().manual_seed(1))
    targets, (step, judged) = method.targets(batch.labels).double(), method.draw()

    def losses_of(layer):
        return method._losses((features[::2] @ layer[0].T + layer[1])[:, step], targets[::2]).mean(dim=0)

    def meta_loss_of(layer):
        return method._losses((features[1::2] @ layer[0].T + layer[1])[:, judged], targets[1::2]).mean()

    layer = (method.head.weight.detach(), method.head.bias.detach())
    weights = torch.linspace(0.2, 0.9, 5, dtype=torch.float64)
    _, slopes = virtual_step(losses_of, meta_loss_of, layer, weights, 3.0)
    nudge = 1e-5 * torch.eye(5, dtype=torch.float64)
    both = [
        [virtual_step(losses_of, meta_loss_of, layer, weights + sign * one, 3.0)[0] for sign in (1, -1)]
        for one in nudge
    ]
    numeric = torch.stack([(up - down) / 2e-5 for up, down in both])
    assert numeric.abs().min() > 1e-7
    torch.testing.assert_close(slopes, numeric, rtol=1e-5, atol=1e-10)


def test_the_meta_loss_teaches_the_weights_alone_and_the_forest_all_else():
    method = built()
    terms = method.loss(a_batch())
    names = [name for name, _ in method.named_parameters()]

    def reached(term: str) -> set[str]:
        grads = torch.autograd.grad(terms[term], list(method.parameters()), allow_unused=True, retain_graph=True)
        return {name.split(".")[0] for name, grad in zip(names, grads, strict=True) if grad is not None and grad.any()}

    assert reached("meta") == {"weigher"} and reached("forest") == {"encoder", "head"}


def test_the_meta_loss_is_of_the_other_half_of_the_batch():
    """With no step its value is the forest's loss of every second nodule, the classes balanced."""
    method, batch = built(virtual_step=0.0, group=1).eval(), a_batch(9)
    value = method.loss(batch)["meta"]
    own = method._losses(method.scores(method.head(method.encoder.pooled(batch.images))), method.targets(batch.labels))
    torch.testing.assert_close(value, (balanced(batch.labels[1::2], 3) * own[1::2].mean(dim=1)).sum())


def test_the_step_and_its_meta_loss_read_units_of_draws_of_their_own():
    method, batch = built(virtual_step=0.0).eval(), a_batch(9)
    draws = method.draw()
    method.draw = lambda: draws
    units, targets = method.head(method.encoder.pooled(batch.images)), method.targets(batch.labels)
    stepped, judged = (method._losses(units[:, draw], targets) for draw in draws)
    terms = method.loss(batch)
    torch.testing.assert_close(terms["meta"], (balanced(batch.labels[1::2], 3) * judged[1::2].mean(dim=1)).sum())
    torch.testing.assert_close(terms["forest"], (method.weigh(stepped.mean(dim=0)) * stepped).mean())


def test_nodes_of_a_tree_share_no_unit_and_draw_from_their_own_group():
    method = built()
    assert method.groups.shape == (5, 31, 4) and torch.equal(method.groups[:, :, 0], method.node_maps)
    assert all(len(tree.unique()) == 31 * 4 for tree in method.groups)
    draws = torch.stack([method.draw() for _ in range(40)]).flatten(0, 1)
    assert (draws[..., None] == method.groups).any(dim=3).all()
    met = (draws[..., None] == method.groups).float().mean(dim=0)
    assert met.min() > 0.05 and met.max() < 0.6  # 80 draws, each of four units about a quarter
    assert len({tuple(draw.flatten().tolist()) for draw in draws}) == 80


def test_draws_follow_the_seed_that_the_runner_sets_before_a_fit():
    method = built()
    draws = []
    for seed in (1, 1, 2):
        torch.manual_seed(seed)
        draws.append([method.draw(), method.draw()])
    assert all(torch.equal(*pair) for pair in zip(draws[0], draws[1], strict=True))
    assert not torch.equal(draws[0][0], draws[0][1]) and not torch.equal(draws[0][0], draws[2][0])


def test_a_prediction_draws_nothing_and_reads_the_mean_of_each_group():
    method, batch = built().eval(), a_batch(6)
    units = torch.rand(2, 128)
    torch.testing.assert_close(method.scores(units)[:, 1, 2], units[:, method.groups[1, 2]].mean(dim=1))
    before = torch.get_rng_state()
    with torch.no_grad():
        assert torch.equal(method.predict_proba(batch.images), method.predict_proba(batch.images))
    assert torch.equal(torch.get_rng_state(), before)


@pytest.mark.parametrize("group", [0, 5])
def test_groups_that_do_not_fit_are_refused(group):
    with pytest.raises(ValueError, match=f"group={group} must be 1 to 4: 31 nodes share 128 units"):
        built(group=group)


def test_other_impossible_options_are_refused_under_its_own_name():
    with pytest.raises(ValueError, match=r"^MORF \(reconstruction\): trees=0"):
        built(trees=0)
