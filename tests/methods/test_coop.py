import pytest
import torch
from torch.nn.functional import cosine_similarity

from methods._text import encode_texts
from methods._tower import load_text_tower
from methods.coop import CoOp
from vision import CLASSES, TOWER, vision_batch, vision_task


def build(**options) -> CoOp:
    torch.manual_seed(0)
    return CoOp(vision_task(), **options).eval()


def test_logits_are_scaled_cosines_with_texts_that_all_images_share():
    method, images = build(), vision_batch().images
    cosines = cosine_similarity(method.encoder.pooled(images)[:, None], method.prompts()[None], dim=2)
    torch.testing.assert_close(method.logits(images), cosines / 0.07)
    torch.testing.assert_close(method.predict_proba(images), (cosines / 0.07).softmax(dim=1))


def test_the_tower_reads_the_context_then_the_class():
    method, tower = build(context_tokens=4), load_text_tower(TOWER)
    with torch.no_grad():
        method.prompts.context.copy_(tower.embed("a photo of a"))
    expected = encode_texts(tower, [f"a photo of a {name}." for name in CLASSES])
    torch.testing.assert_close(method.prompts(), expected, atol=1e-6, rtol=0)


def test_sixteen_small_tokens_are_learned_beside_encoder_and_scale():
    method = build()
    assert method.prompts.context.shape == (16, 64) and method.prompts.context.std().item() == pytest.approx(0.02, 0.1)
    assert {name for name in method.state_dict() if not name.startswith("encoder.")} == {
        "prompts.context",
        "logit_scale",
    }


@pytest.mark.parametrize(("tokens", "reason"), [(0, "nothing to learn"), (75, "CLIP reads 77")])
def test_a_context_of_nothing_or_of_all_there_is_room_for_is_refused(tokens, reason):
    with pytest.raises(ValueError, match=reason):
        build(context_tokens=tokens)
