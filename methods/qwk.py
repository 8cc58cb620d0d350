"""QWK: the logarithm of one less the quadratic weighted kappa of a batch, with probabilities in place of decisions.

Paper: de la Torre, Puig and Valls, Weighted kappa loss function for multi-class classification of ordinal data in deep
learning, Pattern Recognition Letters 105 (2018), doi 10.1016/j.patrec.2017.05.018. The paper's full text was not at
hand: formula and epsilon are those of TensorFlow Addons' WeightedKappaLoss, which implements it.

Symbols: p_i -> softmax of image i's scores; w_jk = (j - k)^2 / (K - 1)^2; n_j -> number of labels j in a batch of n;
    O = sum_i sum_k w_{y_i k} p_ik, the disagreement observed;
    E = sum_j sum_k (n_j / n) w_jk sum_i p_ik, that expected by chance;  1 - kappa = O / E;  loss log(O / E + epsilon).
Deviations: none known.
Defaults: epsilon = 1e-6 (TensorFlow Addons).
Worth knowing: it is a function of the whole batch, and no mean over images: its gradient for one depends on the others.
    O is linear in the probabilities, so it is no proper score: a confidence does not say how often the class is right.
"""

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn
from torch.nn import functional

from benchmark.contracts import Batch, Method, Task
from methods._encoder import Encoder


def disagreement(probabilities: Float[Tensor, "batch classes"], labels: Int[Tensor, " batch"]) -> Float[Tensor, ""]:
    """Return one less the quadratic weighted kappa: observed by expected disagreement.

    A batch in which nothing can disagree (one class, and sure of it) has none.

    >>> disagreement(torch.eye(3), torch.tensor([0, 1, 1]))
    tensor(0.3333)
    """
    places = torch.arange(probabilities.shape[1], device=labels.device).to(probabilities)
    weights = (places[:, None] - places).square() / (len(places) - 1) ** 2
    own = functional.one_hot(labels, len(places)).to(probabilities)
    observed = (own @ weights * probabilities).sum()
    expected = own.mean(dim=0) @ weights @ probabilities.sum(dim=0)
    return observed / expected.clamp(min=1e-12)


class WeightedKappa(Method):
    """Encoder, spatial mean, one linear layer, softmax.

    Args:
        task: What to work on.
        epsilon: Keeps the logarithm finite.
    """

    title = "QWK loss"

    def __init__(self, task: Task, epsilon: float = 1e-6) -> None:
        super().__init__()
        self.epsilon = epsilon
        self.encoder = Encoder(task)
        self.classifier = nn.Linear(self.encoder.width, task.num_classes)

    def loss(self, batch: Batch) -> dict[str, Tensor]:
        """Return the logarithm of the batch's disagreement."""
        return {"qwk": (disagreement(self.predict_proba(batch.images), batch.labels) + self.epsilon).log()}

    def predict_proba(self, images: Float[Tensor, "batch slices rows columns"]) -> Float[Tensor, "batch classes"]:
        """Return the softmax of the scores."""
        scores: Tensor = self.classifier(self.encoder.pooled(images))
        return scores.softmax(dim=1)
