"""What every row promises, whatever it computes. A row joins by being in ROWS."""

import inspect
import json
from dataclasses import replace
from functools import cache

import pytest
import torch
from torch import Tensor

from benchmark.contracts import Batch, Method, Task, central
from methods import ROWS
from vision import CLASSES, vision_batch, vision_task

CASES = [(key, num_classes) for num_classes in (2, 3) for key in ROWS]
TRAINED = [(key, n) for key, n in CASES if ROWS[key].kind != "variant" or n == 3]  # the method itself has the rest
every_row = pytest.mark.parametrize(("key", "num_classes"), CASES)
every_trained_row = pytest.mark.parametrize(("key", "num_classes"), TRAINED)


def task_of(num_classes: int, slices: int | None = None) -> Task:
    names = CLASSES if num_classes == 3 else ("benign", "malignant")
    task = vision_task(num_classes=num_classes, class_names=names, image_shape=(4, 32, 32))
    return replace(task, encoder=replace(task.encoder, slices=slices))


def build(key: str, num_classes: int, seed: int = 0) -> Method:
    torch.manual_seed(seed)
    return ROWS[key].method(task_of(num_classes), **ROWS[key].hyperparameters)


@cache
def sixteen_nodules(num_classes: int) -> Batch:
    return vision_batch(num_classes, size=16, slices=4)


@cache
def readers_in_doubt(num_classes: int) -> Batch:
    """The same nodules: the last four have a single reader, and those before them readers who disagree."""
    batch = sixteen_nodules(num_classes)
    malignancy = batch.malignancy.clone()
    malignancy[-4:, 1:] = torch.nan
    malignancy[-8:-4] = torch.tensor([1.0, 3.0, torch.nan, torch.nan])
    return replace(batch, malignancy=malignancy)


def optimiser_of(method: Method, lr: float = 3e-3) -> torch.optim.Optimizer:
    return torch.optim.AdamW(method.param_groups(), lr=lr)


def summed_loss(method: Method, batch: Batch) -> Tensor:
    return torch.stack(list(method.loss(batch).values())).sum()


def train(method: Method, batch: Batch, optimiser: torch.optim.Optimizer, steps: int) -> None:
    """A miniature of the trainer: some steps, then the method's own work after an epoch."""
    method.train()
    for _ in range(steps):
        optimiser.zero_grad()
        summed_loss(method, batch).backward()
        optimiser.step()
    method.eval()
    with torch.no_grad():
        method.after_epoch([batch])


def predict(method: Method, batch: Batch) -> Tensor:
    read = (batch.images, batch.diameter_mm) if method.reads_diameter else (batch.images,)
    method.eval()
    with torch.no_grad():
        return method.predict_proba(*read)


def decide(method: Method, proba: Tensor) -> Tensor:
    return proba.argmax(dim=1) if method.decoder == "argmax" else (proba.cumsum(dim=1)[:, :-1] < 0.5).sum(dim=1)


@every_row
def test_loss_is_named_finite_scalars(key, num_classes):
    terms = build(key, num_classes).loss(sixteen_nodules(num_classes))
    assert terms and all(term.shape == () and term.isfinite() for term in terms.values())


@every_row
def test_a_prediction_sees_what_the_row_declares_and_metadata_can_be_written(key, num_classes):
    method = build(key, num_classes)
    read = ["images", "diameter_mm"] if key == "ce_diameter" else ["images"]
    assert list(inspect.signature(method.predict_proba).parameters) == read
    assert ROWS[key].reads_diameter is ("diameter_mm" in read)
    assert json.loads(json.dumps(method.metadata())) == method.metadata()
    assert bool(method.metadata()) is ROWS[key].reads_text


@every_row
def test_probabilities_are_on_the_simplex_from_the_first_step(key, num_classes):
    proba = predict(build(key, num_classes), sixteen_nodules(num_classes))
    assert proba.shape == (16, num_classes) and proba.dtype == torch.float32 and (proba >= 0).all()
    torch.testing.assert_close(proba.sum(dim=1), torch.ones(16), atol=1e-6, rtol=0)


@every_trained_row
def test_every_trainable_parameter_is_in_one_group_and_gets_a_gradient(key, num_classes):
    method, batch = build(key, num_classes), readers_in_doubt(num_classes)
    grouped = [id(p) for group in method.param_groups() for p in group["params"]]
    trainable = {name: p for name, p in method.named_parameters() if p.requires_grad}
    assert sorted(grouped) == sorted(map(id, trainable.values()))
    # After a step: the encoder's residual branches start multiplied by zero and pass nothing back before it.
    train(method, batch, optimiser_of(method), steps=1)
    method.zero_grad()
    summed_loss(method, batch).backward()
    assert not [name for name, p in trainable.items() if p.grad is None or not p.grad.any()]


@every_trained_row
def test_a_row_sees_no_slices_but_those_that_it_is_given(key, num_classes):
    """Where the encoder looks at one slice: from whole crops and from those that the row sees come the same bits."""
    row, batch, made = ROWS[key], sixteen_nodules(num_classes), []
    task = task_of(num_classes, slices=1)
    seen = row.sees(task)
    assert seen.image_shape == ((4, 32, 32) if key.startswith("mv_dar") else (1, 32, 32))
    for told in (task, seen):
        torch.manual_seed(0)
        method, given = row.build(told), replace(batch, images=central(batch.images, told.image_shape[0]))
        made.append((summed_loss(method, given), predict(method, given)))
    assert all(one.equal(other) for one, other in zip(*made, strict=True))


def fixed_parts(method: Method) -> dict[str, Tensor]:
    """Whatever gradients may not change: frozen parameters and buffers, less the batch normalisations' statistics."""
    parts = {name: p for name, p in method.named_parameters() if not p.requires_grad}
    parts |= {name: b for name, b in method.named_buffers() if "running" not in name and "num_batches" not in name}
    return {name: part.detach().clone() for name, part in parts.items()}


@every_trained_row
def test_a_step_leaves_fixed_parts_alone_and_frozen_modules_in_eval(key, num_classes):
    method = build(key, num_classes)
    before, optimiser = fixed_parts(method), optimiser_of(method)
    method.train()
    summed_loss(method, sixteen_nodules(num_classes)).backward()
    optimiser.step()
    after = fixed_parts(method)
    assert before.keys() == after.keys() and all(torch.equal(before[name], after[name]) for name in before)
    for module in method.modules():  # what has buffers and no parameter is frozen; it changes with no step and no mode
        if list(module.buffers()) and not list(module.parameters()):
            assert not module.training


@every_trained_row
def test_overfits_sixteen_nodules(key, num_classes):
    method, batch = build(key, num_classes), sixteen_nodules(num_classes)
    optimiser = optimiser_of(method, lr=1e-2)
    for _ in range(40):
        train(method, batch, optimiser, steps=5)
        if (decide(method, predict(method, batch)) == batch.labels).all():
            return
    pytest.fail("does not know its sixteen training nodules after 200 steps")


@every_trained_row
def test_a_row_alone_equals_the_row_in_a_batch(key, num_classes):
    method, batch = build(key, num_classes), sixteen_nodules(num_classes)
    torch.testing.assert_close(predict(method, batch[3:4]), predict(method, batch)[3:4], atol=1e-5, rtol=0)


@every_trained_row
def test_state_dict_restores_the_predictions(key, num_classes):
    batch = sixteen_nodules(num_classes)
    method, other = build(key, num_classes), build(key, num_classes, seed=1)
    train(method, batch, optimiser_of(method), steps=1)
    assert not torch.equal(predict(other, batch), predict(method, batch))
    other.load_state_dict(method.state_dict())
    assert torch.equal(predict(other, batch), predict(method, batch))


@every_trained_row
def test_same_seed_gives_the_same_bits(key, num_classes):
    batch = sixteen_nodules(num_classes)
    predictions = []
    for _ in range(2):
        twin = build(key, num_classes)  # which sets the seed, as the runner does
        train(twin, batch, optimiser_of(twin), steps=2)
        predictions.append(predict(twin, batch))
    assert torch.equal(*predictions)


LOGISTIC = [key for key, row in ROWS.items() if row.method and row.method.on_two_classes and not row.hyperparameters]


@pytest.mark.parametrize("key", LOGISTIC)
def test_what_is_said_to_be_one_model_on_two_classes_is_a_logistic_regression_on_the_features(key, monkeypatch):
    """The log odds are affine in the features, with a slope and an offset of their own."""
    method = build(key, 2)
    with torch.no_grad():
        for parameter in method.parameters():
            parameter.add_(0.1 * torch.randn(parameter.shape, generator=torch.Generator().manual_seed(1)))
    monkeypatch.setattr(method.encoder, "pooled", lambda features: features.flatten(1))
    one, other = torch.randn(2, 5, 1, 1, method.encoder.width, generator=torch.Generator().manual_seed(2))
    with torch.no_grad():
        proba = [method.eval().predict_proba(x)[:, 1] for x in (one, other, (one + 2 * other) / 3)]
    log_odds = [torch.logit(of_one) for of_one in proba]
    torch.testing.assert_close((log_odds[0] + 2 * log_odds[1]) / 3, log_odds[2], atol=1e-4, rtol=1e-4)
    assert log_odds[0].std() > 0.01


def test_the_models_that_start_alike_are_equal_at_the_start():
    assert sorted(LOGISTIC) == ["binomial", "ce", "clm", "coral", "corn", "nsb", "udm"]
    udm, clm = (build(key, 2) for key in ("udm", "clm"))
    assert udm.on_two_classes == clm.on_two_classes != ROWS["ce"].method.on_two_classes
    torch.testing.assert_close(predict(udm, sixteen_nodules(2)), predict(clm, sixteen_nodules(2)))
