"""SORD: plain cross-entropy against soft labels that fall off with the distance from the true class.

Paper: Diaz and Marathe, Soft labels for ordinal regression, CVPR 2019.

Symbols: z -> scores (K per image); phi(y, k) = |y - k|^power -> the distance; a -> slope;
    target t_k = softmax_k(-a phi(y, k));  loss -sum_k t_k log softmax_k(z).
Deviations: none known.
Defaults: a = 1 and the absolute distance (the paper compares distances per data set; none is published for LIDC).
Worth knowing: the loss cannot fall below the entropy of the targets: 0.8324 for an end class and 0.9753 for the middle
    one of three, at a = 1. Fully trained, the probabilities equal the targets, so a confidence does not say how often
    the class is right.
"""

from jaxtyping import Float
from torch import Tensor, nn

from benchmark.contracts import Batch, Method, Task
from methods._encoder import Encoder
from methods._ordinal import soft_labels

POWERS = {"absolute": 1, "squared": 2}


def log_probs(scores: Float[Tensor, "batch classes"]) -> Float[Tensor, "batch classes"]:
    """Return the softmax's log-probabilities.

    >>> import torch
    >>> log_probs(torch.zeros(1, 4)).exp()
    tensor([[0.2500, 0.2500, 0.2500, 0.2500]])
    """
    return scores.log_softmax(dim=1)


class SoftLabels(Method):
    """Encoder, spatial mean, one linear layer, soft labels.

    Args:
        task: What to work on.
        slope: How fast the targets fall off; large values approach one-hot labels.
        distance: `"absolute"` or `"squared"`.
    """

    title = "SORD"

    def __init__(self, task: Task, slope: float = 1.0, distance: str = "absolute") -> None:
        super().__init__()
        if slope <= 0:
            raise ValueError(f"SORD's slope must be positive, not {slope}")
        if distance not in POWERS:
            raise ValueError(f"SORD's distance must be one of {', '.join(POWERS)}, not {distance!r}")
        self.num_classes = task.num_classes
        self.slope = slope
        self.power = POWERS[distance]
        self.encoder = Encoder(task)
        self.head = nn.Linear(self.encoder.width, task.num_classes)

    def log_proba(self, images: Float[Tensor, "batch slices rows columns"]) -> Float[Tensor, "batch classes"]:
        """Return log-probabilities."""
        return log_probs(self.head(self.encoder.pooled(images)))

    def loss(self, batch: Batch) -> dict[str, Tensor]:
        """Return the mean cross-entropy with the soft labels."""
        target = soft_labels(batch.labels, self.num_classes, self.slope, self.power)
        return {"soft_ce": -(target * self.log_proba(batch.images)).sum(dim=1).mean()}

    def predict_proba(self, images: Float[Tensor, "batch slices rows columns"]) -> Float[Tensor, "batch classes"]:
        """Return the softmax of the scores."""
        return self.log_proba(images).exp()
