"""CE with the log diameter beside its features: a crop of twice the diameter has lost the size; this row is told it.

Paper: none; a control. The reference row "Log diameter" says what the size alone can do; this one, what it adds to the
image.

Symbols: x -> features; d -> diameter in millimetres; s = log_size(d) = (ln d - ln sqrt(90)) / ln sqrt(10);
    p = softmax(classifier(x, s)); loss -log p_y.
Deviations: none. Defaults: none to choose.
Choices: s is -1 at 3 mm, from which LIDC's readers outlined a nodule, and 1 at 30 mm, above which it is called a mass.
    So the constants are no statistic of any fold, and a millimetre means the same in every collection. Sizes beyond are
    not cut: LIDC's go from 2.5 to 39 mm by their outlines, and s has a standard deviation of 0.40.
Worth knowing: the diameter is that of the readers' outlines, in training and prediction; a footnote below each table
    says so. No other method reads anything of them, though every crop is centred and scaled by them.
"""

import math

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional

from benchmark.contracts import Batch, Method, Task
from methods._encoder import Encoder

SMALLEST_MM, LARGEST_MM = 3.0, 30.0


def log_size(diameter_mm: Float[Tensor, " batch"]) -> Float[Tensor, " batch"]:
    """Return the logarithm of the diameter, mapped linearly: -1 at 3 mm, 1 at 30 mm.

    >>> log_size(torch.tensor([3.0, 30.0]))
    tensor([-1.,  1.])
    """
    low, high = math.log(SMALLEST_MM), math.log(LARGEST_MM)
    return (2 * diameter_mm.log() - low - high) / (high - low)


class CrossEntropyDiameter(Method):
    """Encoder, spatial mean and log diameter, one linear layer, softmax."""

    title = "CE + log diameter"
    reads_diameter = True

    def __init__(self, task: Task) -> None:
        super().__init__()
        self.encoder = Encoder(task)
        self.classifier = nn.Linear(self.encoder.width + 1, task.num_classes)

    def logits(
        self, images: Float[Tensor, "batch slices rows columns"], diameter_mm: Float[Tensor, " batch"]
    ) -> Float[Tensor, "batch classes"]:
        """Return unnormalised log-probabilities."""
        features = torch.cat([self.encoder.pooled(images), log_size(diameter_mm)[:, None]], dim=1)
        logits: Tensor = self.classifier(features)
        return logits

    def loss(self, batch: Batch) -> dict[str, Tensor]:
        """Return the mean negative log-likelihood."""
        return {"ce": functional.cross_entropy(self.logits(batch.images, batch.diameter_mm), batch.labels)}

    def predict_proba(  # type: ignore[override]  # `reads_diameter` says so
        self, images: Float[Tensor, "batch slices rows columns"], diameter_mm: Float[Tensor, " batch"]
    ) -> Float[Tensor, "batch classes"]:
        """Return the softmax of the logits."""
        return self.logits(images, diameter_mm).softmax(dim=1)
