import pytest
import torch
from torch import Tensor, nn

from benchmark.profile.spans import HEAD, Branches, Stopwatch, shares

TIME = [0.0]


@pytest.fixture(autouse=True)
def midnight():
    TIME[0] = 0.0


def clock() -> float:
    return TIME[0]


class Costly(torch.autograd.Function):
    """Passes its input on, and moves the clock: so long forward, so long backward."""

    @staticmethod
    def forward(ctx, x: Tensor, forward: float, backward: float) -> Tensor:
        TIME[0] += forward
        ctx.backward_s = backward
        return x.clone()

    @staticmethod
    def backward(ctx, gradient: Tensor) -> tuple[Tensor, None, None]:
        TIME[0] += ctx.backward_s
        return gradient, None, None


class Part(nn.Module):
    def __init__(self, forward: float, backward: float) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.ones(3))
        self.costs = forward, backward

    def forward(self, x: Tensor) -> Tensor:
        return Costly.apply(x * self.weight, *self.costs)


class Eye(Part): ...


class Ear(Part): ...


class Around(nn.Module):
    """Holds a part as the shared encoder does its network: its own `forward` is not what the method calls."""

    def __init__(self, inner: nn.Module) -> None:
        super().__init__()
        self.inner = inner

    def pooled(self, x: Tensor) -> Tensor:
        return self.inner(x)


class Mind(nn.Module):
    """An eye, an ear that reads what it saw, and a head that has an own price between and behind them."""

    def __init__(self, eye: nn.Module, ear: nn.Module | None, by_name: bool = False) -> None:
        super().__init__()
        self.eye, self.ear, self.by_name = eye, ear, by_name

    def loss(self, x: Tensor) -> Tensor:
        see = self.eye.pooled if isinstance(self.eye, Around) else self.eye
        seen = Costly.apply(see(x), 0.5, 0.25)
        return Costly.apply(
            seen if self.ear is None else seen + (self.ear(x=seen) if self.by_name else self.ear(seen)), 0.25, 0.125
        ).sum()


def seconds_of(method: Mind, kinds: dict) -> dict[str, float]:
    watch = Stopwatch(clock)
    branches = Branches(watch)
    with branches.following(method, kinds):
        watch.switch(HEAD)
        loss = method.loss(torch.ones(3))
    branches.follow_backward(loss)
    loss.backward()
    watch.switch("")
    return dict(watch.seconds)


@pytest.mark.parametrize("by_name", [False, True])
def test_forward_and_backward_are_charged_to_the_part_that_works(by_name):
    found = seconds_of(Mind(Eye(1.0, 2.0), Ear(4.0, 8.0), by_name), {"eye": (Eye,), "ear": (Ear,)})
    assert found == {"eye": 3.0, "ear": 12.0, HEAD: 1.125, "": 0.0}


def test_a_part_whose_forward_is_never_called_is_found_by_its_children():
    found = seconds_of(Mind(Around(Eye(1.0, 2.0)), None), {"eye": (Around,)})
    assert found == {"eye": 3.0, HEAD: 1.125, "": 0.0}


def test_a_part_within_a_part_is_charged_by_its_own_kind():
    class Both(Part):
        def __init__(self) -> None:
            super().__init__(1.0, 2.0)
            self.ear = Ear(4.0, 8.0)

        def forward(self, x: Tensor) -> Tensor:
            return super().forward(self.ear(x))

    found = seconds_of(Mind(Both(), None), {"eye": (Both,), "ear": (Ear,)})
    assert found["eye"] == 3.0 and found["ear"] == 12.0


def test_what_a_part_does_before_it_calls_a_part_within_is_charged_to_itself():
    class Around(Part):
        def __init__(self) -> None:
            super().__init__(1.0, 2.0)
            self.ear = Ear(4.0, 8.0)

        def forward(self, x: Tensor) -> Tensor:
            return self.ear(super().forward(x))

    found = seconds_of(Mind(Around(), None), {"eye": (Around,), "ear": (Ear,)})
    assert found["eye"] == 3.0 and found["ear"] == 12.0 and found[HEAD] == 1.125


def test_nothing_is_left_on_a_method_that_was_followed():
    mind = Mind(Eye(1.0, 2.0), Ear(4.0, 8.0))
    seconds_of(mind, {"eye": (Eye,), "ear": (Ear,)})
    assert not any(module._forward_hooks or module._forward_pre_hooks for module in mind.modules())


def test_shares_sum_to_one_and_an_absent_part_has_none():
    watch = Stopwatch(clock)
    for part, seconds in (("data", 1.0), ("head", 3.0), ("", 96.0)):
        watch.switch(part)
        TIME[0] += seconds
    watch.switch("end")
    lap = watch.lap()
    assert shares([lap], ["data", "text", "head"]) == {"data": 0.25, "text": 0.0, "head": 0.75}
    assert shares([{}], ["data"]) == {"data": 0.0}
    assert watch.lap() == {}


def test_one_lap_that_was_disturbed_moves_no_share():
    calm, disturbed = {"data": 1.0, "head": 3.0}, {"data": 99.0, "head": 3.0}
    assert shares([calm, disturbed, calm], ["data", "head"]) == {"data": 0.25, "head": 0.75}


def test_a_switch_to_the_part_that_is_on_does_not_look_at_the_clock():
    looks = iter((0.0, 1.0))
    watch = Stopwatch(lambda: next(looks))
    assert watch.switch("head") == "" and watch.switch("head") == "head"
