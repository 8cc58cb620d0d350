import math
from collections.abc import Iterator, Sequence
from dataclasses import replace

import pytest
import torch
from torch import Tensor

from benchmark.contracts import Batch, Unsupported
from methods._readers import divide, votes
from methods.mv_dar import (
    MultiViewAtFullWidth,
    MultiViewDivideAndRule,
    MultiViewWithText,
    central_planes,
    complementary_loss,
)
from turns import turn
from vision import vision_batch, vision_task

NONE = float("nan")
SCORES = [[1, 2, 2, NONE], [3, 3, NONE, NONE], [1, 3, NONE, NONE], [1, 3, 5, NONE], [4, NONE, NONE, NONE], [NONE] * 4]
KINDS = ["reliable", "reliable", "inconsistent", "inconsistent", "low", "reliable"]
TERMS = {"": "prd", "counterfactual": "cf", "low_reliable": "lr"}  # of each network in a view
NETS = list(TERMS.values())


def mixed(num_classes: int = 3) -> Batch:
    """Six nodules, of each kind of agreement; the last has a class and no reader."""
    return replace(vision_batch(num_classes), malignancy=torch.tensor(SCORES))


def built(kind: type = MultiViewDivideAndRule, seed: int = 0, **changes) -> MultiViewDivideAndRule:
    torch.manual_seed(seed)
    return kind(vision_task(**changes))


def by_network(method: MultiViewDivideAndRule, values: Sequence[Tensor | None]) -> Iterator[tuple[str, Tensor | None]]:
    """Yield values of parameters by part and network; the encoders' are cut into each one's own."""
    for (name, _), value in zip(method.named_parameters(), values, strict=True):
        if name.startswith("networks."):
            for number, own in enumerate(value.chunk(9)) if value is not None else ():
                yield f"encoder of {NETS[number % 3]}", own
        elif name.startswith("views."):
            *net, part, _ = name.split(".")[2:]
            yield f"{part} of {TERMS[''.join(net)]}", value
        else:
            yield name, value


@pytest.fixture(scope="module")
def method() -> MultiViewDivideAndRule:
    return built().eval()


@pytest.fixture(scope="module")
def with_text() -> MultiViewWithText:
    return built(MultiViewWithText).eval()


def test_planes_are_the_central_ones_across_slices_rows_and_columns():
    odd = torch.arange(27.0).reshape(1, 3, 3, 3)  # 9 slice + 3 row + column
    axial, coronal, sagittal = central_planes(odd)[0]
    assert (
        torch.equal(axial, odd[0, 1]) and torch.equal(coronal, odd[0, :, 1]) and torch.equal(sagittal, odd[0, :, :, 1])
    )
    even = torch.arange(8.0).reshape(1, 2, 2, 2)
    hand = [[[2, 3], [4, 5]], [[1, 2], [5, 6]], [[0.5, 2.5], [4.5, 6.5]]]  # the mean of both middle planes
    assert torch.equal(central_planes(even)[0], torch.tensor(hand))


def test_planes_turn_with_the_crop_whose_centre_stays():
    images = torch.rand(2, 4, 4, 4, generator=torch.Generator().manual_seed(0))
    planes = central_planes(images)
    assert torch.equal(central_planes(turn(images, 0b111)), planes.flip(2, 3))
    assert torch.equal(
        central_planes(turn(images, 0b1000)), torch.stack([planes[:, 0].mT, planes[:, 2], planes[:, 1]], 1)
    )


def test_planes_of_a_thinner_stack_have_the_size_of_a_slice():
    images = torch.rand(1, 2, 1, 4).expand(1, 2, 4, 4)  # slices over 0..1, columns
    axial, coronal, sagittal = central_planes(images)[0]
    assert torch.equal(axial, images[0].mean(dim=0))
    low, high = images[0, :, 0]
    blend = torch.tensor([0.0, 0.25, 0.75, 1.0])[:, None]
    torch.testing.assert_close(coronal, low + blend * (high - low))
    assert sagittal.shape == (4, 4) and torch.allclose(sagittal, sagittal[:, :1])


@pytest.mark.parametrize(
    ("logits", "excluded", "expected"),
    [
        ([0, 0, 0], [0, 0, 1], -math.log(2 / 3)),
        ([0, 0, 0], [1, 0, 1], -math.log(2 / 3)),
        ([math.log(2), 0, 0], [1, 0, 0], math.log(2)),
        ([math.log(2), 0, 0], [1, 1, 0], (math.log(2) + math.log(4 / 3)) / 2),
        ([math.log(2), 0, 0], [0, 0, 0], 0.0),
        ([200, 0, 0], [1, 0, 0], 200 - math.log(2)),  # 1 - p rounds to zero here
    ],
)
def test_the_complementary_loss_equals_the_hand_computed_value(logits, excluded, expected):
    given = torch.tensor([logits], dtype=torch.float32, requires_grad=True)
    loss = complementary_loss(given, torch.tensor([excluded], dtype=torch.bool))
    assert loss.item() == pytest.approx(expected, abs=1e-5)
    (gradient,) = torch.autograd.grad(loss.sum(), given)
    assert gradient.isfinite().all() and (any(excluded) == bool(gradient.any()))


@pytest.mark.parametrize("num_classes", [2, 3])
def test_readers_divide_the_nodules_into_three_sets(num_classes):
    batch = mixed(num_classes)
    sets = divide(batch.malignancy, votes(batch.malignancy, batch.labels, 3))
    assert torch.stack(sets).sum(dim=0).tolist() == [1] * 6
    names = [("reliable", "inconsistent", "low")[of_one] for of_one in torch.stack(sets).int().argmax(dim=0).tolist()]
    assert names == KINDS


def test_losses_are_means_over_each_networks_own_set_and_sums_over_the_views():
    """Odds of 2:1:1 for the first class, seen alike by all networks and views; labels are 0, 1, 2, 0, 1, 2."""
    logits = torch.tensor([[math.log(2), 0.0, 0.0]]).expand(6, 3)
    method = built()
    method.seen = lambda planes: [{"prd": logits, "cf": logits, "lr": logits}] * 3
    terms = method.loss(mixed())
    assert terms["prd"].item() == pytest.approx(3 * (math.log(2) + 2 * math.log(4)) / 3, abs=1e-5)  # nodules 0, 1, 5
    assert terms["cf"].item() == pytest.approx(3 * math.log(4 / 3), abs=1e-5)  # nodule 2 excludes 2; 3 excludes none
    assert terms["lr"].item() == pytest.approx(3 * math.log(4), abs=1e-5)  # nodule 4


@pytest.mark.parametrize("num_classes", [2, 3])
def test_a_set_without_a_member_adds_zero_and_passes_no_gradient(num_classes):
    method = built(num_classes=num_classes, class_names=("benign", "unsure", "malignant")[:: 4 - num_classes])
    batch = vision_batch(num_classes)  # all readers agree
    terms = method.loss(batch)
    assert terms["cf"].item() == terms["lr"].item() == 0.0 < terms["prd"].item()
    sum(terms.values()).backward()
    assert all(p.grad.isfinite().all() for p in method.parameters())
    reached = {name for name, p in by_network(method, [p.grad for p in method.parameters()]) if p.any()}
    assert reached == {"encoder of prd", "classifier of prd"}


@pytest.mark.parametrize("term", NETS)
def test_each_network_learns_on_its_own_set_alone(method, term):
    loss = method.loss(mixed())[term]
    grads = torch.autograd.grad(loss, list(method.parameters()), allow_unused=True)
    reached = {name for name, grad in by_network(method, grads) if grad is not None and grad.any()}
    assert reached == {f"encoder of {term}", f"classifier of {term}"} | (
        {f"attention of {term}"} - {"attention of prd"}
    )


def test_labels_count_where_readers_do_not_contradict_each_other(method):
    def losses(nodule: int) -> dict[str, bool]:
        batch = mixed()
        labels = batch.labels.clone()
        labels[nodule] = (labels[nodule] + 1) % 3
        with torch.no_grad():
            before, after = method.loss(batch), method.loss(replace(batch, labels=labels))
        return {name for name in before if not torch.equal(before[name], after[name])}

    assert losses(0) == losses(5) == {"prd"} and losses(4) == {"lr"}
    assert losses(2) == losses(3) == set()


def test_prd_net_reads_more_where_lr_net_looks_and_less_where_cf_net_does():
    method, planes = built().eval(), central_planes(vision_batch().images)
    view = method.views[1]
    with torch.no_grad():
        raw = method.networks(planes.repeat_interleave(3, dim=1))[:, 3]  # of the second view
        for net, bias in ((view.low_reliable, math.log(3)), (view.counterfactual, math.log(4))):
            net.attention.weight.zero_()
            net.attention.bias.fill_(bias)  # attention of 3/4 and 4/5 everywhere
        torch.testing.assert_close(method.seen(planes)[1]["maps"], raw * 1.75 * 0.2)


@pytest.mark.parametrize("kind", [MultiViewDivideAndRule, MultiViewWithText])
def test_with_tied_weights_the_order_of_the_views_is_of_no_account(kind):
    method = built(kind).eval()
    planes = central_planes(vision_batch(slices=6).images)
    with torch.no_grad():
        untied = [method.proba_of(planes[:, order]) for order in ([0, 1, 2], [2, 0, 1])]
        for view in method.views[1:]:
            view.load_state_dict(method.views[0].state_dict())
        for part in method.networks.state_dict().values():
            if part.ndim:
                part.copy_(part.chunk(3)[0].repeat(3, *[1] * (part.ndim - 1)))
        tied = [method.proba_of(planes[:, order]) for order in ([0, 1, 2], [2, 0, 1])]
    torch.testing.assert_close(*tied)
    assert not torch.allclose(*untied, atol=1e-4)


def test_texts_change_neither_the_start_nor_a_prediction(method, with_text):
    batch = mixed()
    with torch.no_grad():
        assert torch.equal(method.predict_proba(batch.images), with_text.predict_proba(batch.images))
        plain, text = method.loss(batch), with_text.loss(batch)
    assert all(torch.equal(plain[name], text[name]) for name in plain)
    assert text.keys() - plain.keys() == {"ic", "ia", "ca"}


def test_texts_teach_prd_net_on_its_own_set_alone(with_text):
    batch = mixed()
    ratings = batch.attributes.clone()
    ratings[2:5] = 6 - ratings[2:5]
    labels = batch.labels.clone()
    labels[2:4] = 1 - labels[2:4].clamp(max=1)  # where readers disagree
    with torch.no_grad():
        before, after = with_text.loss(batch), with_text.loss(replace(batch, attributes=ratings, labels=labels))
        assert all(torch.equal(before[name], after[name]) for name in before)
        ratings[0] = 6 - ratings[0]
        moved = with_text.loss(replace(batch, attributes=ratings))
    assert {name for name in before if not torch.equal(before[name], moved[name])} == {"ia", "ca"}
    loss = sum(with_text.loss(batch)[name] for name in ("ic", "ia", "ca"))
    grads = torch.autograd.grad(loss, list(with_text.parameters()), allow_unused=True)
    reached = {name for name, grad in by_network(with_text, grads) if grad is not None and grad.any()}
    assert {name for name in reached if " of " in name} == {"encoder of prd"}
    assert {"logit_scale", "prompts.context"} <= reached


def test_alpha_and_beta_weigh_their_terms():
    batch, terms = mixed(), []
    for alpha, beta in ((1.0, 0.5), (3.0, 1.0)):
        torch.manual_seed(0)
        with torch.no_grad():
            terms.append(MultiViewWithText(vision_task(), alpha, beta).eval().loss(batch))
    torch.testing.assert_close(terms[1]["ia"], 3 * terms[0]["ia"])
    torch.testing.assert_close(terms[1]["ca"], 2 * terms[0]["ca"])
    torch.testing.assert_close(terms[1]["ic"], terms[0]["ic"])


@pytest.mark.parametrize(
    ("kind", "changes", "sentence"),
    [
        (MultiViewDivideAndRule, {"image_shape": (1, 32, 32)}, "three orthogonal planes, which a single slice"),
        (MultiViewDivideAndRule, {"class_names": ("a", "b", "c")}, "votes for benign, malignant or benign, unsure"),
        (MultiViewWithText, {"attribute_names": ()}, "the textual branch aligns images with rated attributes"),
        (MultiViewWithText, {"image_shape": (2, 16, 16)}, "resize them to 32 x 32"),
    ],
)
def test_a_task_that_it_cannot_do_is_refused_with_a_reason(kind, changes, sentence):
    with pytest.raises(Unsupported, match=sentence):
        kind(vision_task(**changes))


def test_each_network_looks_at_its_own_views_plane_and_at_no_other(method):
    planes = central_planes(vision_batch(slices=6).images)
    before = method.seen(planes)
    for changed in range(3):
        other = planes.clone()
        other[:, changed] = torch.rand(other[:, changed].shape, generator=torch.Generator().manual_seed(1))
        for number, (one, two) in enumerate(zip(before, method.seen(other), strict=True)):
            assert all(torch.allclose(one[name], two[name], atol=1e-6) == (number != changed) for name in one)


def test_at_full_width_there_are_nine_encoders_of_the_shared_ones_width_and_by_default_narrower_ones():
    wide, narrow = built(MultiViewAtFullWidth), built()
    assert (wide.networks.count, wide.networks.width) == (9, 64) and (narrow.networks.count, narrow.networks.width) == (
        9,
        16,
    )
    assert issubclass(MultiViewAtFullWidth, MultiViewDivideAndRule) and wide.title == "MV-DAR (full width)"
