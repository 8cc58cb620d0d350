"""CORN: K-1 conditional questions "above k, given above k-1?", each learned from the nodules it concerns.

Paper: Shi, Cao and Raschka, Deep neural networks for rank-consistent ordinal regression based on conditional
probabilities, arXiv 2111.08851, 2021. The loss is the authors' package, coral-pytorch 1.4.

Symbols: z -> logits (K-1 per image); sigmoid(z_k) = P(y > k | y > k-1);  P(y > k) = prod_{j<=k} sigmoid(z_j).
Deviations: none. Labels outside 0..K-1, which the package counts wrongly in silence, raise.
Defaults: none to choose.
Worth knowing: the loss is not a mean over the batch: it is divided by the number of questions asked, one for class 0,
    two for class 1, ... (the last class: K-1), so its scale depends on the batch's classes. P(y > k) always falls
    with k. The head is NSB's, mirrored (z = -NSB's scores); they differ in that division and in the decoder.
"""

from coral_pytorch.losses import corn_loss
from jaxtyping import Float
from torch import Tensor, nn

from benchmark.contracts import Batch, Method, Task
from methods._encoder import Encoder
from methods._ordinal import levels, stick_breaking


def log_probs(logits: Float[Tensor, "batch levels"]) -> Float[Tensor, "batch levels+1"]:
    """Return log-probabilities: differences of neighbouring P(y > k).

    >>> import torch
    >>> log_probs(torch.tensor([[1.0986123, 0.0]])).exp()  # ln 3, 0
    tensor([[0.2500, 0.3750, 0.3750]])
    """
    return stick_breaking(-logits)


class Corn(Method):
    """Encoder, spatial mean, K-1 conditional logits."""

    title = "CORN"
    on_two_classes = "a logistic regression on the features; their starts alone differ"
    decoder = "median"

    def __init__(self, task: Task) -> None:
        super().__init__()
        self.num_classes = task.num_classes
        self.encoder = Encoder(task)
        self.head = nn.Linear(self.encoder.width, task.num_classes - 1)

    def logits(self, images: Float[Tensor, "batch slices rows columns"]) -> Float[Tensor, "batch levels"]:
        """Return the conditional logits."""
        logits: Tensor = self.head(self.encoder.pooled(images))
        return logits

    def loss(self, batch: Batch) -> dict[str, Tensor]:
        """Return the mean binary cross-entropy over the questions asked."""
        checked = levels(batch.labels, self.num_classes).sum(dim=1)  # the labels again, or an error
        return {"corn": corn_loss(self.logits(batch.images), checked, self.num_classes)}

    def predict_proba(self, images: Float[Tensor, "batch slices rows columns"]) -> Float[Tensor, "batch classes"]:
        """Return the differences of neighbouring P(y > k)."""
        return log_probs(self.logits(images)).exp()
