import pytest
import torch
from torch import nn
from torch.nn.functional import adaptive_avg_pool2d, cosine_similarity, cross_entropy

from benchmark.contracts import EncoderSpec, Unsupported
from methods.clip_lung_released import ClipLungReleased, as_eight_by_eight, weighted_scores
from vision import ATTRIBUTES, vision_batch, vision_task


def build(num_classes: int = 3) -> ClipLungReleased:
    torch.manual_seed(0)
    names = ("benign", "unsure", "malignant") if num_classes == 3 else ("benign", "malignant")
    return ClipLungReleased(vision_task(num_classes=num_classes, class_names=names)).eval()


def test_rows_of_the_large_map_are_halves_of_channels_of_the_small():
    large = as_eight_by_eight(torch.arange(512 * 16).reshape(1, 512, 4, 4).float())
    assert large.shape == (1, 128, 8, 8)
    assert torch.equal(large[0, 0, 0], torch.arange(8.0)) and torch.equal(large[0, 0, 1], torch.arange(8.0, 16.0))


def test_parameter_counts_at_the_papers_width():
    with torch.device("meta"):  # counts need no numbers
        reduce, classifier = nn.Conv2d(512 // 4, 512 // 16, kernel_size=1), nn.Linear(512, 3)
    assert sum(p.numel() for p in reduce.parameters()) == 4128
    assert sum(p.numel() for p in classifier.parameters()) == 513 * 3


def test_layers_have_the_released_shapes_at_a_small_width():
    method = build()
    assert method.reduce.weight.shape == (64 // 16, 64 // 4, 1, 1) and method.classifier.weight.shape == (3, 64)
    assert method.prompts.context.shape == (4, 64)


def test_scores_are_the_weighted_cosines_averaged_over_the_attributes():
    generator = torch.Generator().manual_seed(0)
    features, attributes = torch.randn(2, 4, 16, generator=generator), torch.randn(2, 8, 16, generator=generator)
    weights, units = torch.rand(2, 8, generator=generator), nn.functional.normalize(attributes, dim=-1)
    scores = weighted_scores(features, units, weights, torch.tensor(0.7))
    for image in range(2):
        for row in range(4):
            cosines = cosine_similarity(features[image, row][None], attributes[image], dim=1)
            torch.testing.assert_close(scores[image, row], (weights[image] * cosines).mean() * torch.tensor(0.7).exp())


@pytest.mark.parametrize("num_classes", [2, 3])
def test_losses_are_the_released_ones_image_by_image(num_classes):
    """The released loop, with each image's own label for all its groups."""
    method, batch = build(num_classes), vision_batch(num_classes)
    maps, scale = method.grouped(batch.images), method.logit_scale.exp()
    groups = torch.stack([part.flatten(1) for part in maps.split(maps.shape[1] // 4, dim=1)], dim=1)
    units, texts = nn.functional.normalize(groups, dim=-1), method.prompts(groups)
    ic, ia, ca = [], [], []
    for image, text, label, ratings in zip(units, texts, batch.labels, batch.attributes, strict=True):
        classes, attributes, weights = text[:num_classes], text[num_classes:], ratings.softmax(0)
        ic.append(cross_entropy(scale * image @ classes.T, label.repeat(4)))
        ia.append(cross_entropy((weights * (scale * image @ attributes.T)).mean(1), label))
        ca.append(cross_entropy((weights * (scale * classes @ attributes.T)).mean(1), label))
    logits = method.classifier(adaptive_avg_pool2d(maps, 4).flatten(1))
    expected = {"ic": torch.stack(ic).mean(), "ia": torch.stack(ia).mean(), "ca": 0.5 * torch.stack(ca).mean()}
    expected["ce"] = cross_entropy(logits, batch.labels)
    torch.testing.assert_close(method.loss(batch), expected)
    torch.testing.assert_close(method.predict_proba(batch.images), logits.softmax(1))


def test_permuting_the_batch_leaves_every_loss():
    method, batch, order = build(), vision_batch(), torch.tensor([4, 2, 0, 5, 1, 3])
    torch.testing.assert_close(method.loss(batch[order]), method.loss(batch), atol=1e-5, rtol=0)


def test_predicts_without_the_text_branch():
    method, images = build(), vision_batch().images
    before = method.predict_proba(images)
    del method.prompts, method.logit_scale
    assert torch.equal(method.predict_proba(images), before)


def test_state_holds_nothing_of_the_tower():
    kept = {name.split(".")[0] for name in build().state_dict()}
    assert kept == {"encoder", "reduce", "classifier", "prompts", "logit_scale"}
    assert len(build().state_dict()["prompts.context"]) == 4


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"attribute_names": ()}, "this task has none"),
        ({"attribute_names": (*ATTRIBUTES, "malignancy")}, "labels are made from it"),
        ({"image_shape": (2, 16, 16)}, "feature map of 4 x 4"),
        ({"encoder": EncoderSpec((8, 8, 8, 48), (1, 1, 1, 1), "deep")}, "multiple of 64, not 48"),
        ({"num_classes": 5, "class_names": tuple("abcde")}, "5 classes are too many"),
    ],
)
def test_a_task_that_it_cannot_do_is_refused_with_a_reason(changes, reason):
    with pytest.raises(Unsupported, match=reason):
        ClipLungReleased(vision_task(**changes))


def test_the_temperature_may_start_where_the_released_code_starts():
    torch.manual_seed(0)
    assert ClipLungReleased(vision_task(), start_tau=0.01).logit_scale.exp().item() == pytest.approx(100)
    assert ClipLungReleased(vision_task()).logit_scale.exp().item() == pytest.approx(1 / 0.07)
    with pytest.raises(ValueError, match=r"start_tau must lie between 0.01 and 1, not 0.001"):
        ClipLungReleased(vision_task(), start_tau=0.001)
