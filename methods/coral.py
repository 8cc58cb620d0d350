"""CORAL: K-1 binary questions "is the class above k?" that share one weight vector and differ in bias.

Paper: Cao, Mirjalili and Raschka, Rank consistent ordinal regression for neural networks, Pattern Recognition
Letters 140 (2020), doi 10.1016/j.patrec.2020.11.008. Layer and loss are the authors' package, coral-pytorch 1.4.

Symbols: g = w . x -> scores (one per image); b_k -> biases (K-1); P(y > k) = sigmoid(g + b_k).
Deviations: none in training. The package turns labels into levels row by row on the CPU and lets negative labels
    pass; ours are made on the device and refuse them. Class probabilities are the differences of neighbouring
    P(y > k), where the package only decodes.
Defaults: preinit_bias = True, the package's (biases descend from 1 in steps of 1/(K-1)).
Worth knowing: the best biases descend, which makes P(y > k) fall with k, but nothing enforces it on the way. A bias
    above the one before it is lowered to it when predicting (a running minimum), which leaves the class between them
    a probability of zero; the decision stays #{k: P(y > k) > 1/2} wherever the biases are in order. The package's
    `proba_to_label` wants probabilities: fed logits, it decides wrongly in silence; our decoder is not fed logits.
"""

import torch
from coral_pytorch.layers import CoralLayer
from coral_pytorch.losses import coral_loss
from jaxtyping import Float
from torch import Tensor

from benchmark.contracts import Batch, Method, Task
from methods._encoder import Encoder
from methods._ordinal import levels, logistic_intervals


def log_probs(scores: Float[Tensor, " batch"], biases: Float[Tensor, " levels"]) -> Float[Tensor, "batch levels+1"]:
    """Return log-probabilities, the biases put in descending order by a running minimum.

    >>> log_probs(torch.tensor([0.0]), torch.tensor([1.0, 0.5])).exp()
    tensor([[0.2689, 0.1086, 0.6225]])
    """
    return logistic_intervals(scores, -torch.cummin(biases, dim=0).values)


class Coral(Method):
    """Encoder, spatial mean, the package's CORAL layer.

    Args:
        task: What to work on.
        preinit_bias: Start the biases in descending order rather than all at zero.
    """

    title = "CORAL"
    on_two_classes = "a logistic regression on the features; their starts alone differ"
    decoder = "median"
    no_weight_decay = ("coral_bias",)

    def __init__(self, task: Task, preinit_bias: bool = True) -> None:
        super().__init__()
        self.num_classes = task.num_classes
        self.encoder = Encoder(task)
        self.head = CoralLayer(self.encoder.width, task.num_classes, preinit_bias)

    def loss(self, batch: Batch) -> dict[str, Tensor]:
        """Return the K-1 binary cross-entropies, summed over k and averaged over the batch."""
        logits: Tensor = self.head(self.encoder.pooled(batch.images))
        return {"coral": coral_loss(logits, levels(batch.labels, self.num_classes))}

    def predict_proba(self, images: Float[Tensor, "batch slices rows columns"]) -> Float[Tensor, "batch classes"]:
        """Return the differences of neighbouring P(y > k)."""
        scores = self.head.coral_weights(self.encoder.pooled(images)).squeeze(1)
        return log_probs(scores, self.head.coral_bias).exp()
