"""Label distribution: cross-entropy with what the nodule's readers said, each a vote, in place of the one class.

Paper: Geng, Label distribution learning, IEEE TKDE 28(7), 2016, arXiv 1408.6027; with a deep network and this loss,
Gao et al., Deep label distribution learning with label ambiguity, IEEE TIP 26(6), 2017, arXiv 1611.01731 (there the
distribution is made from one label; here it is observed).

Symbols: m_1..m_R -> a nodule's malignancy scores; d_k -> share of its readers who said class k -> votes;
    p = softmax(z) -> probabilities;  loss -sum_k d_k log p_k, which is KL(d || p) up to the entropy of d.
A reader's class: the label rule, for a nodule with that one reader: 1 and 2 benign, 3 unsure, 4 and 5 malignant. Both
    rules agree on whole scores; a fraction at an edge goes by the default rule (<= 2.5 benign, >= 3.5 malignant).
Two classes: a score of 3 is half a vote for each, the one reading of "unsure" that favours neither. Left out, it would
    make a nodule of 2 and 3 as benign as one of 2 and 2, and the readers' doubt is what this row is about. Such a
    nodule's class has at least as many votes as the other: by a mean of at most 2.5, each score of 4 or 5 is outweighed
    by one of 1 or 2, and conversely.
A nodule whose class was given without scores: one-hot.
Deviations: the papers' distributions are dense; here most come from one to four readers, unsmoothed. A nodule's weight
    does not grow with its readers. Defaults: none to choose.
Worth knowing: with three classes the mean's class need not have the most votes: 1 and 5 are "unsure" by their mean and
    by no reader. Of LIDC's 2,651 nodules, 183 have a class
    with fewer votes than another, 54 of them without any; of the 1,625 with two classes none.
"""

from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional

from benchmark.contracts import Batch, Method, Task
from methods._encoder import Encoder
from methods._readers import require_readers_classes, votes


class LabelDistribution(Method):
    """Encoder, spatial mean, one linear layer, softmax, the readers' votes as targets."""

    title = "Readers' label distribution"

    def __init__(self, task: Task) -> None:
        super().__init__()
        require_readers_classes(task)
        self.num_classes = task.num_classes
        self.encoder = Encoder(task)
        self.classifier = nn.Linear(self.encoder.width, task.num_classes)

    def logits(self, images: Float[Tensor, "batch slices rows columns"]) -> Float[Tensor, "batch classes"]:
        """Return unnormalised log-probabilities."""
        logits: Tensor = self.classifier(self.encoder.pooled(images))
        return logits

    def loss(self, batch: Batch) -> dict[str, Tensor]:
        """Return the mean cross-entropy with the votes."""
        targets = votes(batch.malignancy, batch.labels, self.num_classes)
        return {"soft_ce": functional.cross_entropy(self.logits(batch.images), targets)}

    def predict_proba(self, images: Float[Tensor, "batch slices rows columns"]) -> Float[Tensor, "batch classes"]:
        """Return the softmax of the logits."""
        return self.logits(images).softmax(dim=1)
