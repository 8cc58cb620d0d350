"""What one row costs on this machine: a step as the trainer takes it, a prediction, a start, operations and memory.

Everything is measured on invented nodules of the right shape, so no cohort is needed. What a step costs comes from
`trainer.fit` itself, whatever it does on this device. Which part takes the time, and how many operations there are,
comes from plain steps beside it: the same batches and losses, in float32, one operation after another.
"""

import statistics
import time
from collections.abc import Iterable, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from functools import partial
from itertools import pairwise

import torch
from torch.utils.flop_counter import FlopCounterMode, conv_flop_count

from benchmark.batches import epoch_batches
from benchmark.contracts import Batch, InputError, Method, Row, Task, Unsupported
from benchmark.profile.invented import invented, invented_columns, invented_labels
from benchmark.profile.memory import MemoryPeak
from benchmark.profile.spans import HEAD, NOBODY, Branches, Clock, Kinds, Stopwatch, shares
from benchmark.recipe import Preset, Recipe
from benchmark.trainer import fit, predict

DATA, OPTIMISER = "data", "optimiser"
EPOCHS = 5  # that are timed, after a first one that warms up
_PLAIN_EPOCHS = 3  # of plain steps, after a first one: the median of each part hides no price that an epoch pays once


@dataclass(frozen=True)
class Profile:
    """What a row costs.

    Attributes:
        build_s: Making the method, when what all rows share is loaded.
        once_s: What a fit does once: what its first epoch takes longer than the others.
        step_s: A step of the trainer, with its share of what follows an epoch.
        end_s: A training nodule's share of what follows the last epoch (nothing, but for averaged weights).
        evaluation_s: Predicting a nodule.
        shares: Of a plain step's time, by part; they sum to one.
        flop: Floating-point operations of a plain step, counted in matrix products, convolutions and attention.
        memory_bytes: The most that building, training and predicting took; None where it cannot be told.
    """

    build_s: float
    once_s: float
    step_s: float
    end_s: float
    evaluation_s: float
    shares: dict[str, float]
    flop: int
    memory_bytes: int | None

    def fit_s(self, recipe: Recipe, nodules: int, folds: int) -> float:
        """Return what a fit takes in a cross-validation of so many nodules."""
        test = nodules / folds
        train = round(nodules - test)
        steps = recipe.epochs * (train // min(recipe.batch_size, train))
        return self.build_s + self.once_s + steps * self.step_s + train * self.end_s + test * self.evaluation_s


def clock_of(device: torch.device) -> Clock:
    """Return a clock that waits for what the device has still to do."""
    if device.type not in ("cuda", "mps"):
        return time.perf_counter
    wait = partial(torch.cuda.synchronize, device) if device.type == "cuda" else torch.mps.synchronize

    def waiting() -> float:
        wait()
        return time.perf_counter()

    return waiting


def measure(
    row: Row, task: Task, preset: Preset, device: torch.device, kinds: Kinds, steps: int, clock: Clock | None = None
) -> Profile:
    """Build, train and predict with a row.

    Args:
        row: A method, no reference.
        task: What to train on, with whole crops, of which the row is given what it reads.
        preset: Recipe.
        device: Where.
        kinds: Parts of a method and the modules that they are made of; what is of none is the head's.
        steps: In an epoch.
        clock: For tests.

    Raises:
        Exception: Whatever the row raises.
    """
    clock, task = clock or clock_of(device), row.sees(task)
    row.build(task)  # so that imports and the text tower are there
    memory = MemoryPeak(device)
    data = invented(task, steps * preset.recipe.batch_size, device)
    began = clock()
    method = row.build(task).to(device)
    built = clock()
    marks = _epochs(method, data, preset.recipe, clock)
    epochs = [after - before for before, after in pairwise(marks)][: EPOCHS + 1]
    epoch_s = statistics.median(epochs[1:])
    evaluation_s = _evaluation(method, data, task.num_classes, clock)
    memory_bytes = memory.bytes()
    shares = _shares(method, data, preset.recipe, kinds, clock)
    return Profile(
        build_s=built - began,
        once_s=max(0.0, epochs[0] - epoch_s),
        step_s=epoch_s / steps,
        end_s=(marks[-1] - marks[EPOCHS + 1]) / len(data),
        evaluation_s=evaluation_s,
        shares=shares,
        flop=_operations(method, next(epoch_batches(data, preset.recipe, torch.Generator()))),
        memory_bytes=memory_bytes,
    )


def _epochs(method: Method, data: Batch, recipe: Recipe, clock: Clock) -> list[float]:
    """Train; return when training began, when each epoch was over, and when all was."""
    marks, after_epoch = [clock()], method.after_epoch

    def marking(batches: Iterable[Batch]) -> None:
        after_epoch(batches)
        marks.append(clock())

    method.after_epoch = marking  # type: ignore[method-assign]  # this one object's: the trainer calls it each epoch
    try:
        fit(method, data, replace(recipe, epochs=EPOCHS + 1), seed=0)
    finally:
        del method.after_epoch
    if len(marks) < EPOCHS + 2:
        raise RuntimeError(f"{EPOCHS + 1} epochs called after_epoch {len(marks) - 1} times, so none can be timed")
    return [*marks[: EPOCHS + 2], clock()]


def _evaluation(method: Method, data: Batch, num_classes: int, clock: Clock) -> float:
    """Return what predicting one nodule takes, the second time."""
    marks = [clock()]
    for _ in range(2):
        predict(method, data.images, num_classes, data.diameter_mm)
        marks.append(clock())
    return (marks[2] - marks[1]) / len(data)


def _shares(method: Method, data: Batch, recipe: Recipe, kinds: Kinds, clock: Clock) -> dict[str, float]:
    """Return each part's share of plain steps."""
    method.train()
    optimiser = torch.optim.SGD(
        method.param_groups(), recipe.lr, recipe.momentum, weight_decay=recipe.weight_decay, nesterov=recipe.nesterov
    )
    generator, watch, laps = torch.Generator().manual_seed(0), Stopwatch(clock), []
    branches = Branches(watch)
    with branches.following(method, kinds):
        for _ in range(_PLAIN_EPOCHS + 1):
            watch.switch(DATA)
            for batch in epoch_batches(data, recipe, generator):
                watch.switch(HEAD)
                loss = torch.stack(list(method.loss(batch).values())).sum()
                watch.switch(OPTIMISER)
                optimiser.zero_grad()
                watch.switch(HEAD)
                branches.follow_backward(loss)
                loss.backward()  # type: ignore[no-untyped-call]
                watch.switch(OPTIMISER)
                optimiser.step()
                watch.switch(DATA)
            watch.switch(NOBODY)
            laps.append(watch.lap())
    return shares(laps[1:], [DATA, *kinds, HEAD, OPTIMISER])


def _operations(method: Method, batch: Batch) -> int:
    """Count the floating-point operations of a step."""
    with FlopCounterMode(display=False, custom_mapping={torch.ops.aten.convolution_backward: _of_backward}) as counter:
        torch.stack(list(method.loss(batch).values())).sum().backward()  # type: ignore[no-untyped-call]
    return int(counter.get_total_flops())


def _of_backward(
    slopes: Sequence[int],
    read: Sequence[int],
    weight: Sequence[int],
    *rest: object,
    out_shape: object = None,
) -> int:
    """Count a convolution's backward pass from shapes: for images and for weights as much as forward, as is wanted.

    Torch's own formula counts the gradient of grouped weights as if there were no groups.
    """
    *_, transposed, _, _, wanted = rest
    forward = conv_flop_count(list(read), list(weight), list(slopes), bool(transposed))
    return forward * sum(wanted[:2])  # type: ignore[index]


def begin(shared: tuple[Row, Task] | None) -> None:
    """Load what the fits of a process share: a job for the executor, which is timed from its start to its end."""
    import timm  # noqa: F401  # as the first fit of a process does

    if shared is not None:
        row, task = shared
        with suppress(Unsupported, InputError):  # said where the row itself is measured
            row.build(task)


def matrix_peaks(device: torch.device, clock: Clock | None = None) -> dict[str, float]:
    """Return the FLOP/s of the fastest of some products of square matrices, by type of number.

    One thread on a CPU, if the fits have one; bfloat16 only on CUDA, where training may use it.
    """
    clock, on_cpu = clock or clock_of(device), device.type == "cpu"
    size, found = 1024 if on_cpu else 8192, {}
    for dtype in (torch.float32, torch.bfloat16)[: 1 + (device.type == "cuda")]:
        square, seconds = torch.rand(size, size, device=device, dtype=dtype), []
        for _ in range(10):
            began = clock()
            torch.mm(square, square)
            seconds.append(clock() - began)
        found[str(dtype).removeprefix("torch.")] = 2 * size**3 / min(seconds[1:])
    return found


def reference_s(row: Row, task: Task, nodules: int, folds: int) -> float:
    """Return what a reference takes in a cross-validation of so many nodules, the second time.

    Raises:
        Exception: Whatever the reference raises.
    """
    if row.reference is None:
        raise ValueError(f"the row {row.key} is a method, which measure() times")
    test = nodules // folds
    train, labels = invented_columns(task, nodules - test), invented_labels(task, nodules - test)
    marks = [time.perf_counter()]
    for _ in range(2):
        row.reference(train, invented_columns(task, test), labels, task.num_classes, 0)
        marks.append(time.perf_counter())
    return marks[2] - marks[1]
