"""The average of the weights that training passes through, and the statistics that follow it."""

import math

import torch
from torch import nn

from benchmark.batches import Nodules
from benchmark.contracts import Method


class WeightAverage:
    """An exponential moving average of a method's trained parameters.

    After step t it is the mean of the weights after steps 1..t, step s weighing decay^(t - s): an exponential moving
    average that does not remember where training began.
    """

    def __init__(self, method: Method, decay: float) -> None:
        self.decay, self.total = decay, 0.0
        self.parameters = [p for p in method.parameters() if p.requires_grad]
        self.average = [p.detach().clone() for p in self.parameters]

    def update(self) -> None:
        """Count the weights as they are now."""
        self.total = self.decay * self.total + 1
        torch._foreach_lerp_(self.average, [p.detach() for p in self.parameters], 1 / self.total)

    def take(self) -> None:
        """Put the average in the place of the weights."""
        with torch.no_grad():
            for average, parameter in zip(self.average, self.parameters, strict=True):
                parameter.copy_(average)


def renormalise(method: Method, data: Nodules, at_once: int) -> None:
    """Give every batch normalisation that training moves the statistics of the training set under the present weights.

    They are the mean over one pass in a fixed order, without augmentation, in batches of (nearly) one size. All else is
    in eval mode, as when the method predicts; frozen parts keep what they have.
    """
    method.train()
    norms = [m for m in method.modules() if isinstance(m, nn.modules.batchnorm._BatchNorm) and m.training]
    method.eval()
    if not norms:
        return
    momenta = [norm.momentum for norm in norms]
    for norm in norms:
        norm.reset_running_stats()
        norm.momentum = None  # a plain mean over the batches
        norm.train()
    with torch.no_grad():
        for rows in torch.arange(len(data)).tensor_split(math.ceil(len(data) / at_once)):
            part = data[rows.to(data.home)]
            method.predict_proba(part.images, *([part.diameter_mm] if method.reads_diameter else []))
    for norm, momentum in zip(norms, momenta, strict=True):
        norm.momentum = momentum
    method.eval()
