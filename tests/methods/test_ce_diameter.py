import pytest
import torch

from methods.ce_diameter import CrossEntropyDiameter, log_size
from vision import vision_batch, vision_task


def build() -> CrossEntropyDiameter:
    torch.manual_seed(0)
    return CrossEntropyDiameter(vision_task())


@pytest.mark.parametrize(("diameter", "size"), [(3.0, -1.0), (9.486833, 0.0), (10.0, 0.0457575), (30.0, 1.0)])
def test_sizes_equal_the_hand_computed_values(diameter, size):
    assert log_size(torch.tensor([diameter])).item() == pytest.approx(size, abs=1e-6)


def test_the_size_stands_beside_the_features_in_training_and_prediction():
    method, batch = build().eval(), vision_batch()
    weight, bias = method.classifier.weight, method.classifier.bias
    logits = method.encoder.pooled(batch.images) @ weight[:, :-1].mT + bias
    logits = logits + log_size(batch.diameter_mm)[:, None] * weight[:, -1]
    torch.testing.assert_close(method.predict_proba(batch.images, batch.diameter_mm), logits.softmax(1))
    nll = -logits.log_softmax(1)[torch.arange(6), batch.labels].mean()
    torch.testing.assert_close(method.loss(batch)["ce"], nll)


def test_each_nodule_has_its_own_size():
    method, batch = build().eval(), vision_batch()
    before = method.predict_proba(batch.images, batch.diameter_mm)
    grown = batch.diameter_mm.clone()
    grown[2] *= 4
    changed = (method.predict_proba(batch.images, grown) != before).any(dim=1)
    assert changed.tolist() == [False, False, True, False, False, False]
