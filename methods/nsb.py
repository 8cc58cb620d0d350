"""NSB, neuron stick-breaking: each class takes its share of the probability that the classes below it left over.

Paper: Liu et al., Ordinal regression with neuron stick-breaking for medical diagnosis, ECCV Workshops 2018
(doi 10.1007/978-3-030-11024-6_23); with smoothed labels, Neurocomputing 388 (2020) 34-44.

Symbols: z -> scores (K-1 per image); eta_k = sigmoid(z_k) -> the chance to stop at class k, once there;
    p_k = eta_k prod_{j<k} (1 - eta_j);  p_{K-1} = prod_j (1 - eta_j).
Deviations: none known in the head. Only the workshop paper's abstract could be read; the plain likelihood is our loss.
Defaults: smoothing = 0, the workshop paper's one-hot labels (0.15 and tau = 1 are a public implementation's values
    for the journal version); the head's biases start where the classes are equally likely (ours).
Worth knowing: P(y > k) falls with k by construction, yet p need not be unimodal. A nodule of class y moves only the
    scores 0..y: score 1 learns nothing from benign nodules. CORN has the same head, mirrored.
"""

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional

from benchmark.contracts import Batch, Method, Task
from methods._encoder import Encoder
from methods._ordinal import soft_labels, stick_breaking


def log_probs(scores: Float[Tensor, "batch levels"]) -> Float[Tensor, "batch levels+1"]:
    """Return the stick-breaking log-probabilities.

    >>> log_probs(torch.zeros(1, 2)).exp()
    tensor([[0.5000, 0.2500, 0.2500]])
    """
    return stick_breaking(scores)


class NeuronStickBreaking(Method):
    """Encoder, spatial mean, K-1 scores, stick-breaking.

    Args:
        task: What to work on.
        smoothing: Share of the target that is spread unimodally around the label; 0 is the one-hot label.
        smoothing_tau: Temperature of that spread, softmax(-|i - y| / tau).
    """

    title = "NSB"
    on_two_classes = "a logistic regression on the features; their starts alone differ"

    def __init__(self, task: Task, smoothing: float = 0.0, smoothing_tau: float = 1.0) -> None:
        super().__init__()
        if not 0 <= smoothing < 1:
            raise ValueError(f"NSB's smoothing must be at least 0 and below 1, not {smoothing}")
        if smoothing_tau <= 0:
            raise ValueError(f"NSB's smoothing_tau must be positive, not {smoothing_tau}")
        self.num_classes = task.num_classes
        self.smoothing = smoothing
        self.smoothing_tau = smoothing_tau
        self.encoder = Encoder(task)
        self.head = nn.Linear(self.encoder.width, task.num_classes - 1)
        with torch.no_grad():  # eta_k = 1 / (K - k): each class gets 1/K
            self.head.bias.copy_(-torch.arange(task.num_classes - 1, 0, -1).log())

    def log_proba(self, images: Float[Tensor, "batch slices rows columns"]) -> Float[Tensor, "batch classes"]:
        """Return log-probabilities."""
        return log_probs(self.head(self.encoder.pooled(images)))

    def loss(self, batch: Batch) -> dict[str, Tensor]:
        """Return the mean cross-entropy with the (smoothed) labels."""
        one_hot = functional.one_hot(batch.labels, self.num_classes)
        spread = soft_labels(batch.labels, self.num_classes, 1 / self.smoothing_tau)
        target = (1 - self.smoothing) * one_hot + self.smoothing * spread
        return {"nll": -(target * self.log_proba(batch.images)).sum(dim=1).mean()}

    def predict_proba(self, images: Float[Tensor, "batch slices rows columns"]) -> Float[Tensor, "batch classes"]:
        """Return the stick-breaking probabilities."""
        return self.log_proba(images).exp()
