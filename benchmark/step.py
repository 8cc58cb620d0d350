"""One training step: forward, backward and optimiser on one batch.

It never waits for its device: whatever it sums stays there until an epoch's end asks for it.
"""

from collections.abc import Iterator
from itertools import pairwise

import torch
from torch import Tensor

from benchmark.contracts import Batch, Method
from benchmark.recipe import Recipe


class TrainingFailed(Exception):
    """A fit that cannot go on; the reason in one sentence."""


class Step:
    """Takes steps of stochastic gradient descent, and sums what each loss term was.

    Attributes:
        method: What is trained, in place.
        optimiser: Its learning rates are numbers; where it is fused they are tensors, which a captured step reads
            anew each time.
        totals: The sum of every loss term since they were taken last, on the device.
    """

    def __init__(self, method: Method, recipe: Recipe, fused: bool, micro_batch: int | None = None) -> None:
        """Prepare the optimiser.

        Args:
            method: On its device.
            recipe: How to train.
            fused: One kernel for all parameters, the fastest on CUDA; else one operation for all of them at a time,
                which has the bits of a plain loop.
            micro_batch: How many nodules' gradients to compute at once; None takes the batch whole.
        """
        self.method, self.micro_batch = method, micro_batch
        self.optimiser = torch.optim.SGD(
            method.param_groups(),
            lr=recipe.lr,
            momentum=recipe.momentum,
            nesterov=recipe.nesterov,
            weight_decay=recipe.weight_decay,
            fused=fused,
            foreach=not fused,
        )
        groups = self.optimiser.param_groups
        self._rates = [float(group["lr"]) for group in groups]
        if fused:
            for group in groups:
                group["lr"] = torch.tensor(group["lr"], device=group["params"][0].device)
                if recipe.momentum:  # the fused kernel wants all of them or none, and gradients may come later
                    buffers = {
                        p: {"momentum_buffer": torch.zeros_like(p, requires_grad=False)} for p in group["params"]
                    }
                    self.optimiser.state.update(buffers)
        self.totals: dict[str, Tensor] = {}

    def set_rate(self, factor: float) -> None:
        """Multiply the learning rates that training began with."""
        for group, rate in zip(self.optimiser.param_groups, self._rates, strict=True):
            if isinstance(group["lr"], Tensor):
                group["lr"].fill_(rate * factor)  # in its place, where a captured step reads it
            else:
                group["lr"] = rate * factor

    def __call__(self, batch: Batch) -> None:
        """Take a step: down the mean of the micro-batches' losses, each weighing as many nodules as it has.

        Raises:
            TrainingFailed: The loss has no named terms, or one of them is no single number.
        """
        self.optimiser.zero_grad()
        for part, share in cut(batch, self.micro_batch):
            terms = self.method.loss(part)
            if not (isinstance(terms, dict) and terms):
                raise TrainingFailed("loss must return a dictionary of named terms, such as {'ce': ...}")
            for name, term in terms.items():
                if not isinstance(term, Tensor) or term.dim():
                    kind = f"of shape {list(term.shape)}" if isinstance(term, Tensor) else f"a {type(term).__name__}"
                    raise TrainingFailed(f"the loss term {name!r} is {kind}: it must be one number, such as a mean")
            (share * torch.stack(list(terms.values())).sum()).backward()  # type: ignore[no-untyped-call]
            for name, term in terms.items():
                if name not in self.totals:
                    self.totals[name] = torch.zeros_like(term, requires_grad=False)
                self.totals[name] += share * term.detach()
        self.optimiser.step()

    def take_totals(self) -> dict[str, float]:
        """Return the sum of every loss term since the last call; the one place that waits for the device."""
        read = torch.stack(list(self.totals.values())).tolist() if self.totals else []
        for total in self.totals.values():
            total.zero_()
        return dict(zip(self.totals, read, strict=True))


def cut(batch: Batch, micro_batch: int | None) -> Iterator[tuple[Batch, float]]:
    """Yield consecutive parts of a batch, of (nearly) one size and at most `micro_batch` rows, with their shares."""
    parts = 1 if micro_batch is None else -(-len(batch) // micro_batch)
    edges = [len(batch) * part // parts for part in range(parts + 1)]
    for start, end in pairwise(edges):
        yield batch[start:end], (end - start) / len(batch)
