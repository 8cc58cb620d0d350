import pytest
import torch
from torch.nn.functional import cross_entropy

from benchmark.contracts import Unsupported
from methods.ce import CrossEntropy
from methods.multitask import MultiTask
from vision import batch_of, vision_batch, vision_task

TYPICAL = torch.tensor([[4.0, 1.0, 6.0, 4.0, 4.0, 1.0, 1.0, 5.0]])  # ratings in the paper's order


def build(**options) -> MultiTask:
    torch.manual_seed(0)
    return MultiTask(vision_task(), **options)


def baseline() -> CrossEntropy:
    torch.manual_seed(0)
    return CrossEntropy(vision_task())


def test_the_loss_is_ce_plus_the_weighted_mean_squared_error_and_nothing_else():
    method, batch = build(weight=0.7).eval(), vision_batch()
    features = method.encoder.pooled(batch.images)
    targets = (batch.attributes - 3) / 2
    for column, absent in ((1, 1), (2, 6)):  # internal structure and calcification: names of what is there, or none
        targets[:, column] = 1.0 - 2.0 * (batch.attributes[:, column] == absent)
    errors = (method.regressor(features) - targets).square()
    terms = method.loss(batch)
    assert list(terms) == ["ce", "mse"]
    torch.testing.assert_close(terms["ce"], cross_entropy(method.classifier(features), batch.labels))
    torch.testing.assert_close(terms["mse"], 0.7 * errors.sum() / errors.numel())


def test_the_squared_error_equals_the_hand_computed_value():
    method = build()
    torch.nn.init.zeros_(method.regressor.weight)
    torch.nn.init.zeros_(method.regressor.bias)
    batch = batch_of(torch.rand(2, 2, 32, 32), torch.tensor([0, 1]), TYPICAL.repeat(2, 1))
    # targets 1/2, -1, -1, 1/2, 1/2, -1, -1, 1, so (3/4 + 5) / 8
    torch.testing.assert_close(method.loss(batch)["mse"], torch.tensor(0.71875), atol=1e-6, rtol=0)


def test_starts_as_ce_does_and_without_its_weight_has_the_gradients_of_ce():
    plain, method, batch = baseline(), build(weight=0.0), vision_batch()
    assert torch.equal(plain.eval().predict_proba(batch.images), method.eval().predict_proba(batch.images))
    sum(method.loss(batch).values()).backward()
    plain.loss(batch)["ce"].backward()
    shared = dict(method.named_parameters())
    assert all(torch.equal(p.grad, shared[name].grad) for name, p in plain.named_parameters())


def test_the_ratings_reach_the_encoder_in_training_and_no_prediction():
    method, batch = build().eval(), vision_batch()
    before = method.predict_proba(batch.images)
    method.loss(batch)["mse"].backward()
    assert any(p.grad is not None and p.grad.any() for p in method.encoder.parameters())
    del method.regressor
    assert torch.equal(method.predict_proba(batch.images), before)


@pytest.mark.parametrize(
    ("attributes", "reason"),
    [((), "this row regresses rated attributes"), (("malignancy",), "labels are made from it")],
)
def test_a_task_without_ratings_and_one_that_gives_the_label_away_are_refused(attributes, reason):
    with pytest.raises(Unsupported, match=reason):
        MultiTask(vision_task(attribute_names=attributes))
