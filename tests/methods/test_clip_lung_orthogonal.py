from math import exp, log

import pytest
import torch

from benchmark.contracts import Unsupported
from methods._attributes import attribute_loss
from methods._prompts import GROUPS
from methods.ce import CrossEntropy
from methods.clip_lung import ClipLung
from methods.clip_lung_orthogonal import ClipLungOrthogonal, orthonormal
from vision import vision_batch, vision_task


def build(seed: int = 0, task: dict | None = None, **options) -> ClipLungOrthogonal:
    torch.manual_seed(seed)
    return ClipLungOrthogonal(vision_task(**(task or {})), **options)


def test_the_vectors_have_length_one_and_stand_at_right_angles():
    torch.testing.assert_close(orthonormal(11, 64, 0) @ orthonormal(11, 64, 0).mT, torch.eye(11), atol=1e-6, rtol=0)


def test_all_fits_share_vectors_which_a_seed_of_their_own_decides_and_no_word_does():
    other = {"class_names": ("x", "y", "z"), "attribute_names": tuple("abcdefgh")}
    assert torch.equal(build(seed=0).vectors, build(seed=7, task=other).vectors)
    assert not torch.equal(build().vectors, build(vector_seed=1).vectors)
    batch = vision_batch()
    assert all(torch.equal(term, build(task=other).loss(batch)[name]) for name, term in build().loss(batch).items())


def test_a_left_out_contrast_of_classes_with_attributes_would_be_constant():
    vectors, scale = build().vectors.double(), torch.tensor(log(1 / 0.07), requires_grad=True)
    weights = torch.rand(1, 8).double().softmax(dim=1)
    loss = attribute_loss(vectors[None, :3], vectors[3:], weights, scale.double()).sum()
    loss.backward()
    assert loss.item() == pytest.approx(log(8), abs=1e-6) and abs(scale.grad.item()) < 1e-5


def test_the_contrasts_equal_the_hand_computed_values():
    """Every group is class 1's vector: cosine 1 with it and 0 with all others, at a temperature of 0.07."""
    method, batch = build(alpha=2.0), vision_batch()
    groups = method.vectors[1].expand(6, GROUPS, -1)
    method.encoder.forward = lambda images: groups.reshape(6, 64, 4, 4)
    terms = method.loss(batch)
    other = log(exp(1 / 0.07) + 2)  # of a class that is not 1; labels are 0, 1, 2, 0, 1, 2
    assert terms["ic"].item() == pytest.approx((4 * other + 2 * (other - 1 / 0.07)) / 6, abs=1e-5)
    assert terms["ia"].item() == pytest.approx(2 * log(8), abs=1e-5)  # as far from every attribute


def test_is_clip_lung_but_for_the_vectors():
    batch, method = vision_batch(), build()
    torch.manual_seed(0)
    lung = ClipLung(vision_task(), losses=("ia",))
    lung.attribute_features = method.vectors[3:]
    mine, theirs = method.loss(batch), lung.loss(batch)
    assert torch.equal(mine["ia"], theirs["ia"]) and torch.equal(mine["ce"], theirs["ce"])


def test_starts_as_ce_does():
    torch.manual_seed(0)
    baseline, images = CrossEntropy(vision_task()).eval(), vision_batch().images
    assert torch.equal(baseline.predict_proba(images), build().eval().predict_proba(images))


@pytest.mark.parametrize(
    ("task", "reason"),
    [
        ({"attribute_names": ()}, "this task has none"),
        ({"attribute_names": tuple(f"a{i}" for i in range(62))}, "65 vectors of 64 numbers"),
        ({"image_shape": (2, 48, 48)}, "feature map of 4 x 4"),
    ],
)
def test_a_task_that_it_cannot_do_is_refused_with_a_reason(task, reason):
    with pytest.raises(Unsupported, match=reason):
        build(task=task)
