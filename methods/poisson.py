"""Poisson: the class probabilities are a Poisson distribution cut to K classes.

Paper: Beckham and Pal, Unimodal probability distributions for deep ordinal classification, ICML 2017
(PMLR 70:411-419, arXiv 1705.05278).

Symbols: a -> scores (one per image); f = softplus(a) -> the Poisson rate; tau -> temperature, or exp(log_tau);
    h_k = k ln f - f - ln k!;  p = softmax(h / tau) over k = 0..K-1.
Deviations: none known. The -f term is left out, since the softmax cancels it.
Defaults: tau = 1, fixed (the paper allows fixed or learned); `learn_tau` learns its logarithm, as public code does
    (dlordinal 2.7), from ln tau and without weight decay. The head's bias starts where the rate is the middle of its
    range for K=3, softplus(1.1357) = sqrt(2) (ours).
Worth knowing: for K=3 the middle class can never get more than 1 / (1 + 2^(1 - 1 / (2 tau))): 0.4142 at tau = 1 and
    0.6135 at tau = 0.3. So at tau = 1 the loss of an "unsure" nodule cannot fall below 0.8814. The argmax cuts are at
    f = 1 and f = 2, whatever tau.
"""

import math

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional

from benchmark.contracts import Batch, Method, Task
from methods._encoder import Encoder


def log_probs(
    scores: Float[Tensor, " batch"], num_classes: int, tau: float | Float[Tensor, ""] = 1.0
) -> Float[Tensor, "batch classes"]:
    """Return the truncated Poisson's log-probabilities.

    Args:
        scores: The head's output a; the rate is softplus(a).
        num_classes: K.
        tau: Temperature; above one flattens, below one sharpens.

    >>> log_probs(torch.tensor([0.0], dtype=torch.float64), 3).exp()  # rate ln 2
    tensor([[0.5172, 0.3585, 0.1243]], dtype=torch.float64)
    """
    # softplus(a) ~ e^a far below zero, where its logarithm would underflow.
    log_rate = torch.where(scores < -15, scores, functional.softplus(scores.clamp(min=-15)).log())
    ranks = torch.arange(num_classes, dtype=scores.dtype, device=scores.device)
    log_pmf = ranks * log_rate[:, None] - torch.lgamma(ranks + 1)
    return (log_pmf / tau).log_softmax(dim=1)


class Poisson(Method):
    """Encoder, spatial mean, one score, the truncated Poisson.

    Args:
        task: What to work on.
        tau: Temperature of the distribution.
        learn_tau: Learn it, starting there.
    """

    title = "Poisson"

    def __init__(self, task: Task, tau: float = 1.0, learn_tau: bool = False) -> None:
        super().__init__()
        if tau <= 0:
            raise ValueError(f"the Poisson temperature tau must be positive, not {tau}")
        self.num_classes = task.num_classes
        self.tau = tau
        self.log_tau: nn.Parameter | None = None
        if learn_tau:
            self.log_tau = nn.Parameter(torch.tensor(math.log(tau)))
            self.no_weight_decay = ("log_tau",)  # type: ignore[misc]  # a fixed tau is no parameter that could be named
        self.encoder = Encoder(task)
        self.head = nn.Linear(self.encoder.width, 1)
        nn.init.constant_(self.head.bias, 1.1357)

    def log_proba(self, images: Float[Tensor, "batch slices rows columns"]) -> Float[Tensor, "batch classes"]:
        """Return log-probabilities."""
        tau = self.tau if self.log_tau is None else self.log_tau.exp()
        return log_probs(self.head(self.encoder.pooled(images)).squeeze(1), self.num_classes, tau)

    def loss(self, batch: Batch) -> dict[str, Tensor]:
        """Return the mean negative log-likelihood."""
        return {"nll": functional.nll_loss(self.log_proba(batch.images), batch.labels)}

    def predict_proba(self, images: Float[Tensor, "batch slices rows columns"]) -> Float[Tensor, "batch classes"]:
        """Return the truncated Poisson's probabilities."""
        return self.log_proba(images).exp()
