import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional
from torch.utils._python_dispatch import TorchDispatchMode

from benchmark.contracts import Batch, Method
from benchmark.recipe import Recipe
from benchmark.step import Step, TrainingFailed, cut
from fakes import make_batch

RECIPE = Recipe(lr=0.1, nesterov=True, weight_decay=0.01)


class Layer(Method):
    title = "Layer"

    def __init__(self) -> None:
        super().__init__()
        self.head = nn.Linear(64, 3, dtype=torch.float64)

    def loss(self, batch: Batch) -> dict[str, Tensor]:
        logits = self.head(batch.images.flatten(1))
        return {"ce": functional.cross_entropy(logits, batch.labels), "size": 0.01 * logits.square().mean()}


def a_batch(size: int = 10, seed: int = 0) -> Batch:
    images = torch.rand(size, 4, 4, 4, dtype=torch.float64, generator=torch.Generator().manual_seed(seed))
    return make_batch(images, torch.arange(size) % 3)


def stepped(fused: bool, micro_batch: int | None = None, steps: int = 5) -> tuple[Layer, dict[str, float]]:
    torch.manual_seed(0)
    method = Layer()
    step = Step(method, RECIPE, fused, micro_batch)
    for number in range(steps):
        step.set_rate(1 - number / 10)
        step(a_batch(seed=number))
    return method, step.take_totals()


@pytest.mark.parametrize(
    ("size", "micro_batch", "sizes"),
    [(32, None, [32]), (32, 16, [16, 16]), (33, 17, [16, 17]), (5, 2, [1, 2, 2]), (9, 4, [3, 3, 3]), (4, 9, [4])],
)
def test_a_batch_is_cut_into_even_parts_that_weigh_as_many_nodules_as_they_have(size, micro_batch, sizes):
    batch = a_batch(size)
    parts = list(cut(batch, micro_batch))
    assert [len(part) for part, _ in parts] == sizes
    assert [share for _, share in parts] == [rows / size for rows in sizes]
    assert torch.equal(torch.cat([part.images for part, _ in parts]), batch.images)


@pytest.mark.parametrize("micro_batch", [5, 3, 1])
def test_micro_batches_add_up_to_the_step_of_the_whole_batch(micro_batch):
    (whole, totals), (parts, added) = stepped(False), stepped(False, micro_batch)
    torch.testing.assert_close(parts.head.weight, whole.head.weight, rtol=1e-12, atol=1e-14)
    assert added == pytest.approx(totals, rel=1e-12)


def test_a_micro_batch_is_all_that_the_method_meets_at_once():
    met = []

    class Counting(Layer):
        def loss(self, batch: Batch) -> dict[str, Tensor]:
            met.append(len(batch))
            return super().loss(batch)

    Step(Counting(), RECIPE, False, micro_batch=4)(a_batch(10))
    assert met == [3, 3, 4]


def test_fused_steps_are_the_others_to_rounding():
    (plain, totals), (fused, others) = stepped(False), stepped(True)
    torch.testing.assert_close(fused.head.weight, plain.head.weight, rtol=1e-7, atol=1e-8)
    assert others == pytest.approx(totals, rel=1e-6) and totals["ce"] > 1


def test_steps_on_a_cpu_have_the_bits_of_a_plain_loop():
    method, _ = stepped(False)
    torch.manual_seed(0)
    looped = Layer()
    optimiser = torch.optim.SGD(
        looped.parameters(), RECIPE.lr, RECIPE.momentum, weight_decay=RECIPE.weight_decay, nesterov=True, foreach=False
    )
    for number in range(5):
        optimiser.param_groups[0]["lr"] = RECIPE.lr * (1 - number / 10)
        optimiser.zero_grad()
        torch.stack(list(looped.loss(a_batch(seed=number)).values())).sum().backward()
        optimiser.step()
    assert torch.equal(method.head.weight, looped.head.weight)


def test_a_group_keeps_its_own_rate():
    class TwoRates(Layer):
        def param_groups(self):
            return [{"params": [self.head.weight], "lr": 0.5}, {"params": [self.head.bias]}]

    for fused in (False, True):
        step = Step(TwoRates(), RECIPE, fused)
        step.set_rate(0.5)
        assert [float(group["lr"]) for group in step.optimiser.param_groups] == pytest.approx([0.25, 0.05])


def test_totals_are_since_the_last_time_and_start_with_none():
    step = Step(Layer(), Recipe(lr=1e-9), False)
    assert step.take_totals() == {}
    step(a_batch())
    once = step.take_totals()
    step(a_batch()), step(a_batch())
    assert step.take_totals() == pytest.approx({name: 2 * value for name, value in once.items()}, rel=1e-6)
    assert step.take_totals() == {"ce": 0.0, "size": 0.0}


class Reads(TorchDispatchMode):
    """Counts numbers that leave the device."""

    count = 0

    def __torch_dispatch__(self, function, types, args=(), kwargs=None):
        self.count += function is torch.ops.aten._local_scalar_dense.default
        return function(*args, **kwargs or {})


@pytest.mark.parametrize("fused", [False, True])
def test_no_step_reads_a_number_back(fused):
    step, reads = Step(Layer(), RECIPE, fused), Reads()
    with reads:
        for number in range(4):
            step.set_rate(1 / (number + 1))
            step(a_batch())
    assert reads.count == 0
    with reads:
        torch.ones(()).item()
    assert reads.count == 1


@pytest.mark.parametrize(
    ("term", "kind"), [(torch.ones(8), r"of shape \[8\]"), (torch.ones(1), r"of shape \[1\]"), (0.5, "a float")]
)
def test_a_loss_term_that_is_not_one_number_is_refused_by_name(term, kind):
    method = Layer()
    method.loss = lambda batch: {"ce": torch.ones((), requires_grad=True), "odd": term}
    with pytest.raises(TrainingFailed, match=f"the loss term 'odd' is {kind}: it must be one number"):
        Step(method, RECIPE, False)(a_batch())


@pytest.mark.parametrize("returned", [{}, [torch.ones(())], None])
def test_a_loss_without_named_terms_is_refused(returned):
    method = Layer()
    method.loss = lambda batch: returned
    with pytest.raises(TrainingFailed, match="loss must return a dictionary of named terms"):
        Step(method, RECIPE, False)(a_batch())
