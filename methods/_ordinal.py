"""Mathematics that several ordinal heads share: levels, soft labels, stick-breaking and logistic intervals."""

import torch
from jaxtyping import Float, Int
from torch import Tensor
from torch.nn import functional


def levels(labels: Int[Tensor, " batch"], num_classes: int) -> Float[Tensor, "batch levels"]:
    """Return the K-1 cumulative targets 1[y > k], on the labels' device.

    Raises:
        RuntimeError: A label is outside 0..K-1 (on CUDA: a device assertion).

    >>> levels(torch.tensor([0, 1, 2]), 3)
    tensor([[0., 0.],
            [1., 0.],
            [1., 1.]])
    """
    at_most = functional.one_hot(labels, num_classes).cumsum(dim=1)
    return (1 - at_most[:, :-1]).float()


def soft_labels(
    labels: Int[Tensor, " batch"], num_classes: int, slope: float, power: int = 1
) -> Float[Tensor, "batch classes"]:
    """Return softmax_i(-slope |i - y|^power): a unimodal target that peaks at the label.

    >>> soft_labels(torch.tensor([0, 1]), 3, 1.0)
    tensor([[0.6652, 0.2447, 0.0900],
            [0.2119, 0.5761, 0.2119]])
    """
    distance = (torch.arange(num_classes, device=labels.device) - labels[:, None]).abs()
    return (-slope * distance.float() ** power).softmax(dim=1)


def stick_breaking(scores: Float[Tensor, "batch levels"]) -> Float[Tensor, "batch levels+1"]:
    """Return log P(y = k) where sigmoid(scores[k]) is the chance to stop at class k, given that k is reached."""
    zero = scores.new_zeros(len(scores), 1)
    stop = functional.logsigmoid(scores)
    reach = functional.logsigmoid(-scores).cumsum(dim=1)
    return torch.cat([stop, zero], dim=1) + torch.cat([zero, reach], dim=1)


def logistic_intervals(
    scores: Float[Tensor, " batch"], thresholds: Float[Tensor, " levels"]
) -> Float[Tensor, "batch levels+1"]:
    """Return log P(y = k) where P(y <= k) = sigmoid(thresholds[k] - score) and thresholds ascend.

    Equal thresholds leave the class between them a probability of zero.
    """
    cuts = thresholds - scores[:, None]
    at_most = functional.logsigmoid(cuts)
    above = functional.logsigmoid(-cuts)
    # For a < b: sigmoid(b) - sigmoid(a) = sigmoid(b) sigmoid(-a) (1 - e^(a-b)), which subtracts no near-equals.
    # The gap comes from the thresholds: taken from the cuts, a large score would round it away.
    gap = torch.log(-torch.expm1(-thresholds.diff()))
    return torch.cat([at_most[:, :1], at_most[:, 1:] + above[:, :-1] + gap, above[:, -1:]], dim=1)
