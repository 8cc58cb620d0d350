"""The one trainer, CPU and GPU alike. It moves batches and minimises a sum; it knows no method.

`fit` is given training folds only: nothing here can choose an epoch by the test fold.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Protocol, runtime_checkable

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from benchmark.average import WeightAverage, renormalise
from benchmark.batches import Nodules, epoch_batches
from benchmark.contracts import Method
from benchmark.graphs import Captured, CudaGraphs
from benchmark.recipe import Recipe
from benchmark.step import Step, TrainingFailed

_EVAL_BATCH = 256


@dataclass(frozen=True)
class Fitted:
    """How a training went.

    Attributes:
        history: For each epoch the mean of every loss term.
        step: How steps were taken: `"eager"`, `"captured"` (as a CUDA graph), or `"eager, not captured: "` and why.
    """

    history: list[dict[str, float]]
    step: str


def learning_rate_factor(step: int, steps: int, warmup: float) -> float:
    """Return the factor on the learning rate: a linear rise over `warmup * steps`, then a half cosine to zero."""
    rise = warmup * steps
    if step < rise:
        return (step + 1) / (rise + 1)
    return 0.5 * (1 + math.cos(math.pi * (step - rise) / (steps - rise)))


@dataclass(frozen=True, eq=False)
class Training:
    """What a training carries from one epoch to the next: all that it needs to go on.

    Attributes:
        method: What is trained.
        step: Its optimiser, and the sums of the loss terms.
        average: Of the weights, if the recipe asks for one.
        generator: Draws the order and the turns of the nodules.
        history: For each epoch the mean of every loss term; their number is the place in the schedule.
    """

    method: Method
    step: Step
    average: WeightAverage | None
    generator: torch.Generator
    history: list[dict[str, float]] = field(default_factory=list)

    @property
    def device(self) -> torch.device:
        """Where it goes on."""
        return next(self.method.parameters()).device


@runtime_checkable
class Resume(Protocol):
    """Where an interrupted training goes on from."""

    def restore(self, training: Training) -> None:
        """Put a training that is about to begin where an earlier one stood, if there was one."""

    def epoch_over(self, training: Training) -> None:
        """Keep where a training stands, or not; it changes nothing of it."""


def fit(
    method: Method,
    data: Nodules,
    recipe: Recipe,
    seed: int,
    micro_batch: int | None = None,
    after_epoch: Callable[[int], None] | None = None,
    resume: Resume | None = None,
) -> Fitted:
    """Train in place, to the last epoch.

    With `recipe.ema` the averaged weights stand in the method at the end. Whatever follows the weights follows these:
    the statistics of batch normalisations are computed anew, then `after_epoch` is called once more.

    Args:
        method: On the device of `data`.
        data: The whole training set.
        recipe: How to train.
        seed: Of the order and augmentation; the method's own initialisation is the caller's.
        micro_batch: How many nodules to take at once, where memory holds no whole batch. Gradients add up to a
            batch's, but for losses that are no plain mean over its nodules; batch normalisation sees so many.
        after_epoch: Told each epoch's number when it is over, the method in eval mode. It looks on: it must leave
            method and random state as they are, and has no way to end or choose anything.
        resume: Where to go on from, and what keeps that; None begins at the beginning. On a CPU the end has the same
            bits, however often a training was interrupted.

    Returns:
        How it went.

    Raises:
        TrainingFailed: A loss is not finite, or has no named terms.
    """
    generator = torch.Generator().manual_seed(seed)
    device = data.labels.device
    step = Step(method, recipe, fused=device.type == "cuda", micro_batch=micro_batch)
    captured = Captured(step, CudaGraphs(device)) if device.type == "cuda" else None
    take = captured or step
    steps_an_epoch = len(data) // min(recipe.batch_size, len(data))
    average = WeightAverage(method, recipe.ema) if recipe.ema else None
    training = Training(method, step, average, generator)
    if resume is not None:
        resume.restore(training)
    history = training.history
    steps, taken = recipe.epochs * steps_an_epoch, len(history) * steps_an_epoch
    for epoch in range(len(history) + 1, recipe.epochs + 1):
        method.train()
        if captured:
            captured.begin_epoch()
        for batch in epoch_batches(data, recipe, generator):
            step.set_rate(learning_rate_factor(taken, steps, recipe.warmup))
            take(batch)
            taken += 1
            if average is not None:
                average.update()
        means = {name: total / steps_an_epoch for name, total in step.take_totals().items()}
        wrong = [name for name, mean in means.items() if not math.isfinite(mean)]
        if wrong:
            raise TrainingFailed(f"the loss term {wrong[0]!r} is {means[wrong[0]]} in epoch {epoch}")
        history.append(means)
        method.eval()
        with torch.no_grad():
            method.after_epoch(data.split(micro_batch or _EVAL_BATCH))
        if after_epoch is not None:
            after_epoch(epoch)
        if resume is not None and epoch < recipe.epochs:
            resume.epoch_over(training)
    if average is not None:
        average.take()
        renormalise(method, data, micro_batch or _EVAL_BATCH)
        with torch.no_grad():
            method.after_epoch(data.split(micro_batch or _EVAL_BATCH))
    return Fitted(history, captured.outcome if captured else "eager")


def predict(
    method: Method,
    images: Float[Tensor, "nodules slices rows columns"],
    num_classes: int,
    diameter_mm: Float[Tensor, " nodules"] | None = None,
    micro_batch: int | None = None,
) -> Float[np.ndarray, "nodules classes"]:
    """Return class probabilities in eval mode.

    Args:
        method: On the device of `images`.
        images: Of the test nodules.
        num_classes: K.
        diameter_mm: Their diameters, which reach a method only if it declares that it reads them.
        micro_batch: How many nodules to give it at once, where memory holds no more.

    Raises:
        TrainingFailed: Not a row per image and a column per class; or a probability is not finite, or a row does
            not sum to one; or the method reads diameters and there are none.
    """
    method.eval()
    read = [images]
    if method.reads_diameter:
        if diameter_mm is None:
            raise TrainingFailed(f"{type(method).__name__} reads every nodule's diameter, and none was given")
        read.append(diameter_mm)
    with torch.no_grad():
        split = (torch.split(tensor, micro_batch or _EVAL_BATCH) for tensor in read)
        parts = [method.predict_proba(*part) for part in zip(*split, strict=True)]
    return checked(torch.cat(parts).cpu().double().numpy(), len(images), num_classes)


def checked(proba: np.ndarray, nodules: int, num_classes: int) -> Float[np.ndarray, "nodules classes"]:
    """Return probabilities if that is what they are, whoever gave them.

    Raises:
        TrainingFailed: Not a row per nodule and a column per class; or a probability is not finite, or a row does
            not sum to one.
    """
    if proba.shape != (nodules, num_classes):
        raise TrainingFailed(f"the predicted probabilities have the shape {proba.shape}, not {(nodules, num_classes)}")
    if not np.isfinite(proba).all():
        raise TrainingFailed("a predicted probability is not finite")
    if (proba < 0).any() or np.abs(proba.sum(axis=1) - 1).max() > 1e-4:
        raise TrainingFailed("the predicted probabilities are negative or do not sum to one")
    return proba
