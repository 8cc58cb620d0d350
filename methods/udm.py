"""UDM, unsure data model: one latent score cut by learned, ordered thresholds.

Paper: Wu et al., Learning with unsure data for medical image diagnosis, ICCV 2019, pp. 10590-10599.

Symbols: f -> scores (one per image); lambda -> thresholds (K-1, ascending); G = sigmoid;
    e_k > 0 -> e, the conservative (below 1) or aggressive (above 1) factor; c_k -> c, a shift for the class prior;
    gamma_k -> gamma, the cost of class k;  in training P(y <= k) = G(lambda_k - f + ln e_k + c_k).
Deviations: the thresholds are kept in order by softplus, where public code lets them cross and takes the logarithm
    of a negative number; `gamma="balanced"` weighs by the batch's class counts, not the training set's. Only the
    abstract and public code could be read: the equations are reconstructed from them.
Defaults: neutral (e = 1, c = 0, gamma = 1), since the values used for LIDC are unknown; thresholds start at -1 and 1
    for three classes, two apart for more (ours; public code starts five apart).
Worth knowing: e and c act in training alone: a prediction uses the bare thresholds, and its median class is the
    paper's rule y = #{k: f > lambda_k}. An argmax differs: halfway between the thresholds it picks "unsure" only if
    they are more than ln 4 apart. Shifting f and lambda together changes nothing, hence a head without bias and
    thresholds without weight decay.
"""

import math
from collections.abc import Sequence

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional

from benchmark.contracts import Batch, Method, Task, Unsupported
from methods._encoder import Encoder
from methods._ordinal import logistic_intervals

LEAST_GAP = 1e-3


def log_probs(scores: Float[Tensor, " batch"], thresholds: Float[Tensor, " levels"]) -> Float[Tensor, "batch levels+1"]:
    """Return log-probabilities.

    Args:
        scores: The head's output f.
        thresholds: Ascending; lambda, or in training lambda + ln e + c.

    >>> log_probs(torch.tensor([0.0]), torch.tensor([-1.0, 1.0])).exp()
    tensor([[0.2689, 0.4621, 0.2689]])
    """
    return logistic_intervals(scores, thresholds)


def ordered(free: Float[Tensor, " levels"], least_gaps: Float[Tensor, " levels-1"]) -> Float[Tensor, " levels"]:
    """Return ascending thresholds: the first is free, every other is a softplus and its least gap above the last."""
    return torch.cat([free[:1], functional.softplus(free[1:]) + least_gaps]).cumsum(dim=0)


def cost_weights(labels: Tensor, gamma: Tensor | None, num_classes: int) -> Float[Tensor, " batch"]:
    """Return each row's cost: its class's `gamma`, or N / (K N_k) counted in the batch (None)."""
    if gamma is None:
        counts = functional.one_hot(labels, num_classes).sum(dim=0)
        gamma = len(labels) / ((counts > 0).sum() * counts.clamp(min=1))
    return gamma[labels]


class UnsureDataModel(Method):
    """Encoder, spatial mean, one score, ordered thresholds.

    Args:
        task: What to work on.
        e: K-1 conservative or aggressive factors; empty is neutral.
        c: K-1 shifts; empty is neutral.
        gamma: K class costs, or `"balanced"`; empty is neutral.
    """

    title = "UDM"
    on_two_classes = "one logistic score against one threshold, started alike"
    decoder = "median"
    no_weight_decay = ("free_thresholds",)
    shift: Tensor
    least_gaps: Tensor
    gamma: Tensor | None

    def __init__(
        self, task: Task, e: Sequence[float] = (), c: Sequence[float] = (), gamma: Sequence[float] | str = ()
    ) -> None:
        super().__init__()
        num_levels = task.num_classes - 1
        if any(factor <= 0 for factor in e):
            raise ValueError(f"UDM's factors e must be positive, not {e!r}")
        if gamma != "balanced" and any(isinstance(cost, str) or cost < 0 for cost in gamma):
            raise ValueError(f"UDM's costs gamma must be numbers of at least 0, or 'balanced', not {gamma!r}")
        for name, values, wanted in (("e", e, num_levels), ("c", c, num_levels), ("gamma", gamma, task.num_classes)):
            if values != "balanced" and len(values) not in (0, wanted):  # they may well fit another task
                raise Unsupported(f"UDM's {name} needs {wanted} values for {task.num_classes} classes, not {values!r}")
        self.num_classes = task.num_classes
        shift = torch.tensor(e or [1.0] * num_levels).log() + torch.tensor(c or [0.0] * num_levels)
        self.register_buffer("shift", shift, persistent=False)
        # Wide enough that neither the bare thresholds nor the shifted ones can cross.
        self.register_buffer("least_gaps", LEAST_GAP + (-shift.diff()).clamp(min=0), persistent=False)
        costs = None if gamma == "balanced" else torch.tensor(gamma or [1.0] * task.num_classes)
        self.register_buffer("gamma", costs, persistent=False)
        self.encoder = Encoder(task)
        self.head = nn.Linear(self.encoder.width, 1, bias=False)
        gaps = [math.log(math.expm1(2 - LEAST_GAP))] * (num_levels - 1)
        self.free_thresholds = nn.Parameter(torch.tensor([1.0 - num_levels, *gaps]))

    @property
    def thresholds(self) -> Float[Tensor, " levels"]:
        """The bare thresholds lambda."""
        return ordered(self.free_thresholds, self.least_gaps)

    def scores(self, images: Float[Tensor, "batch slices rows columns"]) -> Float[Tensor, " batch"]:
        """Return the latent score f."""
        scores: Tensor = self.head(self.encoder.pooled(images))
        return scores.squeeze(1)

    def loss(self, batch: Batch) -> dict[str, Tensor]:
        """Return the mean cost-weighted negative log-likelihood, with e and c in place."""
        log_proba = log_probs(self.scores(batch.images), self.thresholds + self.shift)
        costs = cost_weights(batch.labels, self.gamma, self.num_classes)
        return {"nll": (costs * functional.nll_loss(log_proba, batch.labels, reduction="none")).mean()}

    def predict_proba(self, images: Float[Tensor, "batch slices rows columns"]) -> Float[Tensor, "batch classes"]:
        """Return the probabilities under the bare thresholds."""
        return log_probs(self.scores(images), self.thresholds).exp()
