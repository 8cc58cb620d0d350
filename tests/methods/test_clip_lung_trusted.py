"""The variant that leaves ratings which cannot be relied on out of the attribute losses."""

from dataclasses import replace
from math import log

import pytest
import torch
from torch import Tensor

from benchmark.contracts import Batch
from methods import ROWS
from methods._attributes import ATTRIBUTE_LOSSES, attribute_loss, attribute_weights
from methods.clip_lung import ClipLung
from vision import ATTRIBUTES, vision_batch, vision_task

KEY = "clip_lung_trusted"
UNTRUSTED = [ATTRIBUTES.index(name) for name in ("lobulation", "spiculation")]
OTHERS = [column for column in range(8) if column not in UNTRUSTED]
FLAGGED = torch.tensor([True, False, True, True, False, False])
SCALE = torch.tensor(log(1 / 0.07), dtype=torch.float64)
every_variant = pytest.mark.parametrize("variant", ATTRIBUTE_LOSSES)


def build(key: str = KEY) -> ClipLung:
    torch.manual_seed(0)
    return ROWS[key].method(vision_task(), **ROWS[key].hyperparameters)


def partly_trusted() -> Batch:
    """Return nodules of which some lie in flagged scans."""
    batch = vision_batch()
    trusted = batch.trusted.clone()
    trusted[:, UNTRUSTED] = ~FLAGGED[:, None]
    return replace(batch, trusted=trusted)


def with_ratings(batch: Batch, where: Tensor, value: float) -> Batch:
    return replace(batch, attributes=batch.attributes.masked_fill(where, value))


def step(method: ClipLung, batch: Batch) -> tuple[dict[str, Tensor], dict[str, Tensor]]:
    """Return the terms of the loss, and every parameter's gradient of their sum."""
    terms = method.loss(batch)
    sum(terms.values()).backward()
    return terms, {name: p.grad for name, p in method.named_parameters() if p.grad is not None}


def equal(one: dict[str, Tensor], other: dict[str, Tensor]) -> bool:
    return one.keys() == other.keys() and all(torch.equal(one[name], other[name]) for name in one)


def features(*shape: int) -> Tensor:
    return torch.randn(*shape, dtype=torch.float64, generator=torch.Generator().manual_seed(1))


def test_it_is_clip_lung_with_one_setting_and_is_trained_when_asked_for():
    assert (ROWS[KEY].method, ROWS[KEY].hyperparameters) == (ClipLung, {"trusted_only": True})
    assert ROWS[KEY].kind == "variant" and ROWS["clip_lung"].settings["trusted_only"] is False


def test_where_all_is_trusted_it_is_clip_lung_to_the_last_bit():
    (terms, gradients), (theirs, their_gradients) = (step(build(key), vision_batch()) for key in (KEY, "clip_lung"))
    assert equal(terms, theirs) and equal(gradients, their_gradients) and len(gradients) > 10


@pytest.mark.parametrize("value", [1.0, 5.0, 1000.0, torch.nan])
def test_ratings_that_are_not_trusted_have_no_influence(value):
    batch = partly_trusted()
    (terms, gradients), (others, other_gradients) = (
        step(build(), one) for one in (batch, with_ratings(batch, ~batch.trusted, value))
    )
    assert equal(terms, others) and equal(gradients, other_gradients)


def test_clip_lung_itself_counts_them():
    batch = partly_trusted()
    terms, others = (build("clip_lung").loss(one) for one in (batch, with_ratings(batch, ~batch.trusted, 5.0)))
    assert all(not torch.equal(terms[name], others[name]) for name in ("ia", "ca"))


def test_the_same_attributes_count_in_scans_that_are_not_flagged():
    batch = partly_trusted()
    elsewhere = torch.zeros_like(batch.trusted)
    elsewhere[1, UNTRUSTED] = True
    terms, others = (build().loss(one) for one in (batch, with_ratings(batch, elsewhere, 5.0)))
    assert all(not torch.equal(terms[name], others[name]) for name in ("ia", "ca"))
    assert torch.equal(terms["ce"], others["ce"]) and torch.equal(terms["ic"], others["ic"])


@every_variant
def test_a_flagged_nodules_loss_is_that_of_a_task_without_these_attributes(variant):
    groups, texts = features(6, 16, 32), torch.nn.functional.normalize(features(8, 32), dim=-1)
    ratings, counted = vision_batch().attributes.double(), partly_trusted().trusted
    found = attribute_loss(groups, texts, attribute_weights(ratings, counted), SCALE, variant, counted)
    eight = attribute_loss(groups, texts, ratings.softmax(dim=1), SCALE, variant)
    six = attribute_loss(groups, texts[OTHERS], ratings[:, OTHERS].softmax(dim=1), SCALE, variant)
    torch.testing.assert_close(found, torch.where(FLAGGED, six, eight), atol=1e-12, rtol=1e-12)
    assert (found - eight).abs()[FLAGGED].min() > 1e-3


@every_variant
def test_no_gradient_reaches_an_untrusted_rating_or_passes_by_its_text(variant):
    groups, texts = features(1, 16, 32), torch.nn.functional.normalize(features(8, 32), dim=-1).requires_grad_()
    ratings = vision_batch().attributes[:1].double().requires_grad_()
    counted = partly_trusted().trusted[:1]
    loss = attribute_loss(groups, texts, attribute_weights(ratings, counted), SCALE, variant, counted).sum()
    of_ratings, of_texts = torch.autograd.grad(loss, (ratings, texts))
    assert not of_ratings[:, UNTRUSTED].any() and not of_texts[UNTRUSTED].any()
    assert of_texts[OTHERS].all() and (variant == "literal" or of_ratings[:, OTHERS].all())
    assert of_ratings.isfinite().all() and of_texts.isfinite().all()


@every_variant
def test_a_nodule_without_a_trusted_attribute_adds_nothing(variant):
    groups, texts = features(2, 16, 32).requires_grad_(), torch.nn.functional.normalize(features(8, 32), dim=-1)
    counted = torch.tensor([[False] * 8, [True] * 8])
    weights = attribute_weights(vision_batch().attributes[:2].double(), counted)
    found = attribute_loss(groups, texts, weights, SCALE, variant, counted)
    (gradient,) = torch.autograd.grad(found.sum(), groups)
    assert found[0] == 0 and found[1] > 0
    assert not gradient[0].any() and gradient[1].any() and gradient.isfinite().all()
