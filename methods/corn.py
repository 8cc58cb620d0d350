"""CORN: K-1 conditional questions "above k, given above k-1?", each learned from the nodules it concerns.

Paper: Shi, Cao and Raschka, Deep neural networks for rank-consistent ordinal regression based on conditional
probabilities, arXiv 2111.08851, 2021. The loss equals that of the authors' package, coral-pytorch 1.4, to rounding.

Symbols: z -> logits (K-1 per image); sigmoid(z_k) = P(y > k | y > k-1);  P(y > k) = prod_{j<=k} sigmoid(z_j).
Deviations: none. Labels outside 0..K-1, which the package counts wrongly in silence, raise. Questions that a nodule
    does not concern are weighed by zero, where the package leaves them out: shapes that follow the labels would make a
    GPU wait, and no CUDA graph could hold them.
Defaults: none to choose.
Worth knowing: the loss is not a mean over the batch: it is divided by the number of questions asked, one for class 0,
    two for class 1, ... (the last class: K-1), so its scale depends on the batch's classes. P(y > k) always falls
    with k. The head is NSB's, mirrored (z = -NSB's scores); they differ in that division and in the decoder.
"""

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn
from torch.nn import functional

from benchmark.contracts import Batch, Method, Task
from methods._encoder import Encoder
from methods._ordinal import levels, stick_breaking


def log_probs(logits: Float[Tensor, "batch levels"]) -> Float[Tensor, "batch levels+1"]:
    """Return log-probabilities: differences of neighbouring P(y > k).

    >>> log_probs(torch.tensor([[1.0986123, 0.0]])).exp()  # ln 3, 0
    tensor([[0.2500, 0.3750, 0.3750]])
    """
    return stick_breaking(-logits)


def corn_loss(logits: Float[Tensor, "batch levels"], labels: Int[Tensor, " batch"]) -> Float[Tensor, ""]:
    """Return the mean binary cross-entropy over the questions asked: "above k?" of every nodule that is above k-1.

    >>> corn_loss(torch.zeros(3, 2), torch.tensor([0, 1, 2]))
    tensor(0.6931)
    """
    above = levels(labels, logits.shape[1] + 1)
    asked = torch.cat([torch.ones_like(above[:, :1]), above[:, :-1]], dim=1)
    losses = functional.binary_cross_entropy_with_logits(logits, above.to(logits), reduction="none")
    return (asked * losses).sum() / asked.sum()


class Corn(Method):
    """Encoder, spatial mean, K-1 conditional logits."""

    title = "CORN"
    on_two_classes = "a logistic regression on the features; their starts alone differ"
    decoder = "median"

    def __init__(self, task: Task) -> None:
        super().__init__()
        self.encoder = Encoder(task)
        self.head = nn.Linear(self.encoder.width, task.num_classes - 1)

    def logits(self, images: Float[Tensor, "batch slices rows columns"]) -> Float[Tensor, "batch levels"]:
        """Return the conditional logits."""
        logits: Tensor = self.head(self.encoder.pooled(images))
        return logits

    def loss(self, batch: Batch) -> dict[str, Tensor]:
        """Return the mean binary cross-entropy over the questions asked."""
        return {"corn": corn_loss(self.logits(batch.images), batch.labels)}

    def predict_proba(self, images: Float[Tensor, "batch slices rows columns"]) -> Float[Tensor, "batch classes"]:
        """Return the differences of neighbouring P(y > k)."""
        return log_probs(self.logits(images)).exp()
