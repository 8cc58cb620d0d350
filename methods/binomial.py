"""Binomial: the class probabilities are a binomial distribution of K-1 trials.

Paper: Beckham and Pal, Unimodal probability distributions for deep ordinal classification, ICML 2017
(PMLR 70:411-419, arXiv 1705.05278); first in da Costa et al., Neural Networks 21(1), 2008.

Symbols: a -> scores (one per image); p = sigmoid(a) -> the chance of each trial; tau -> temperature;
    h_k = ln C(K-1, k) + k ln p + (K-1-k) ln(1 - p);  the class probabilities are softmax(h / tau).
Deviations: none known.
Defaults: tau = 1, fixed, as for Poisson; the head's bias starts at 0, the symmetric middle (ours).
Worth knowing: for K=3 and tau=1 the middle class can never get more than 1/2, so the loss of an "unsure" nodule
    cannot fall below ln 2 = 0.6931, and the argmax cuts are at p = 1/3 and 2/3.
"""

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional

from benchmark.contracts import Batch, Method, Task
from methods._encoder import Encoder


def log_probs(scores: Float[Tensor, " batch"], num_classes: int, tau: float = 1.0) -> Float[Tensor, "batch classes"]:
    """Return the binomial's log-probabilities.

    Args:
        scores: The head's output a; the chance of a trial is sigmoid(a).
        num_classes: K.
        tau: Temperature; above one flattens, below one sharpens.

    >>> log_probs(torch.tensor([0.0]), 5).exp() * 16
    tensor([[1.0000, 4.0000, 6.0000, 4.0000, 1.0000]])
    """
    trials = num_classes - 1
    ranks = torch.arange(num_classes, dtype=scores.dtype, device=scores.device)
    log_choose = -torch.lgamma(ranks + 1) - torch.lgamma(trials - ranks + 1)  # ln (K-1)! is left to the softmax
    success, failure = functional.logsigmoid(scores)[:, None], functional.logsigmoid(-scores)[:, None]
    return ((log_choose + ranks * success + (trials - ranks) * failure) / tau).log_softmax(dim=1)


class Binomial(Method):
    """Encoder, spatial mean, one score, the binomial distribution.

    Args:
        task: What to work on.
        tau: Temperature of the distribution.
    """

    title = "Binomial"
    on_two_classes = "a logistic regression on the features; their starts alone differ"

    def __init__(self, task: Task, tau: float = 1.0) -> None:
        super().__init__()
        if tau <= 0:
            raise ValueError(f"the binomial temperature tau must be positive, not {tau}")
        self.num_classes = task.num_classes
        self.tau = tau
        self.encoder = Encoder(task)
        self.head = nn.Linear(self.encoder.width, 1)
        nn.init.zeros_(self.head.bias)

    def log_proba(self, images: Float[Tensor, "batch slices rows columns"]) -> Float[Tensor, "batch classes"]:
        """Return log-probabilities."""
        return log_probs(self.head(self.encoder.pooled(images)).squeeze(1), self.num_classes, self.tau)

    def loss(self, batch: Batch) -> dict[str, Tensor]:
        """Return the mean negative log-likelihood."""
        return {"nll": functional.nll_loss(self.log_proba(batch.images), batch.labels)}

    def predict_proba(self, images: Float[Tensor, "batch slices rows columns"]) -> Float[Tensor, "batch classes"]:
        """Return the binomial probabilities."""
        return self.log_proba(images).exp()
