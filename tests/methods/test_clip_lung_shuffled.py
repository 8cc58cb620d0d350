"""The two controls that are CLIP-Lung with other texts."""

import pytest
import torch

from methods import ROWS, clip_lung
from methods._prompts import derangement
from methods.ce import CrossEntropy
from methods.clip_lung import ClipLung
from vision import vision_batch, vision_task

KEYS = ("clip_lung_shuffled_attributes", "clip_lung_shuffled_classes")
every_control = pytest.mark.parametrize("key", KEYS)


def build(key: str = "clip_lung", seed: int = 0, **options) -> ClipLung:
    torch.manual_seed(seed)
    return ROWS[key].method(vision_task(), **ROWS[key].hyperparameters, **options)


def test_each_is_clip_lung_with_one_setting():
    assert [(ROWS[key].method, ROWS[key].hyperparameters) for key in KEYS] == [
        (ClipLung, {"shuffled": ("attributes",)}),
        (ClipLung, {"shuffled": ("classes",)}),
    ]


@every_control
def test_an_order_that_moves_nothing_gives_clip_lung_bit_for_bit(key, monkeypatch):
    monkeypatch.setattr(clip_lung, "derangement", lambda count, seed: list(range(count)))
    plain, still, batch = build(), build(key), vision_batch()
    losses = [method.loss(batch) for method in (plain, still)]
    assert losses[0].keys() == losses[1].keys()
    assert all(torch.equal(losses[0][name], losses[1][name]) for name in losses[0])
    for terms in losses:
        sum(terms.values()).backward()
    pairs = zip(plain.named_parameters(), still.named_parameters(), strict=True)
    assert all(a == b and torch.equal(p.grad, q.grad) for (a, p), (b, q) in pairs)
    assert torch.equal(*(method.eval().predict_proba(batch.images) for method in (plain, still)))


def test_each_attribute_meets_anothers_text_and_everything_else_is_clip_lungs():
    plain, shuffled = build(), build(KEYS[0])
    torch.testing.assert_close(shuffled.attribute_features, plain.attribute_features[derangement(8, 0)])
    apart = (shuffled.attribute_features - plain.attribute_features).norm(dim=1)
    assert (apart > 0.01).all()
    losses = [method.loss(vision_batch()) for method in (plain, shuffled)]
    assert {name for name in losses[0] if not torch.equal(losses[0][name], losses[1][name])} == {"ia", "ca"}


def test_each_class_meets_anothers_text_and_everything_else_is_clip_lungs():
    plain, shuffled = build(), build(KEYS[1])
    features = torch.rand(5, 16, 64)
    torch.testing.assert_close(shuffled.prompts(features), plain.prompts(features)[:, derangement(3, 0)])
    losses = [method.loss(vision_batch()) for method in (plain, shuffled)]
    assert torch.equal(losses[0]["ia"], losses[1]["ia"]) and torch.equal(losses[0]["ce"], losses[1]["ce"])
    assert abs(losses[0]["ic"] - losses[1]["ic"]) > 1e-3
    torch.testing.assert_close(losses[0]["ca"], losses[1]["ca"])  # a mean over the classes


@every_control
def test_all_fits_share_one_order_which_a_seed_of_its_own_decides(key):
    def texts(method: ClipLung) -> torch.Tensor:
        made = method.attribute_features if key == KEYS[0] else method.prompts.encode(torch.ones(1, 16, 64))[0]
        return made.clone()

    assert torch.equal(texts(build(key, seed=0)), texts(build(key, seed=7)))
    assert any(not torch.equal(texts(build(key)), texts(build(key, shuffle_seed=s))) for s in (1, 2, 3, 4))


@every_control
def test_starts_as_ce_does(key):
    torch.manual_seed(0)
    baseline, images = CrossEntropy(vision_task()).eval(), vision_batch().images
    assert torch.equal(baseline.predict_proba(images), build(key).eval().predict_proba(images))


def test_other_texts_than_there_are_cannot_be_shuffled():
    with pytest.raises(ValueError, match=r"some of attributes, classes, not \('images',\)"):
        ClipLung(vision_task(), shuffled=("images",))
