import torch
from torch.nn.functional import cosine_similarity

from methods.cocoop import CoCoOp
from vision import vision_batch, vision_task


def build(**options) -> CoCoOp:
    torch.manual_seed(0)
    return CoCoOp(vision_task(), **options).eval()


def test_logits_are_scaled_cosines_with_the_images_own_texts():
    method, images = build(), vision_batch().images
    features = method.encoder.pooled(images)
    cosines = cosine_similarity(features[:, None], method.prompts(features[:, None]), dim=2)
    torch.testing.assert_close(method.logits(images), cosines / 0.07)
    torch.testing.assert_close(method.predict_proba(images), (cosines / 0.07).softmax(dim=1))


def test_the_context_starts_as_four_tokens():
    assert build().prompts.context.shape == (4, 64)
    assert build(context="a nodule image of").prompts.context.shape == (6, 64)  # words are not tokens


def test_only_encoder_prompts_and_scale_are_trained_and_kept():
    method = build()
    assert {name.split(".")[0] for name, _ in method.named_parameters()} == {"encoder", "prompts", "logit_scale"}
    kept = {name for name in method.state_dict() if not name.startswith(("encoder.", "prompts.meta_net."))}
    assert kept == {"prompts.context", "logit_scale"}


def test_the_scale_is_not_decayed():
    method = build()
    spared = [group["params"] for group in method.param_groups() if group.get("weight_decay") == 0.0]
    assert [p is method.logit_scale for params in spared for p in params] == [True]
