"""Squared EMD: the squared differences of the cumulative distributions, which is the earth mover's distance in a row.

Paper: Hou, Yu and Samaras, Squared earth mover's distance-based loss for training deep neural networks, 2016,
arXiv 1611.05916.

Symbols: z -> scores, p = softmax(z); P_k = p_0 + .. + p_k, T_k = 1[y <= k] -> cumulative;  loss sum_k (P_k - T_k)^2.
Deviations: the plain loss for classes in order, at equal distances. The paper's later version adds it to
    cross-entropy and learns the distances, which needs no order.
Defaults: none to choose.
Worth knowing: it is at most K - 1, and its gradient fades where the network is surely wrong. With two classes it is
    half the Brier score.
"""

from jaxtyping import Float, Int
from torch import Tensor, nn

from benchmark.contracts import Batch, Method, Task
from methods._encoder import Encoder
from methods._ordinal import levels


def squared_emd(
    probabilities: Float[Tensor, "batch classes"], labels: Int[Tensor, " batch"]
) -> Float[Tensor, " batch"]:
    """Return the sum over the classes of the squared difference of the cumulative probabilities.

    >>> import torch
    >>> squared_emd(torch.tensor([[0.5, 0.25, 0.25]]), torch.tensor([0]))
    tensor([0.3125])
    """
    at_most = probabilities.cumsum(dim=1)[:, :-1]  # the last is one on both sides
    return (at_most - 1 + levels(labels, probabilities.shape[1])).square().sum(dim=1)


class SquaredEarthMover(Method):
    """Encoder, spatial mean, one linear layer, softmax."""

    title = "Squared EMD"

    def __init__(self, task: Task) -> None:
        super().__init__()
        self.encoder = Encoder(task)
        self.classifier = nn.Linear(self.encoder.width, task.num_classes)

    def loss(self, batch: Batch) -> dict[str, Tensor]:
        """Return the mean squared distance."""
        return {"emd2": squared_emd(self.predict_proba(batch.images), batch.labels).mean()}

    def predict_proba(self, images: Float[Tensor, "batch slices rows columns"]) -> Float[Tensor, "batch classes"]:
        """Return the softmax of the scores."""
        scores: Tensor = self.classifier(self.encoder.pooled(images))
        return scores.softmax(dim=1)
