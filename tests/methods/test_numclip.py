from math import exp, log

import pytest
import torch
from torch.nn.functional import cosine_similarity, cross_entropy, kl_div

from methods._text import encode_texts
from methods._tower import load_text_tower
from methods.numclip import NumClip, log_weights
from vision import CLASSES, TOWER, vision_batch, vision_task


def build(**options) -> NumClip:
    torch.manual_seed(0)
    return NumClip(vision_task(), **options).eval()


def test_weights_of_classes_equal_those_of_the_authors_code():
    """|y - j| / sum_j |y - j| * (K - 1), and 1 for the own class (runner_ssr.py)."""
    weights = log_weights(torch.tensor([0, 1, 2]), 3, dim=1).exp()
    expected = torch.tensor([[1, 2 / 3, 4 / 3], [1, 1, 1], [4 / 3, 2 / 3, 1]])
    torch.testing.assert_close(weights, expected, atol=1e-6, rtol=0)
    torch.testing.assert_close(log_weights(torch.tensor([1]), 5, dim=1).exp()[0, 4], torch.tensor(3 / 7 * 4))
    assert not log_weights(torch.tensor([0, 1]), 2, dim=1).any()


def test_weights_of_images_have_a_mean_of_one_among_the_wrong():
    weights = log_weights(torch.tensor([0, 1, 2, 2]), 3, dim=0).exp()
    # of class 0: distances 0, 1, 2, 2 with a mean of 5/3 among the wrong
    torch.testing.assert_close(weights[:, 0], torch.tensor([1, 3 / 5, 6 / 5, 6 / 5]), atol=1e-6, rtol=0)
    assert not log_weights(torch.tensor([1, 1]), 3, dim=0)[:, 1].any()  # nothing is wrong


def test_the_loss_of_classes_equals_the_hand_computed_value():
    """At the same cosine everywhere a benign image costs ln 3, as without weights: their mean is one."""
    flat = torch.zeros(1, 3) + log_weights(torch.tensor([0]), 3, dim=1)
    assert cross_entropy(flat, torch.tensor([0])).item() == pytest.approx(log(3), abs=1e-6)
    tilted = torch.tensor([[2.0, 1.0, -1.0]]) + log_weights(torch.tensor([0]), 3, dim=1)
    expected = log(exp(2) + 2 / 3 * exp(1) + 4 / 3 * exp(-1)) - 2
    assert cross_entropy(tilted, torch.tensor([0])).item() == pytest.approx(expected, abs=1e-6)


def test_a_far_class_is_pushed_away_harder_also_where_its_cosine_is_negative():
    pushes = []
    for weights in (torch.zeros(1, 3), log_weights(torch.tensor([0]), 3, dim=1)):
        logits = torch.tensor([[3.0, -2.0, -2.0]], requires_grad=True)
        cross_entropy(logits + weights, torch.tensor([0])).backward()
        pushes.append(logits.grad[0])
    assert pushes[1][2] > pushes[0][2] and pushes[1][1] < pushes[0][1]


def test_the_losses_are_those_of_weighted_logits_and_the_prediction_is_not():
    method, batch = build(), vision_batch()
    features = method.adapter(method.encoder.pooled(batch.images))
    logits = cosine_similarity(features[:, None], method.text_features()[None], dim=2) / 0.07
    terms = method.loss(batch)
    assert list(terms) == ["ce", "kl"]
    of_classes, of_images = (log_weights(batch.labels, 3, dim) for dim in (1, 0))
    torch.testing.assert_close(terms["ce"], cross_entropy(logits + of_classes, batch.labels))
    by_class = [
        kl_div(column.log_softmax(0), (10.0 * (batch.labels == k)).softmax(0), reduction="sum")
        for k, column in enumerate((logits + of_images).unbind(1))
    ]
    torch.testing.assert_close(terms["kl"], sum(by_class) / 3)
    torch.testing.assert_close(method.predict_proba(batch.images), logits.softmax(dim=1))


def test_the_texts_start_from_words_and_all_of_them_are_learned():
    method, tower = build(context="the nodule is"), load_text_tower(TOWER)
    expected = encode_texts(tower, [f"the nodule is {name}." for name in CLASSES])
    torch.testing.assert_close(method.text_features(), expected, atol=1e-6, rtol=0)
    assert {name.split(".")[0] for name, _ in method.named_parameters()} == {"encoder", "adapter", "context", "ranks"}
    assert method.logit_scale == tower.clip.logit_scale
    assert len(method.ranks) == sum(len(tower.tokenize(name)) for name in CLASSES)


@pytest.mark.parametrize(
    ("options", "reason"), [({"context": ""}, "nothing to learn"), ({"context": "a " * 75}, "CLIP reads 77")]
)
def test_a_context_of_nothing_or_of_all_there_is_room_for_is_refused(options, reason):
    with pytest.raises(ValueError, match=reason):
        build(**options)
