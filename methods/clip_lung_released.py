"""CLIP-Lung as its released code builds it (four groups after a reshape and a convolution), its defects mended.

Code: github.com/ymLeiFDU/CLIP-Lung, read at e957a97. Paper: Lei et al., CLIP-Lung, MICCAI 2023 (see clip_lung.py).

Symbols: D x 4 x 4 map, read as D/4 x 8 x 8 -> reduce, a 1x1 convolution to D/16 channels -> four groups of D/64 -> F_t
    (D numbers each); l_t + h(F_t / |F_t|) -> the context of "l_1 .. l_4 name."; C_k, A_m -> texts of classes and
    attributes; s = exp(logit_scale); w = softmax of the ratings.
    L_IC = cross-entropy of s cos(F_t, C_k), mean over t;  L_CA = cross-entropy over k of mean_m w_m s cos(C_k, A_m);
    L_IA = cross-entropy over t of mean_m w_m s cos(F_t, A_m);  L = L_CE + L_IC + alpha L_IA + beta L_CA.
Kept, unlike the paper: T = 4; attribute texts that the image conditions and that are trained through; the classifier
    sees the grouped map, averaged to 4 x 4; the forms of L_CA and L_IA. The latter takes the class label for the number
    of a group: group y shall be close to the attributes, the others far. Nothing in the paper says so.
Mended:
    L_IC compared group t with the label of the batch's t-th image, whichever image the group was of.
    A ninth attribute, malignancy, gave the label away to the training.
    The text tower was trained along (nothing froze it); here it is frozen, as the paper says.
    "a nodule image of" was counted as four tokens but has six: the learned four began at "a no-du-le", and "image of"
    stayed in every prompt; likewise "is" in those of attributes. Here the context is "a photo of a", four tokens.
    "internalStructure" was one word, in three wrong pieces.
    Prompts always named three classes, so that of two classes "malignant" was trained as "unsure".
    The training set was not shuffled, and the best epoch was chosen on the test set (see the trainer).
    Texts were computed at prediction and thrown away.
Other deviations: the temperature starts at 0.07 (paper), not at CLIP's 0.01 as in the code (`start_tau=0.01`); it stays
    between 0.01 and 1. The meta-net's last layer starts at zero, see _prompts.py. No moving average of the weights,
    since no other method has one.
Defaults: alpha = 1, beta = 0.5 (paper and code).
"""

import math

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional

from benchmark.contracts import Batch, Json, Method, Task, Unsupported
from methods._attributes import require_attributes
from methods._encoder import Encoder
from methods._prompts import ConditionalPrompts, image_class_loss, require_four_by_four
from methods._text import bounded, cosine_logits, shared_tower

GROUPS = 4


def as_eight_by_eight(maps: Float[Tensor, "batch width 4 4"]) -> Float[Tensor, "batch quarter 8 8"]:
    """Read each four channels of 4 x 4 as one of 8 x 8: the numbers in their order, not in their places."""
    return maps.reshape(len(maps), -1, 8, 8)


def weighted_scores(
    features: Float[Tensor, "batch rows width"],
    attributes: Float[Tensor, "batch attributes width"],
    weights: Float[Tensor, "batch attributes"],
    logit_scale: Float[Tensor, ""],
) -> Float[Tensor, "batch rows"]:
    """Return the mean over the attributes of weight times scaled cosine.

    Args:
        features: Of any length.
        attributes: Each image's own text features, of length one.
        weights: w, of sum one.
        logit_scale: ln(1 / tau).
    """
    return (weights[:, None] * cosine_logits(features, attributes[:, None], logit_scale)).mean(dim=2)


class ClipLungReleased(Method):
    """Encoder, reshape and convolution, pooling, one linear layer; texts in training only.

    Args:
        task: What to work on.
        alpha: Weight of L_IA.
        beta: Weight of L_CA.
        start_tau: The temperature to start from, 0.01 to 1.
    """

    title = "CLIP-Lung (released)"
    reads_text = True
    no_weight_decay = ("logit_scale",)

    def __init__(self, task: Task, alpha: float = 1.0, beta: float = 0.5, start_tau: float = 0.07) -> None:
        super().__init__()
        if not 0.01 <= start_tau <= 1:
            raise ValueError(f"CLIP-Lung's start_tau must lie between 0.01 and 1, not {start_tau}")
        width = task.encoder.width
        if width % 64:
            raise Unsupported(
                f"CLIP-Lung's released code needs an encoder whose width is a multiple of 64, not {width}"
            )
        if task.num_classes > GROUPS:
            raise Unsupported(
                f"CLIP-Lung's released L_IA gives each class one of {GROUPS} groups; {task.num_classes} classes are "
                "too many"
            )
        require_attributes(task)
        require_four_by_four(task)
        tower = shared_tower(task)
        self.tower_metadata = tower.metadata()
        self.num_classes, self.alpha, self.beta = task.num_classes, alpha, beta
        self.encoder = Encoder(task)
        self.reduce = nn.Conv2d(width // 4, width // 16, kernel_size=1)
        self.classifier = nn.Linear(width, task.num_classes)
        self.logit_scale = nn.Parameter(torch.tensor(math.log(1 / start_tau)))
        names = task.class_names + task.attribute_names
        self.prompts = ConditionalPrompts(tower, names, tower.embed("a photo of a"))

    def metadata(self) -> dict[str, Json]:
        """Return which text tower it is."""
        return {"text_tower": self.tower_metadata}

    def grouped(self, images: Float[Tensor, "batch slices rows columns"]) -> Float[Tensor, "batch channels 8 8"]:
        """Return the map whose four quarters of channels are the groups."""
        maps: Tensor = self.reduce(as_eight_by_eight(self.encoder(images)))
        return maps

    def logits(self, maps: Float[Tensor, "batch channels 8 8"]) -> Float[Tensor, "batch classes"]:
        """Return the classifier's logits."""
        logits: Tensor = self.classifier(functional.avg_pool2d(maps, 2).flatten(1))
        return logits

    def loss(self, batch: Batch) -> dict[str, Tensor]:
        """Return L_CE, L_IC, alpha L_IA and beta L_CA."""
        maps, labels, scale = self.grouped(batch.images), batch.labels, bounded(self.logit_scale)
        groups, weights = maps.reshape(len(maps), GROUPS, -1), batch.attributes.softmax(dim=1)
        texts = self.prompts(groups)
        classes, attributes = texts[:, : self.num_classes], texts[:, self.num_classes :]
        ia = functional.cross_entropy(weighted_scores(groups, attributes, weights, scale), labels)
        ca = functional.cross_entropy(weighted_scores(classes, attributes, weights, scale), labels)
        return {
            "ce": functional.cross_entropy(self.logits(maps), labels),
            "ic": image_class_loss(cosine_logits(groups, classes[:, None], scale), labels).mean(),
            "ia": self.alpha * ia,
            "ca": self.beta * ca,
        }

    def predict_proba(self, images: Float[Tensor, "batch slices rows columns"]) -> Float[Tensor, "batch classes"]:
        """Return the classifier's softmax; no text is read."""
        return self.logits(self.grouped(images)).softmax(dim=1)
