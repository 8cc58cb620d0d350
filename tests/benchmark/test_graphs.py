import re
import warnings
from collections.abc import Callable
from contextlib import nullcontext
from types import SimpleNamespace

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional

from benchmark import graphs
from benchmark.contracts import Batch, Method
from benchmark.graphs import REHEARSALS, Captured, CudaGraphs, first_cause
from benchmark.recipe import Recipe
from benchmark.step import Step
from benchmark.trainer import fit
from fakes import make_batch
from tape import Tapes, state_of

RECIPE = Recipe(lr=0.1, nesterov=True, weight_decay=0.01)
STEPS = 50


class Noisy(Method):
    """Has what a capture may get wrong: statistics, chance, a buffer and an attribute that scale its loss."""

    title = "Noisy"
    scale: Tensor

    def __init__(self) -> None:
        super().__init__()
        self.net = nn.Sequential(nn.Linear(64, 16), nn.BatchNorm1d(16), nn.Dropout(0.3), nn.Linear(16, 3))
        self.weight = 1.0
        self.register_buffer("scale", torch.ones(()))

    def loss(self, batch: Batch) -> dict[str, Tensor]:
        logits = self.net(batch.images.flatten(1))
        return {"ce": self.weight * self.scale * functional.cross_entropy(logits, batch.labels)}

    def predict_proba(self, images: Tensor) -> Tensor:
        return self.net(images.flatten(1)).softmax(1)


def a_batch(number: int, device: str = "cpu") -> Batch:
    generator = torch.Generator().manual_seed(number)
    images = torch.rand(12, 4, 4, 4, generator=generator)
    batch = make_batch(images, torch.randint(3, (12,), generator=generator))
    return Batch(*(tensor.to(device) for tensor in vars(batch).values()))


Between = Callable[[Method], None]


def losses(
    capture: bool, kind: type[Method] = Noisy, between: Between = lambda method: None, refusing: str = ""
) -> tuple[list[dict[str, float]], Captured | None]:
    """Take 50 steps, in epochs of ten, with what is done between epochs."""
    torch.manual_seed(0)
    method = kind().train()
    step = Step(method, RECIPE, fused=True)
    captured = Captured(step, Tapes(lambda: state_of(step))) if capture else None
    if captured:
        captured.graphs.waits = refusing
    read = []
    for number in range(STEPS):
        if number % 10 == 0:
            between(method)
            if captured:
                captured.begin_epoch()
        step.set_rate(1 - number / STEPS)
        (captured or step)(a_batch(number))
        read.append(step.take_totals())
    return read, captured


def test_captured_steps_are_the_eager_ones():
    (eager, _), (replayed, captured) = losses(False), losses(True)
    assert captured.outcome == "captured" and captured.graphs.recorded == 1
    for one, other in zip(eager, replayed, strict=True):
        assert other == pytest.approx(one, rel=1e-5)
    assert len({step["ce"] for step in replayed}) == STEPS


def double_the_weight(method: Method) -> None:
    method.weight *= 2


def replace_the_scale(method: Method) -> None:
    method.scale = method.scale * 2


def fill_the_scale(method: Method) -> None:
    method.scale.mul_(2)


def freeze_and_thaw_the_last(method: Method) -> None:
    for parameter in method.net[3].parameters():
        parameter.requires_grad_(not parameter.requires_grad)


@pytest.mark.parametrize(
    ("between", "recordings"),
    [(double_the_weight, 5), (replace_the_scale, 5), (fill_the_scale, 1), (freeze_and_thaw_the_last, 5)],
)
def test_what_changes_between_epochs_is_captured_anew_and_the_content_of_tensors_needs_not(between, recordings):
    (eager, _), (replayed, captured) = losses(False, between=between), losses(True, between=between)
    assert captured.graphs.recorded == recordings
    for one, other in zip(eager, replayed, strict=True):
        assert other == pytest.approx(one, rel=1e-5)


class Counting(Noisy):
    def loss(self, batch: Batch) -> dict[str, Tensor]:
        self.weight += 1
        return super().loss(batch)


def test_a_loss_that_counts_its_calls_is_not_captured_and_goes_on_as_it_is():
    (eager, _), (others, captured) = losses(False, Counting), losses(True, Counting)
    assert captured.outcome == "eager, not captured: each step changes an attribute of the method"
    assert others == eager and captured.graphs.recorded == 0


def test_a_step_that_was_seen_to_wait_is_not_captured():
    (eager, _), (others, captured) = losses(False), losses(True, refusing="mine.py:7 waits for the device")
    assert captured.outcome == "eager, not captured: mine.py:7 waits for the device"
    assert others == eager and captured.graphs.recorded == 0


def test_a_capture_that_fails_loses_no_step_and_says_why():
    class Refusing(Tapes):
        def record(self, work):
            try:
                raise ValueError("no graph holds this\nand more")
            finally:
                raise RuntimeError("leaving the capture failed too")

    eager, _ = losses(False)
    torch.manual_seed(0)
    step = Step(Noisy().train(), RECIPE, fused=True)
    captured, read = Captured(step, Refusing(lambda: ())), []
    for number in range(STEPS):
        step.set_rate(1 - number / STEPS)
        captured(a_batch(number))
        read.append(step.take_totals())
    assert read == eager and captured.outcome == "eager, not captured: ValueError: no graph holds this"


def test_a_training_too_short_to_be_captured_is_eager():
    step = Step(Noisy().train(), RECIPE, fused=True)
    captured = Captured(step, Tapes(lambda: state_of(step)))
    for number in range(REHEARSALS):
        captured(a_batch(number))
    assert captured.outcome == "eager" and captured.graphs.recorded == 0


def test_the_first_cause_is_at_the_bottom_of_the_chain():
    assert first_cause(RuntimeError("alone")) == "RuntimeError: alone" and first_cause(KeyError()) == "KeyError: "


class FakeCard:
    """Stands in for `torch.cuda` where there is no card: remembers what was asked of it, in order."""

    def __init__(self) -> None:
        self.asked: list[str] = []
        self.mode: int | str = 0

    def Stream(self, device: torch.device) -> SimpleNamespace:
        return SimpleNamespace(device=device, wait_stream=lambda other: self.asked.append("aside waits"))

    def current_stream(self, device: torch.device) -> SimpleNamespace:
        return SimpleNamespace(wait_stream=lambda other: self.asked.append("main waits"))

    def stream(self, stream: SimpleNamespace) -> nullcontext:
        return nullcontext()

    def get_sync_debug_mode(self) -> int | str:
        return self.mode

    def set_sync_debug_mode(self, mode: int | str) -> None:
        self.mode = mode

    def CUDAGraph(self) -> SimpleNamespace:
        return SimpleNamespace(replay=lambda: self.asked.append("replayed"))

    def graph(self, graph: SimpleNamespace, stream: SimpleNamespace) -> nullcontext:
        self.asked.append("captures")
        return nullcontext()


@pytest.fixture
def card(monkeypatch) -> FakeCard:
    card = FakeCard()
    monkeypatch.setattr(graphs, "torch", SimpleNamespace(cuda=card))
    return card


def test_a_rehearsal_names_the_line_that_waits_and_passes_other_warnings_on(card):
    def work() -> None:
        card.asked.append(f"works, mode {card.mode}")
        warnings.warn("called a synchronizing CUDA operation", stacklevel=1)
        warnings.warn("something else", stacklevel=1)

    with pytest.warns(UserWarning, match="something else") as passed_on:
        reason = CudaGraphs(torch.device("cuda")).rehearse(work)
    assert re.fullmatch(r".*test_graphs\.py:\d+ waits for the device", reason)
    assert len(passed_on) == 1 and card.asked == ["aside waits", "works, mode warn", "main waits"]
    assert CudaGraphs(torch.device("cuda")).rehearse(lambda: None) == "" and card.mode == 0


def test_a_rehearsal_that_breaks_leaves_no_watch_behind(card):
    def work() -> None:
        raise KeyError("a bug")

    with pytest.raises(KeyError):
        CudaGraphs(torch.device("cuda")).rehearse(work)
    assert card.mode == 0


def test_recording_gives_the_replay_of_what_was_captured(card):
    replay = CudaGraphs(torch.device("cuda")).record(lambda: card.asked.append("works"))
    replay(), replay()
    assert card.asked == ["captures", "works", "replayed", "replayed"]


@pytest.mark.gpu
def test_captured_steps_are_the_eager_ones_on_the_card():
    read = []
    for capture in (False, True):
        torch.manual_seed(0)
        step = Step(Noisy().to("cuda").train(), RECIPE, fused=True)
        take = Captured(step, CudaGraphs(torch.device("cuda"))) if capture else step
        read.append([])
        for number in range(STEPS):
            step.set_rate(1 - number / STEPS)
            take(a_batch(number, "cuda"))
            read[-1].append(step.take_totals())
    assert take.outcome == "captured"
    for one, other in zip(*read, strict=True):
        assert other == pytest.approx(one, rel=1e-5)


class Waiting(Noisy):
    def loss(self, batch: Batch) -> dict[str, Tensor]:
        return {name: term * float(term.detach() > 0) for name, term in super().loss(batch).items()}


@pytest.mark.gpu
@pytest.mark.parametrize(
    ("kind", "outcome"), [(Noisy, "captured"), (Waiting, r"eager, not captured: .*test_graphs\.py:\d+ waits for .*")]
)
def test_a_fit_on_the_card_is_captured_or_says_why_not(kind, outcome):
    torch.manual_seed(0)
    batches = [a_batch(number, "cuda") for number in range(8)]
    data = Batch(*(torch.cat(columns) for columns in zip(*(vars(b).values() for b in batches), strict=True)))
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        fitted = fit(kind().to("cuda"), data, Recipe(epochs=3, batch_size=12, lr=0.01), seed=0)
    assert len(fitted.history) == 3
    torch.testing.assert_close(torch.ones(3).cuda().sum().item(), 3.0)  # a refused capture leaves the card usable
    assert re.fullmatch(outcome, fitted.step)
