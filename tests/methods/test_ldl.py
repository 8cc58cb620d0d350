from itertools import combinations_with_replacement
from math import log

import numpy as np
import pytest
import torch
from torch.nn.functional import cross_entropy, one_hot

from benchmark.contracts import Batch, Unsupported
from datasets.protocols import LABEL_RULES, classify
from methods.ldl import LabelDistribution, votes
from vision import vision_batch, vision_task

NONE = float("nan")


def of(scores: tuple[float, ...], label: int, num_classes: int) -> list[float]:
    padded = torch.tensor([[*scores, *[NONE] * (4 - len(scores))]], dtype=torch.float32)
    return votes(padded, torch.tensor([label]), num_classes)[0].tolist()


@pytest.mark.parametrize(
    ("scores", "three", "two"),
    [
        ((1, 2, 4, 5), [1 / 2, 0, 1 / 2], [1 / 2, 1 / 2]),
        ((1, 3, 3), [1 / 3, 2 / 3, 0], [2 / 3, 1 / 3]),
        ((3, 4, 4, 5), [0, 1 / 4, 3 / 4], [1 / 8, 7 / 8]),
        ((5,), [0, 0, 1], [0, 1]),
        ((2.5, 3.5), [1 / 2, 0, 1 / 2], [1 / 2, 1 / 2]),  # the default rule's edges
        ((2.75,), [0, 1, 0], [1 / 2, 1 / 2]),
    ],
)
def test_votes_equal_the_hand_computed_values(scores, three, two):
    assert of(scores, 1, 3) == pytest.approx(three, abs=1e-6)
    assert of(scores, 1, 2) == pytest.approx(two, abs=1e-6)


@pytest.mark.parametrize("num_classes", [2, 3])
def test_a_class_that_was_given_without_scores_is_sure(num_classes):
    assert of((), num_classes - 1, num_classes) == one_hot(torch.tensor(num_classes - 1)).tolist()


@pytest.mark.parametrize("rule", LABEL_RULES)
@pytest.mark.parametrize("score", [1.0, 2.0, 3.0, 4.0, 5.0])
def test_a_readers_class_is_that_of_a_nodule_that_nobody_else_read(rule, score):
    label = classify(np.array([score]), "three", rule)[0]
    assert of((score,), 0, 3) == one_hot(torch.tensor(label), 3).tolist()


def test_of_two_classes_the_nodules_own_never_has_fewer_votes():
    for readers in range(1, 5):
        for scores in combinations_with_replacement((1.0, 2.0, 3.0, 4.0, 5.0), readers):
            label = int(classify(np.array([sum(scores) / readers]), "two")[0])
            if label >= 0:
                assert of(scores, label, 2)[label] >= 0.5


def loss_of(logits: list[float], malignancy: list[float], label: int) -> float:
    method, batch = LabelDistribution(vision_task()), vision_batch()[:1]
    method.logits = lambda images: torch.tensor([logits])
    values = vars(batch) | {"malignancy": torch.tensor([malignancy]).float(), "labels": torch.tensor([label])}
    return method.loss(Batch(**values))["soft_ce"].item()


def test_the_loss_equals_the_hand_computed_value():
    """Probabilities 1/2, 1/4, 1/4 and votes 1/4, 1/2, 1/4: 1/4 ln 2 + 3/4 ln 4."""
    assert loss_of([log(2), 0, 0], [1, 3, 3, 5], 1) == pytest.approx(1.75 * log(2), abs=1e-6)


def test_readers_who_agree_make_it_cross_entropy():
    batch = vision_batch()
    torch.manual_seed(0)
    method = LabelDistribution(vision_task()).eval()
    expected = cross_entropy(method.logits(batch.images), batch.labels)
    torch.testing.assert_close(method.loss(batch)["soft_ce"], expected)


def test_other_classes_are_refused_with_a_reason():
    with pytest.raises(Unsupported, match="votes for benign, malignant or benign, unsure, malignant"):
        LabelDistribution(vision_task(class_names=("a", "b", "c")))
