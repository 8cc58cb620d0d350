import pytest
import torch
from coral_pytorch.dataset import levels_from_labelbatch, proba_to_label
from coral_pytorch.losses import coral_loss

from benchmark.contracts import EncoderSpec, Task, TextTowerSpec
from methods._ordinal import levels
from methods.coral import Coral, log_probs
from vision import batch_of

TASK = Task(3, ("a", "b", "c"), (), (2, 16, 16), EncoderSpec((4, 4, 4, 4), (1, 1, 1, 1), "deep"), TextTowerSpec())


def double(*values: float) -> torch.Tensor:
    return torch.tensor(values, dtype=torch.float64)


def test_equals_the_hand_computed_values():
    proba = log_probs(double(0.0), double(1.0, 0.5)).exp()
    torch.testing.assert_close(proba[0], double(0.268941, 0.108600, 0.622459), atol=1e-6, rtol=0)
    torch.testing.assert_close(1 - proba.cumsum(1)[0, :2], double(0.731059, 0.622459), atol=1e-6, rtol=0)


def test_two_classes_are_one_sigmoid():
    proba = log_probs(double(0.0), double(1.0)).exp()
    torch.testing.assert_close(proba[0], double(0.268941, 0.731059), atol=1e-6, rtol=0)


def test_loss_equals_the_hand_computed_values():
    for label, expected in enumerate([2.287339, 1.287339, 0.787339]):
        loss = coral_loss(double(1.0, 0.5)[None], levels(torch.tensor([label]), 3))
        assert loss.item() == pytest.approx(expected, abs=1e-6)


def test_layer_starts_with_descending_biases_that_are_not_decayed():
    method = Coral(TASK)
    assert method.head.coral_bias.tolist() == [1.0, 0.5]
    _, spared = method.param_groups()
    assert spared["weight_decay"] == 0 and spared["params"][0] is method.head.coral_bias


def test_levels_equal_the_package_s_and_refuse_labels_it_lets_pass():
    labels = torch.tensor([0, 3, 1, 2])
    assert torch.equal(levels(labels, 4), levels_from_labelbatch(labels, 4))
    for stray in (-1, 4):
        with pytest.raises(RuntimeError, match="Class values"):
            levels(torch.tensor([0, stray]), 4)


def test_levels_stay_on_their_device():
    assert levels(torch.zeros(2, dtype=torch.long, device="meta"), 3).device.type == "meta"


def test_median_class_counts_probabilities_above_one_half_and_is_not_the_argmax():
    biases = double(0.4, 0.2)
    proba = log_probs(double(0.0, -0.3), biases).exp()
    median = (proba.cumsum(1)[:, :-1] < 0.5).sum(1)
    above = torch.sigmoid(double(0.0, -0.3)[:, None] + biases)
    assert torch.equal(median, proba_to_label(above)) and median.tolist() == [2, 1]
    assert proba.argmax(1).tolist() == [2, 2]
    assert proba_to_label(double(0.4, 0.2)[None]).item() == 0  # the trap: fed logits, it says 0


def test_biases_out_of_order_are_lowered_and_the_class_between_gets_nothing():
    proba = log_probs(double(0.0), double(0.5, 1.0, 0.0)).exp()
    torch.testing.assert_close(proba[0], double(0.377541, 0.0, 0.122459, 0.5), atol=1e-6, rtol=0)


def test_class_probabilities_are_the_differences_of_the_layer_s_sigmoids():
    torch.manual_seed(0)
    method, images = Coral(TASK).eval(), torch.rand(5, 2, 16, 16)
    above = method.head(method.encoder.pooled(images)).sigmoid()
    torch.testing.assert_close(1 - method.predict_proba(images).cumsum(1)[:, :-1], above)
    batch = batch_of(images, torch.tensor([0, 1, 2, 1, 0]))
    binary = torch.nn.functional.binary_cross_entropy(above, levels(batch.labels, 3), reduction="none")
    torch.testing.assert_close(method.loss(batch)["coral"], binary.sum(1).mean())
