"""CE: plain cross-entropy, the baseline that every other row is measured against.

Paper: He et al., Deep Residual Learning for Image Recognition, CVPR 2016 (the encoder); the row "CE Loss" of
Lei et al., CLIP-Lung, MICCAI 2023, Tables 1 and 2.

Symbols: x -> features, z -> logits, p -> softmax(logits).
Deviations: none. Defaults: none to choose.
"""

from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional

from benchmark.contracts import Batch, Method, Task
from methods._encoder import Encoder


class CrossEntropy(Method):
    """Encoder, spatial mean, one linear layer, softmax."""

    title = "CE Loss"
    on_two_classes = "a logistic regression on the features; their starts alone differ"

    def __init__(self, task: Task) -> None:
        super().__init__()
        self.encoder = Encoder(task)
        self.classifier = nn.Linear(self.encoder.width, task.num_classes)

    def logits(self, images: Float[Tensor, "batch slices rows columns"]) -> Float[Tensor, "batch classes"]:
        """Return unnormalised log-probabilities."""
        logits: Tensor = self.classifier(self.encoder.pooled(images))
        return logits

    def loss(self, batch: Batch) -> dict[str, Tensor]:
        """Return the mean negative log-likelihood."""
        return {"ce": functional.cross_entropy(self.logits(batch.images), batch.labels)}

    def predict_proba(self, images: Float[Tensor, "batch slices rows columns"]) -> Float[Tensor, "batch classes"]:
        """Return the softmax of the logits."""
        return self.logits(images).softmax(dim=1)
