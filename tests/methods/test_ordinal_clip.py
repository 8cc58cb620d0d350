import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.nn.functional import cosine_similarity, kl_div

from methods._tower import load_text_tower
from methods.ordinal_clip import OrdinalClip, interpolation_weights, text_to_image_loss
from vision import TOWER, vision_batch, vision_task


def build(**options) -> OrdinalClip:
    torch.manual_seed(0)
    return OrdinalClip(vision_task(), **options).eval()


@pytest.mark.parametrize(
    ("num_base", "expected"),
    [
        (2, [[1, 0], [0.5, 0.5], [0, 1]]),
        (3, [[2 / 3, 1 / 3, 0], [0.25, 0.5, 0.25], [0, 1 / 3, 2 / 3]]),
    ],
)
def test_weights_equal_the_hand_computed_values(num_base, expected):
    torch.testing.assert_close(interpolation_weights(3, num_base), torch.tensor(expected), atol=1e-6, rtol=0)


@given(st.integers(2, 9), st.integers(2, 9), st.sampled_from(["linear", "inverse"]))
@settings(deadline=None, max_examples=30)
def test_rows_are_mixtures_and_linear_ones_move_up_with_the_rank(num_ranks, num_base, kind):
    weights = interpolation_weights(num_ranks, num_base, kind)
    assert (weights >= 0).all()
    torch.testing.assert_close(weights.sum(dim=1), torch.ones(num_ranks))
    if kind == "linear":  # inverse distances pull a rank near a base word beyond its neighbours
        assert ((weights @ torch.arange(float(num_base))).diff() > 0).all()


def test_inverse_weights_pick_the_base_word_at_hand():
    torch.testing.assert_close(interpolation_weights(3, 3, "inverse"), torch.eye(3), atol=1e-4, rtol=0)


def test_text_to_image_loss_is_the_mean_over_the_classes_in_the_batch():
    logits = torch.randn(4, 3, generator=torch.Generator().manual_seed(0))
    by_class = [
        kl_div(logits[:, 0].log_softmax(0), torch.tensor([10.0, 0, 0, 10]).softmax(0), reduction="sum"),
        kl_div(logits[:, 2].log_softmax(0), torch.tensor([0, 10.0, 10, 0]).softmax(0), reduction="sum"),
    ]
    torch.testing.assert_close(text_to_image_loss(logits, torch.tensor([0, 2, 2, 0])), sum(by_class) / 2)


def test_text_to_image_loss_is_zero_where_images_share_a_class_as_its_target_does():
    labels = torch.tensor([0, 1, 1])
    targets = 10.0 * torch.tensor([[1.0, 0], [0, 1], [0, 1]])
    assert text_to_image_loss(targets + torch.tensor([3.0, -2.0]), labels).item() == pytest.approx(0, abs=1e-6)
    assert text_to_image_loss(-targets, labels) > 1


def test_logits_are_scaled_cosines_with_texts_that_all_images_share():
    method, images = build(), vision_batch().images
    features, texts = method.encoder.pooled(images), method.text_features()
    assert texts.shape == (3, 64)
    cosines = cosine_similarity(features[:, None], texts[None], dim=2)
    torch.testing.assert_close(method.logits(images), cosines / 0.07)
    torch.testing.assert_close(method.predict_proba(images), (cosines / 0.07).softmax(dim=1))


def test_the_tower_reads_the_context_then_the_ranks_own_word():
    method = build(base_ranks=2)
    seen = []
    method.encode.register_forward_pre_hook(lambda _, slots: seen.append(slots[0]))
    method.text_features()
    low, high = method.base_ranks
    torch.testing.assert_close(seen[0][0], torch.stack([*method.context, low, (low + high) / 2, high]))


def test_the_temperature_is_the_towers_and_stays():
    method = build()
    assert method.logit_scale == load_text_tower(TOWER).clip.logit_scale
    assert {name.split(".")[0] for name, _ in method.named_parameters()} == {"encoder", "context", "base_ranks"}


def test_the_names_of_the_classes_are_not_read():
    torch.manual_seed(0)
    other = OrdinalClip(vision_task(class_names=("one", "two", "three")))
    assert torch.equal(other.text_features(), build().text_features())


def test_state_holds_nothing_of_the_tower():
    kept = {name for name in build().state_dict() if not name.startswith("encoder.")}
    assert kept == {"context", "base_ranks"}


@pytest.mark.parametrize(
    ("options", "reason"),
    [
        ({"base_ranks": 1}, "base_ranks=1"),
        ({"context_tokens": 0}, "context_tokens=0"),
        ({"context_tokens": 75}, "CLIP reads 77"),
        ({"interpolation": "cubic"}, "linear, inverse, not 'cubic'"),
    ],
)
def test_bad_options_are_refused_with_a_reason(options, reason):
    with pytest.raises(ValueError, match=reason):
        build(**options)
