import math

import pytest
import torch

import methods
from benchmark.contracts import EncoderSpec, Task, TextTowerSpec, Unsupported
from methods._text import encode_texts
from methods._tower import for_images, load_text_tower
from methods.clip import Clip
from vision import batch_of, vision_batch, vision_task

ENCODER = EncoderSpec(channels=(8, 8, 16, 16), layers=(1, 1, 1, 1), stem="deep")
TOWER = TextTowerSpec(name="random", width=16, layers=1, heads=2)


def task(class_names=("benign", "unsure", "malignant"), **changes) -> Task:
    return Task(
        **{
            "num_classes": len(class_names),
            "class_names": class_names,
            "attribute_names": (),
            "image_shape": (4, 32, 32),
            "encoder": ENCODER,
            "text_tower": TOWER,
            **changes,
        }
    )


@pytest.fixture
def images():
    return torch.rand(5, 4, 32, 32, generator=torch.Generator().manual_seed(0))


def test_text_features_are_the_prompts_own_at_unit_length():
    tower = load_text_tower(TOWER)
    expected = tower.clip.encode_text(
        tower.tokenizer([f"a nodule image of {name}." for name in task().class_names]), normalize=True
    )
    torch.testing.assert_close(Clip(task()).text_features, expected, atol=1e-5, rtol=0)


@pytest.mark.parametrize("class_names", [("benign", "malignant"), ("benign", "unsure", "malignant")])
def test_logits_are_the_scaled_cosines(class_names, images):
    method = Clip(task(class_names)).eval()
    features = method.encoder.pooled(images)
    cosine = torch.nn.functional.cosine_similarity(features[:, None], method.text_features[None], dim=2)
    torch.testing.assert_close(method.logits(images), cosine / 0.07)
    torch.testing.assert_close(method.predict_proba(images), (cosine / 0.07).softmax(dim=1))


def test_the_scale_never_passes_a_hundred(images):
    method = Clip(task()).eval()
    torch.nn.init.constant_(method.logit_scale, 10.0)
    assert method.logits(images).abs().max() <= 100.001


LEARNED = [key for key, row in methods.ROWS.items() if row.method and "logit_scale" in row.method.no_weight_decay]


@pytest.mark.parametrize("key", LEARNED)
@pytest.mark.parametrize(("beyond", "bound"), [(9.0, math.log(100)), (-3.0, 0.0)])
def test_a_scale_beyond_its_bounds_is_put_back_and_can_return(key, beyond, bound):
    """Cut off in the forward pass alone it would have no gradient there, and stay for ever."""
    torch.manual_seed(0)
    method = methods.ROWS[key].build(vision_task())
    torch.nn.init.constant_(method.logit_scale, beyond)
    sum(method.loss(vision_batch()).values()).backward()
    assert method.logit_scale.item() == pytest.approx(bound) and method.logit_scale.grad.abs() > 0


def test_two_classes_of_one_name_get_the_same_logits(images):
    logits = Clip(task(("unsure", "unsure"))).eval().logits(images)
    torch.testing.assert_close(logits[:, 0], logits[:, 1])


def test_only_encoder_and_scale_are_trained(images):
    method = Clip(task())
    trained = {name.split(".")[0] for name, _ in method.named_parameters()}
    assert trained == {"encoder", "logit_scale"} and method.logit_scale.item() == pytest.approx(math.log(1 / 0.07))
    batch = batch_of(images, torch.tensor([0, 1, 2, 0, 1]))
    method.loss(batch)["ce"].backward()
    assert all(p.grad is not None and p.grad.isfinite().all() for p in method.parameters())


def test_the_scale_is_not_decayed():
    method = Clip(task())
    spared = [group["params"] for group in method.param_groups() if group.get("weight_decay") == 0.0]
    assert [p is method.logit_scale for params in spared for p in params] == [True]


def test_an_encoder_of_another_width_meets_the_texts_through_the_towers_projection():
    wide = TextTowerSpec(name="random", width=32, layers=1, heads=2)
    method = Clip(task(text_tower=wide))
    projected = for_images(load_text_tower(wide), 16)
    expected = encode_texts(projected, [f"a nodule image of {name}." for name in task().class_names])
    torch.testing.assert_close(method.text_features, expected, atol=0, rtol=0)
    assert method.metadata()["text_tower"]["projection"]["to"] == 16


def test_a_prompt_without_a_place_for_the_class_is_refused():
    with pytest.raises(ValueError, match="cannot tell classes apart"):
        Clip(task(), prompt="a nodule.")


def test_a_prompt_too_long_for_any_name_is_no_fault_of_the_task():
    with pytest.raises(ValueError, match="75 tokens leaves no room for a name: CLIP reads 77"):
        Clip(task(), prompt="a " * 75 + "{}")
    with pytest.raises(Unsupported, match="CLIP reads 77"):
        Clip(task(("benign", "a " * 80)))
