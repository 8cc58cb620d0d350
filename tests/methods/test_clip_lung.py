from math import log

import pytest
import torch
from torch.nn.functional import normalize
from torch.utils.flop_counter import FlopCounterMode

from benchmark.contracts import Unsupported
from methods import ROWS
from methods._text import cosine_logits
from methods.ce import CrossEntropy
from methods.clip_lung import ClipLung, attribute_loss, group_channels, presence
from vision import ATTRIBUTES, vision_batch, vision_task

TABLE_THREE = [row for row in ROWS.values() if row.losses]
UNIFORM = torch.full((1, 8), 1 / 8, dtype=torch.float64)
TYPICAL = torch.tensor([[4, 1, 6, 4, 4, 1, 1, 5]], dtype=torch.float64)  # ratings in the paper's order
SCALE = torch.tensor(log(1 / 0.07), dtype=torch.float64)


def build(seed: int = 0, **options) -> ClipLung:
    torch.manual_seed(seed)
    return ClipLung(vision_task(), **options)


def random_units(*shape: int) -> torch.Tensor:
    return normalize(torch.randn(*shape, dtype=torch.float64, generator=torch.Generator().manual_seed(0)), dim=-1)


@pytest.mark.parametrize(
    ("ratings", "expected"),
    [
        ((3,) * 8, (0.125,) * 8),
        ((5, 1, 1, 1, 1, 1, 1, 1), (0.886360, *(0.016234,) * 7)),
        (TYPICAL[0].tolist(), (0.075434, 0.003756, 0.557383, 0.075434, 0.075434, 0.003756, 0.003756, 0.205050)),
    ],
)
def test_weights_equal_the_hand_computed_values(ratings, expected):
    weights = build().weights(torch.tensor([ratings], dtype=torch.float64))
    torch.testing.assert_close(weights[0], torch.tensor(expected, dtype=torch.float64), atol=1e-6, rtol=0)


@pytest.mark.parametrize("name", [1.0, 2.0, 3.0, 4.0, 5.0])
def test_every_kind_of_calcification_is_as_present_as_another(name):
    """Popcorn to central are names: none of them is nearly absent."""
    given = torch.tensor([[name, 6.0, name]])
    found = presence(given, ("calcification", "calcification", "internal structure"))
    assert found.tolist() == [[5.0, 1.0, 1.0 if name == 1 else 5.0]]


def test_presence_makes_absent_calcification_light():
    assert presence(TYPICAL, ATTRIBUTES)[0].tolist() == [4, 1, 1, 4, 4, 1, 1, 5]
    ratings = vision_batch().attributes
    torch.testing.assert_close(build(attr_scale="presence").weights(ratings), presence(ratings, ATTRIBUTES).softmax(1))


def test_a_group_is_a_sixteenth_of_the_channels_flattened():
    groups = group_channels(torch.arange(2 * 512 * 16).reshape(2, 512, 4, 4).float())
    assert groups.shape == (2, 16, 512)
    assert torch.equal(groups[1, 3], torch.arange(8192 + 3 * 512, 8192 + 4 * 512).float())  # channels 96 to 127


@pytest.mark.parametrize(("rows", "floor"), [(4, 66.542129), (3, 49.906597)])
def test_literal_is_least_where_all_attributes_are_equally_close(rows, floor):
    alike = attribute_loss(torch.ones(1, rows, 8).double(), torch.eye(8).double(), UNIFORM, SCALE, "literal")
    assert alike.item() == pytest.approx(floor, abs=1e-6)
    apart = attribute_loss(random_units(1, rows, 8), torch.eye(8).double(), UNIFORM, SCALE, "literal")
    assert apart.item() > floor


def test_literal_does_not_depend_on_the_weights_and_the_default_does():
    features, attributes = random_units(2, 16, 32).requires_grad_(), random_units(8, 32)
    light, heavy = UNIFORM.expand(2, -1), TYPICAL.softmax(dim=1).expand(2, -1)
    for variant, same in (("literal", True), ("soft_target", False), ("scaled_logit", False)):
        losses = [attribute_loss(features, attributes, w, SCALE, variant) for w in (light, heavy)]
        gradients = [torch.autograd.grad(loss.sum(), features)[0] for loss in losses]
        assert torch.allclose(*losses, atol=1e-9) is same and torch.allclose(*gradients, atol=1e-9) is same


def test_a_uniform_soft_target_is_the_printed_sum_over_attributes_and_rows():
    features, attributes = random_units(1, 16, 32), random_units(8, 32)
    mean = attribute_loss(features, attributes, UNIFORM, SCALE, "soft_target")
    printed = attribute_loss(features, attributes, UNIFORM, SCALE, "literal")
    torch.testing.assert_close(mean * 8 * 16, printed, atol=1e-12, rtol=1e-12)


@pytest.mark.parametrize("variant", ["soft_target", "literal"])
def test_what_features_converge_to(variant):
    """Towards the attributes in proportion to their weights by default; equally far from all as printed."""
    weights, attributes = TYPICAL.softmax(dim=1), torch.eye(8, dtype=torch.float64)
    features = random_units(1, 1, 8).requires_grad_()
    optimiser = torch.optim.LBFGS([features], max_iter=300, tolerance_change=1e-12, line_search_fn="strong_wolfe")

    def closure() -> torch.Tensor:
        optimiser.zero_grad()
        loss = attribute_loss(features, attributes, weights, SCALE, variant).sum()
        loss.backward()
        return loss

    optimiser.step(closure)
    features.requires_grad_(False)
    closeness = cosine_logits(features, attributes, SCALE).softmax(dim=-1)[0]
    torch.testing.assert_close(closeness, weights if variant == "soft_target" else UNIFORM, atol=1e-4, rtol=0)
    if variant == "soft_target":
        entropy = attribute_loss(features, attributes, weights, SCALE)
        assert entropy.item() == pytest.approx(1.298488, abs=1e-4)


@pytest.mark.parametrize("row", TABLE_THREE, ids=lambda row: row.key)
def test_each_row_of_table_three_adds_its_losses_to_ce(row):
    torch.manual_seed(0)
    terms = row.method(vision_task(), **row.hyperparameters).loss(vision_batch())
    assert set(terms) == {"ce", *row.losses.lower().split(" + ")}
    whole = build().loss(vision_batch())
    assert all(torch.equal(terms[name], whole[name]) for name in terms)  # a row differs by its losses alone


def test_the_rows_are_the_papers_in_its_order_and_the_last_shares_its_fits():
    whole, *others = TABLE_THREE  # the method stands in the tables above, so before the rest
    assert [row.losses for row in others] == ["IC", "IC + IA", "IA + CA", "IC + CA"]
    assert whole.losses == "IC + IA + CA"
    assert (whole.key, whole.method, whole.hyperparameters) == ("clip_lung", ClipLung, {})
    assert others[1].title == "CLIP-Lung (IC + IA)" and whole.title == "CLIP-Lung"


def test_alpha_and_beta_weigh_the_attribute_losses():
    once, thrice = build().loss(vision_batch()), build(alpha=3.0, beta=1.5).loss(vision_batch())
    torch.testing.assert_close(torch.stack([thrice["ia"], thrice["ca"]]), 3 * torch.stack([once["ia"], once["ca"]]))
    assert torch.equal(thrice["ic"], once["ic"])


@pytest.mark.parametrize(("variant", "rows", "attributes"), [("soft_target", (16, 3), 8), ("literal", (1, 1), 1)])
def test_sums_are_the_printed_sums(variant, rows, attributes):
    """(2) sums over 16 groups; (3) and (4) over 16 groups and 3 classes, and over 8 attributes."""
    mean, summed = (build(attribute_loss=variant, sums=sums).loss(vision_batch()) for sums in (False, True))
    for name, times in (("ce", 1), ("ic", 16), ("ia", rows[0] * attributes), ("ca", rows[1] * attributes)):
        torch.testing.assert_close(summed[name], times * mean[name])


def test_permuting_the_batch_leaves_every_loss():
    method, batch, order = build().eval(), vision_batch(), torch.tensor([4, 2, 0, 5, 1, 3])
    for name, term in method.loss(batch).items():
        torch.testing.assert_close(method.loss(batch[order])[name], term, atol=1e-5, rtol=0)


def test_image_attribute_loss_alone_needs_no_prompts():
    method = build(losses=("ia",))
    assert method.prompts is None and set(method.loss(vision_batch())) == {"ce", "ia"}


def test_the_class_may_come_first():
    first, last = build(class_first=True).loss(vision_batch()), build().loss(vision_batch())
    assert torch.equal(first["ia"], last["ia"]) and not torch.equal(first["ic"], last["ic"])


def test_starts_as_ce_does():
    torch.manual_seed(0)
    baseline, images = CrossEntropy(vision_task()).eval(), vision_batch().images
    assert torch.equal(baseline.predict_proba(images), build().eval().predict_proba(images))


def test_predicts_without_the_text_branch():
    method, images = build().eval(), vision_batch().images
    before = method.predict_proba(images)
    del method.prompts, method.attribute_features, method.logit_scale
    assert torch.equal(method.predict_proba(images), before)


def test_predicting_costs_what_ce_costs():
    costs = []
    for method in (CrossEntropy(vision_task()), build()):
        with FlopCounterMode(display=False) as counter:
            method.eval().predict_proba(vision_batch().images)
        costs.append(counter.get_flop_counts()["Global"])
    assert costs[0] == costs[1] and costs[0]


def test_state_holds_what_is_learned_and_nothing_of_the_tower():
    kept = {name for name in build().state_dict() if not name.startswith("encoder.")}
    meta_net = {f"prompts.meta_net.{layer}.{part}" for layer in (0, 2) for part in ("weight", "bias")}
    assert kept == {"classifier.weight", "classifier.bias", "logit_scale", "prompts.context"} | meta_net


@pytest.mark.parametrize(
    ("task", "reason"),
    [
        ({"attribute_names": ()}, "this task has none"),
        ({"attribute_names": ("malignancy", "margin")}, "labels are made from it"),
        ({"attribute_names": ("margin", "sharp " * 80)}, "CLIP reads 77"),
        ({"class_names": ("benign", "unsure", "malign " * 60)}, "CLIP reads 77"),
        ({"image_shape": (2, 48, 48)}, "feature map of 4 x 4"),
    ],
)
def test_a_task_that_it_cannot_do_is_refused_with_a_reason(task, reason):
    with pytest.raises(Unsupported, match=reason):
        ClipLung(vision_task(**task))


@pytest.mark.parametrize(
    ("options", "reason"),
    [
        ({"losses": ("ic", "ce")}, "some of ic, ia, ca"),
        ({"losses": ()}, "some of ic, ia, ca"),
        ({"attribute_loss": "printed"}, "one of soft_target, literal, scaled_logit, not 'printed'"),
        ({"attr_scale": "z"}, "one of raw, presence, not 'z'"),
    ],
)
def test_bad_options_are_refused_with_a_reason(options, reason):
    with pytest.raises(ValueError, match=reason):
        ClipLung(vision_task(), **options)
