"""Every row's step can be a CUDA graph: its shapes follow no content, and no number leaves or enters the device."""

import pytest
import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from benchmark.contracts import Batch, Method
from benchmark.graphs import Captured, CudaGraphs, frozen
from benchmark.recipe import Recipe
from benchmark.step import Step
from methods import ROWS, _precision
from methods.ce import CrossEntropy
from tape import Tapes, state_of
from vision import vision_batch, vision_task

RECIPE = Recipe(lr=0.05, nesterov=True, weight_decay=5e-4)
TRAINED = [key for key, row in ROWS.items() if row.method]


class Guard(TorchDispatchMode):
    """Refuses what moves content to a device that has none: there, whatever reads content fails by itself."""

    def __torch_dispatch__(self, function, types, args=(), kwargs=None):
        out = function(*args, **kwargs or {})
        devices = {leaf.device.type for leaf in tree_leaves((args, out)) if isinstance(leaf, Tensor) and leaf.ndim}
        if len(devices) > 1:
            raise RuntimeError(f"{function} moves {devices}")
        return out


def step_without_content(method: Method) -> None:
    """Take a step on tensors that have a shape and no content."""
    batch = Batch(*(tensor.to("meta") for tensor in vars(vision_batch()).values()))
    step = Step(method.to("meta").train(), RECIPE, fused=False)
    before = frozen(method)
    with Guard():
        step(batch)
    assert frozen(method) == before, "it changes an attribute of its own"


@pytest.mark.parametrize("key", TRAINED)
def test_a_step_needs_no_content_and_keeps_every_attribute(key):
    torch.manual_seed(0)
    step_without_content(ROWS[key].build(vision_task()))


class Reading(CrossEntropy):
    def loss(self, batch: Batch) -> dict[str, Tensor]:
        return {name: term * term.detach().item() for name, term in super().loss(batch).items()}


class Choosing(CrossEntropy):
    def loss(self, batch: Batch) -> dict[str, Tensor]:
        return {"ce": self.logits(batch.images)[batch.labels > 0].square().mean()}


class Counting(CrossEntropy):
    def loss(self, batch: Batch) -> dict[str, Tensor]:
        return {"ce": super().loss(batch)["ce"] * batch.labels.bincount().sum()}


class Bringing(CrossEntropy):
    def loss(self, batch: Batch) -> dict[str, Tensor]:
        weights = torch.tensor([1.0, 2.0, 3.0]).to(batch.labels.device)
        return {"ce": (self.logits(batch.images) * weights).sum()}


class Numbering(CrossEntropy):
    calls = 0

    def loss(self, batch: Batch) -> dict[str, Tensor]:
        self.calls += 1
        return super().loss(batch)


class ReadingBackwards(CrossEntropy):
    def loss(self, batch: Batch) -> dict[str, Tensor]:
        loss = super().loss(batch)["ce"]
        loss.register_hook(lambda gradient: gradient * float(gradient))
        return {"ce": loss}


@pytest.mark.parametrize("kind", [Reading, Choosing, Counting, Bringing, Numbering, ReadingBackwards])
def test_a_loss_that_needs_content_is_caught(kind):
    with pytest.raises((RuntimeError, AssertionError)):
        step_without_content(kind(vision_task()))


def losses(key: str, device: str, graphs, steps: int = 50) -> tuple[list[dict[str, float]], str]:
    """Train with a step that is captured, or with a plain one where there are no graphs."""
    torch.manual_seed(0)
    method = ROWS[key].build(vision_task()).to(device).train()
    step = Step(method, RECIPE, fused=True)
    take = Captured(step, graphs(step)) if graphs else step
    torch.manual_seed(1)
    read, batch = [], Batch(*(tensor.to(device) for tensor in vars(vision_batch()).values()))
    for number in range(steps):
        step.set_rate(1 - number / steps)
        take(batch[torch.arange(6, device=device).roll(number)])
        read.append(step.take_totals())
    return read, take.outcome if graphs else ""


def agree(one: list[dict[str, float]], other: list[dict[str, float]]) -> bool:
    return all(b == pytest.approx(a, rel=1e-5, abs=1e-7) for a, b in zip(one, other, strict=True))


@pytest.mark.parametrize("key", ["ce", "corf", "clip_lung", "morf"])
def test_fifty_captured_steps_are_the_eager_ones(key):
    """On a CPU: by a stand-in that does the recorded operations again, without any Python between."""
    eager, _ = losses(key, "cpu", None)
    replayed, outcome = losses(key, "cpu", lambda step: Tapes(lambda: state_of(step)))
    assert outcome == "captured" and agree(eager, replayed)
    assert len({tuple(terms.values()) for terms in replayed}) > 40


@pytest.mark.gpu
@pytest.mark.parametrize("key", TRAINED)
def test_fifty_captured_steps_are_the_eager_ones_on_the_card(key, monkeypatch):
    monkeypatch.setattr(_precision, "REDUCED", ())  # in float32
    monkeypatch.setattr(torch.backends.cudnn, "deterministic", True)
    eager, _ = losses(key, "cuda", None)
    replayed, outcome = losses(key, "cuda", lambda step: CudaGraphs(torch.device("cuda")))
    assert outcome == "captured" and agree(eager, replayed)


def seen_by_the_network(monkeypatch, reduced: tuple[str, ...]) -> tuple[torch.dtype, Tensor, CrossEntropy]:
    monkeypatch.setattr(_precision, "REDUCED", reduced)
    method, met = CrossEntropy(vision_task()), []
    method.encoder.net.layer4[0].conv1.register_forward_hook(lambda module, read, out: met.append(out.dtype))
    maps = method.encoder(vision_batch().images)
    maps.square().mean().backward()
    return met[0], maps, method


def test_where_it_is_reduced_the_encoder_alone_computes_in_bfloat16(monkeypatch):
    dtype, maps, method = seen_by_the_network(monkeypatch, ("cpu",))
    assert dtype == torch.bfloat16 and maps.dtype == torch.float32
    assert all(p.grad.dtype == p.dtype == torch.float32 for p in method.encoder.parameters())
    assert not torch.is_autocast_enabled("cpu")


def test_on_a_cpu_it_computes_in_float32_and_cuda_alone_is_reduced(monkeypatch):
    assert _precision.REDUCED == ("cuda",)
    assert seen_by_the_network(monkeypatch, ("cuda",))[0] == torch.float32
