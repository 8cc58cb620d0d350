"""Multi-task: cross-entropy, and plain regression of the rated attributes from the same features; no text.

Paper: none with this loss. It is the obvious use of ratings without language, in the spirit of HSCNN (Shen et al.,
Expert Systems with Applications 128 (2019), arXiv 1806.00712), and a control for CLIP-Lung: does what text adds
exceed what the ratings add by themselves?

Symbols: x -> features, z = classifier(x), r = regressor(x), one number for each attribute; v -> ratings;
    u = (presence(v) - 3) / 2, each scale mapped from its ends to -1 .. 1;
    L = -log softmax_y(z) + weight * mean over nodules and attributes of (r - u)^2.
Deviations from HSCNN: it passes the features of the attributes' tasks on to the malignancy; here the tasks share the
    encoder alone, and the prediction is the classifier's.
Defaults: weight = 1 (ours: nothing is tuned).
Choices: the scales' ends are LIDC's, by `_attributes.presence`, and no statistic of any data: 1 to 5; calcification and
    internal structure, whose values are names, are absent or present. So the usual spread of a rating, a point, is 0.5,
    and both terms are of one size. All ratings count, LIDC's inconsistent ones too, as in CLIP-Lung.
"""

from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional

from benchmark.contracts import Batch, Method, Task
from methods._attributes import presence, require_attributes
from methods._encoder import Encoder


class MultiTask(Method):
    """Encoder, spatial mean, a linear layer for the classes and one for the ratings.

    Args:
        task: What to work on.
        weight: Of the regression.
    """

    title = "CE + rating regression"

    def __init__(self, task: Task, weight: float = 1.0) -> None:
        super().__init__()
        require_attributes(task, "this row regresses")
        self.weight, self.attribute_names = weight, task.attribute_names
        self.encoder = Encoder(task)
        self.classifier = nn.Linear(self.encoder.width, task.num_classes)
        self.regressor = nn.Linear(self.encoder.width, len(task.attribute_names))

    def loss(self, batch: Batch) -> dict[str, Tensor]:
        """Return the mean negative log-likelihood, and the weighted mean squared error of the ratings."""
        features = self.encoder.pooled(batch.images)
        targets = (presence(batch.attributes, self.attribute_names) - 3) / 2
        return {
            "ce": functional.cross_entropy(self.classifier(features), batch.labels),
            "mse": self.weight * functional.mse_loss(self.regressor(features), targets),
        }

    def predict_proba(self, images: Float[Tensor, "batch slices rows columns"]) -> Float[Tensor, "batch classes"]:
        """Return the softmax of the classifier's logits."""
        logits: Tensor = self.classifier(self.encoder.pooled(images))
        return logits.softmax(dim=1)
