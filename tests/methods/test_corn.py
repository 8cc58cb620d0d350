from math import log

import pytest
import torch
from coral_pytorch.losses import corn_loss as the_packages

from benchmark.contracts import EncoderSpec, Task, TextTowerSpec
from methods import nsb
from methods.corn import Corn, corn_loss, log_probs
from vision import batch_of

TASK = Task(3, ("a", "b", "c"), (), (2, 16, 16), EncoderSpec((4, 4, 4, 4), (1, 1, 1, 1), "deep"), TextTowerSpec())


@pytest.mark.parametrize(
    ("logits", "expected"),
    [((log(3), 0.0), [0.25, 0.375, 0.375]), ((0.0, 0.0), [0.5, 0.25, 0.25]), ((log(3),), [0.25, 0.75])],
)
def test_equals_the_hand_computed_values(logits, expected):
    proba = log_probs(torch.tensor([logits], dtype=torch.float64)).exp()
    torch.testing.assert_close(proba[0], torch.tensor(expected, dtype=torch.float64), atol=1e-6, rtol=0)


@pytest.mark.parametrize(
    ("logits", "labels", "expected"),
    [
        ([[0.0, 0.0]] * 3, [0, 1, 2], 0.693147),
        ([[log(3), 0.0]], [1], 0.490415),  # (ln 4/3 + ln 2) / 2 questions
        ([[log(3), 0.0]], [0], log(4)),  # one question
    ],
)
def test_loss_equals_the_hand_computed_values(logits, labels, expected):
    loss = corn_loss(torch.tensor(logits, dtype=torch.float64), torch.tensor(labels))
    assert loss.item() == pytest.approx(expected, abs=1e-6)


def test_loss_is_the_packages_without_shapes_that_follow_the_labels():
    logits = torch.randn(40, 4, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    labels = torch.arange(40) % 5
    torch.testing.assert_close(corn_loss(logits, labels), the_packages(logits, labels, 5), rtol=1e-12, atol=0)


def test_loss_is_divided_by_the_questions_asked_not_by_the_nodules():
    torch.manual_seed(0)
    method = Corn(TASK).eval()
    batch = batch_of(torch.rand(4, 2, 16, 16), torch.tensor([0, 1, 2, 0]))
    likelihood = log_probs(method.logits(batch.images)).gather(1, batch.labels[:, None]).sum()
    torch.testing.assert_close(method.loss(batch)["corn"], -likelihood / (1 + 2 + 2 + 1))


def test_is_nsb_mirrored():
    logits = torch.randn(20, 3, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    torch.testing.assert_close(log_probs(logits), nsb.log_probs(-logits))


def test_median_class_counts_probabilities_above_one_half_and_is_not_the_argmax():
    above = torch.tensor([[0.6, 0.45]], dtype=torch.float64)  # p = (0.4, 0.15, 0.45)
    logits = torch.stack([above[:, 0], above[:, 1] / above[:, 0]], dim=1).logit()
    proba = log_probs(logits).exp()
    torch.testing.assert_close(proba, torch.tensor([[0.4, 0.15, 0.45]], dtype=torch.float64))
    assert (proba.cumsum(1)[:, :-1] < 0.5).sum().item() == 1 and proba.argmax().item() == 2


@pytest.mark.parametrize("stray", [-1, 3])
def test_refuses_labels_that_the_package_counts_wrongly(stray):
    batch = batch_of(torch.rand(2, 2, 16, 16), torch.tensor([0, stray]))
    with pytest.raises(RuntimeError, match="Class values"):
        Corn(TASK).loss(batch)
