import pytest
import torch
from torch.nn.functional import cosine_similarity

from benchmark.contracts import Unsupported
from methods._adapter import Adapter
from methods.clip import Clip
from methods.clip_adapter import ClipAdapter
from vision import vision_batch, vision_task


def build(**options) -> ClipAdapter:
    torch.manual_seed(0)
    return ClipAdapter(vision_task(), **options).eval()


def test_adapted_features_equal_the_hand_computed_values():
    """Formula: Gao et al. 2021, f = r A(x) + (1 - r) x with A(x) = relu(relu(x W_1) W_2)."""
    adapter = Adapter(4, 0.2).double()
    with torch.no_grad():
        adapter.layers[0].weight.copy_(torch.tensor([[1.0, -1.0, 0.0, 2.0]]))
        adapter.layers[2].weight.copy_(torch.tensor([[1.0], [-1.0], [0.5], [0.0]]))
    features = torch.tensor([[1.0, 0.0, 2.0, 1.0], [0.0, 1.0, 1.0, 0.0]], dtype=torch.float64)
    # relu(x W_1) = 3 and 0, so A = (3, 0, 1.5, 0) and 0
    expected = torch.tensor([[1.4, 0.0, 1.9, 0.8], [0.0, 0.8, 0.8, 0.0]], dtype=torch.float64)
    torch.testing.assert_close(adapter(features), expected, atol=1e-6, rtol=0)


def test_logits_are_scaled_cosines_of_adapted_features_with_the_texts_of_the_clip_row():
    method, images = build(), vision_batch().images
    assert torch.equal(method.text_features, Clip(vision_task()).text_features)
    features = method.adapter(method.encoder.pooled(images))
    cosines = cosine_similarity(features[:, None], method.text_features[None], dim=2)
    torch.testing.assert_close(method.logits(images), cosines / 0.07)
    torch.testing.assert_close(method.predict_proba(images), (cosines / 0.07).softmax(dim=1))


def test_without_adapted_features_it_is_clip():
    torch.manual_seed(0)
    clip, images = Clip(vision_task()).eval(), vision_batch().images
    assert torch.equal(build(ratio=0.0).predict_proba(images), clip.predict_proba(images))


def test_the_adapter_is_a_quarter_as_wide_between_and_has_no_bias():
    shapes = {name: tuple(p.shape) for name, p in build().adapter.named_parameters()}
    assert shapes == {"layers.0.weight": (16, 64), "layers.2.weight": (64, 16)}


def test_impossible_options_are_refused_with_a_reason():
    with pytest.raises(ValueError, match=r"from 0 to 1, not at 1\.5"):
        build(ratio=1.5)
    with pytest.raises(ValueError, match=r"has no {} for the class name"):
        build(prompt="a nodule.")
    with pytest.raises(Unsupported, match="multiple of four, not 6"):
        Adapter(6, 0.2)
