"""The one trainer, CPU and GPU alike. It moves batches and minimises a sum; it knows no method.

The whole training set lives on the device, and augmentation is a few tensor operations there: no loader
processes. All chance comes from one CPU generator, so the order of nodules and their turns do not depend on the
device. `fit` is given training folds only: nothing here can choose an epoch by the test fold.
"""

import math
from collections.abc import Callable, Iterator

import numpy as np
import torch
from jaxtyping import Float, Int16
from torch import Tensor

from benchmark.contracts import Batch, Method, batches_of
from benchmark.recipe import Recipe

_TURNS = 16  # the mirror images and quarter turns that keep a square stack of square slices a stack of slices
_EVAL_BATCH = 256


class TrainingFailed(Exception):
    """A fit that cannot go on; the reason in one sentence."""


def to_images(
    volumes: Int16[np.ndarray, "nodules slices rows columns"], window_hu: tuple[float, float], device: torch.device
) -> Float[Tensor, "nodules slices rows columns"]:
    """Map Hounsfield units linearly to [0, 1] over the window, clipped at both ends."""
    low, high = window_hu
    images = torch.from_numpy(volumes).to(device, torch.float32)
    return images.sub_(low).div_(high - low).clamp_(0, 1)


def turn(images: Float[Tensor, "batch slices rows columns"], code: int) -> Float[Tensor, "batch slices rows columns"]:
    """Apply one of the 16 turns: bits 0-2 mirror slices, rows and columns; bit 3 swaps rows and columns."""
    mirrored = [dim for bit, dim in enumerate((1, 2, 3)) if code >> bit & 1]
    images = images.flip(mirrored) if mirrored else images
    return images.transpose(2, 3) if code >> 3 & 1 else images


def epoch_batches(data: Batch, recipe: Recipe, generator: torch.Generator) -> Iterator[Batch]:
    """Yield one epoch of shuffled, augmented batches. Rows within a batch are sorted by their turn."""
    device = data.labels.device
    order = torch.randperm(len(data), generator=generator)
    codes = torch.randint(_TURNS, (len(data),), generator=generator)
    size = min(recipe.batch_size, len(data))
    for start in range(0, len(data) - size + 1, size):
        rows, code = order[start : start + size], codes[start : start + size]
        if recipe.augment:
            code, by_turn = code.sort(stable=True)
            rows = rows[by_turn].to(device)
            counts = torch.bincount(code, minlength=_TURNS).tolist()
            parts = torch.split(rows, counts)
            images = torch.cat([turn(data.images[part], k) for k, part in enumerate(parts) if counts[k]])
        else:
            rows = rows.to(device)
            images = data.images[rows]
        yield Batch(images, data.labels[rows], data.attributes[rows])


def learning_rate_factor(step: int, steps: int, warmup: float) -> float:
    """Return the factor on the learning rate: a linear rise over `warmup * steps`, then a half cosine to zero."""
    rise = warmup * steps
    if step < rise:
        return (step + 1) / (rise + 1)
    return 0.5 * (1 + math.cos(math.pi * (step - rise) / (steps - rise)))


def fit(
    method: Method,
    data: Batch,
    recipe: Recipe,
    seed: int,
    on_epoch: Callable[[int], None] = lambda epoch: None,
) -> list[dict[str, float]]:
    """Train in place, to the last epoch.

    Args:
        method: On the device of `data`.
        data: The whole training set.
        recipe: How to train.
        seed: Of the order and augmentation; the method's own initialisation is the caller's.
        on_epoch: Called after each epoch with its number, from 1.

    Returns:
        For each epoch the mean of every loss term.

    Raises:
        TrainingFailed: A loss is not finite.
    """
    generator = torch.Generator().manual_seed(seed)
    optimiser = torch.optim.SGD(
        method.param_groups(),
        lr=recipe.lr,
        momentum=recipe.momentum,
        nesterov=recipe.nesterov,
        weight_decay=recipe.weight_decay,
    )
    steps_an_epoch = len(data) // min(recipe.batch_size, len(data))
    steps = recipe.epochs * steps_an_epoch
    schedule = torch.optim.lr_scheduler.LambdaLR(
        optimiser, lambda step: learning_rate_factor(step, steps, recipe.warmup)
    )
    history = []
    for epoch in range(1, recipe.epochs + 1):
        method.train()
        totals: dict[str, Tensor] = {}
        for batch in epoch_batches(data, recipe, generator):
            terms = method.loss(batch)
            optimiser.zero_grad()
            torch.stack(list(terms.values())).sum().backward()  # type: ignore[no-untyped-call]
            optimiser.step()
            schedule.step()
            for name, term in terms.items():
                # Summed on the device: reading a number each step would make a GPU wait.
                totals[name] = totals.get(name, 0) + term.detach()
        means = {name: float(total) / steps_an_epoch for name, total in totals.items()}
        wrong = [name for name, mean in means.items() if not math.isfinite(mean)]
        if wrong:
            raise TrainingFailed(f"the loss term {wrong[0]!r} is {means[wrong[0]]} in epoch {epoch}")
        history.append(means)
        method.eval()
        with torch.no_grad():
            method.after_epoch(batches_of(data, _EVAL_BATCH))
        on_epoch(epoch)
    return history


def predict(
    method: Method, images: Float[Tensor, "nodules slices rows columns"], num_classes: int
) -> Float[np.ndarray, "nodules classes"]:
    """Return class probabilities in eval mode.

    Raises:
        TrainingFailed: Not a row per image and a column per class; or a probability is not finite, or a row does
            not sum to one.
    """
    method.eval()
    with torch.no_grad():
        parts = [method.predict_proba(part) for part in torch.split(images, _EVAL_BATCH)]
    proba: Float[np.ndarray, "nodules classes"] = torch.cat(parts).cpu().double().numpy()
    if proba.shape != (len(images), num_classes):
        raise TrainingFailed(f"predict_proba gave the shape {proba.shape}, not {(len(images), num_classes)}")
    if not np.isfinite(proba).all():
        raise TrainingFailed("a predicted probability is not finite")
    if (proba < 0).any() or np.abs(proba.sum(axis=1) - 1).max() > 1e-4:
        raise TrainingFailed("the predicted probabilities are negative or do not sum to one")
    return proba
