"""CLM, cumulative link model: one score, ordered thresholds and a choice of link function.

Paper: Vargas, Gutierrez and Hervas-Martinez, Cumulative link models for deep ordinal classification,
Neurocomputing 401 (2020) 48-58, arXiv 1905.13392.

Symbols: f -> scores (one per image); b_0, b_k = b_{k-1} + a_k^2 -> thresholds (K-1); F -> the link's distribution;
    P(y <= k) = F(b_k - f).
Deviations: trained on the likelihood, as every head here, where the paper adds a loss on the weighted kappa; public
    code clips b_k - f to [-10, 10], which stops the gradient of the worst errors, where we work in log space; the
    gaps are kept at least 1e-3 wide, so that no class becomes impossible.
Defaults: link = "logit", b_0 = 0 and a_k = 1, those of public code by one of the authors (dlordinal 2.7).
Worth knowing: under the logit link this is UDM's neutral model with other thresholds at the start and another decoder,
    so the two rows tell how much those matter. The complementary log-log is lopsided: ln P(y > k) = -e^(b_k - f) soon
    leaves what a float holds, so beyond b_k - f = 10 it goes on along its tangent there.
"""

import math
from collections.abc import Callable

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional

from benchmark.contracts import Batch, Method, Task
from methods._encoder import Encoder
from methods._ordinal import logistic_intervals

LEAST_GAP = 1e-3


def probit_intervals(
    scores: Float[Tensor, " batch"], thresholds: Float[Tensor, " levels"]
) -> Float[Tensor, "batch levels+1"]:
    """Return log P(y = k) where P(y <= k) is the normal distribution's at thresholds[k] - score."""
    cuts, gaps = thresholds - scores[:, None], thresholds.diff()
    # An interval right of zero has the mass of its mirror image on the left, where logarithms are exact.
    top = torch.where(cuts[:, 1:] + cuts[:, :-1] > 0, -cuts[:, :-1], cuts[:, 1:])
    # ln F(top) - ln F(top - gap) with ln F(x) = ln erfcx(-x / sqrt 2) - x^2 / 2 - ln 2, squares subtracted by hand.
    root = math.sqrt(2)
    tails = torch.special.erfcx(-top / root).log() - torch.special.erfcx((gaps - top) / root).log()
    inner = torch.special.log_ndtr(top) + torch.log(-torch.expm1(gaps * (top - gaps / 2) - tails))
    return torch.cat([torch.special.log_ndtr(cuts[:, :1]), inner, torch.special.log_ndtr(-cuts[:, -1:])], dim=1)


def cloglog_intervals(
    scores: Float[Tensor, " batch"], thresholds: Float[Tensor, " levels"]
) -> Float[Tensor, "batch levels+1"]:
    """Return log P(y = k) where P(y <= k) = 1 - exp(-exp(thresholds[k] - score))."""

    def log_at_most(x: Tensor) -> Tensor:  # ln(1 - exp(-e^x)) -> x far below zero
        return torch.where(x < -30, x, torch.log(-torch.expm1(-x.clamp(-30, 10).exp())))

    cuts, gaps = thresholds - scores[:, None], thresholds.diff()
    log_above = -cuts.clamp(max=10).exp() * (1 + (cuts - 10).clamp(min=0))
    rise = cuts[:, :-1] + gaps + torch.log(-torch.expm1(-gaps))  # e^rise = e^b - e^a
    return torch.cat([log_at_most(cuts[:, :1]), log_above[:, :-1] + log_at_most(rise), log_above[:, -1:]], dim=1)


LINKS: dict[str, Callable[[Tensor, Tensor], Tensor]] = {
    "logit": logistic_intervals,
    "probit": probit_intervals,
    "cloglog": cloglog_intervals,
}


def log_probs(
    scores: Float[Tensor, " batch"], thresholds: Float[Tensor, " levels"], link: str = "logit"
) -> Float[Tensor, "batch levels+1"]:
    """Return log-probabilities.

    Args:
        scores: The head's output f.
        thresholds: b, ascending.
        link: `"logit"`, `"probit"` or `"cloglog"`.

    >>> log_probs(torch.tensor([0.0]), torch.tensor([-1.0, 1.0]), "probit").exp()
    tensor([[0.1587, 0.6827, 0.1587]])
    """
    return LINKS[link](scores, thresholds)


class CumulativeLink(Method):
    """Encoder, spatial mean, one score, ordered thresholds, a link.

    Args:
        task: What to work on.
        link: `"logit"`, `"probit"` or `"cloglog"`.
    """

    title = "CLM"
    on_two_classes = "one logistic score against one threshold, started alike"
    no_weight_decay = ("free_thresholds",)

    def __init__(self, task: Task, link: str = "logit") -> None:
        super().__init__()
        if link not in LINKS:
            raise ValueError(f"CLM's link must be one of {', '.join(LINKS)}, not {link!r}")
        self.link = link
        self.encoder = Encoder(task)
        self.head = nn.Linear(self.encoder.width, 1, bias=False)  # a bias would only shift the thresholds
        self.free_thresholds = nn.Parameter(torch.tensor([0.0] + [1.0] * (task.num_classes - 2)))  # b_0, then a

    @property
    def thresholds(self) -> Float[Tensor, " levels"]:
        """The thresholds b, ascending."""
        free = self.free_thresholds
        return torch.cat([free[:1], free[1:] ** 2 + LEAST_GAP]).cumsum(dim=0)

    def log_proba(self, images: Float[Tensor, "batch slices rows columns"]) -> Float[Tensor, "batch classes"]:
        """Return log-probabilities."""
        return log_probs(self.head(self.encoder.pooled(images)).squeeze(1), self.thresholds, self.link)

    def loss(self, batch: Batch) -> dict[str, Tensor]:
        """Return the mean negative log-likelihood."""
        return {"nll": functional.nll_loss(self.log_proba(batch.images), batch.labels)}

    def predict_proba(self, images: Float[Tensor, "batch slices rows columns"]) -> Float[Tensor, "batch classes"]:
        """Return the link's interval probabilities."""
        return self.log_proba(images).exp()
