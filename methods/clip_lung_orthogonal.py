"""CLIP-Lung with random orthogonal vectors in place of every text feature: does any word, or the tower, have a part?

Paper: none; a control for Lei et al., CLIP-Lung, MICCAI 2023 (see clip_lung.py, whose symbols and equations these are).

Symbols: F_t -> groups (16 vectors of D); o_1..o_K, a_1..a_M -> vectors, K + M orthonormal rows of D: o_k stands for the
    class features C_k, a_m for the attribute features A_m;  w = softmax of the ratings;  ln(1/tau) -> logit_scale;
    L = L_CE + L_IC + alpha L_IA, with (2) and the default form of (3).
What is replaced, and why both: whatever the tower gives, so that no word and no weight of the tower is left. With
    attributes alone replaced, the class features would still come from words. The tower's inputs alone would still
    pass through it.
What goes with that: C_k is the tower's reading of a context that every image moves. Where nothing reads it, context and
    meta-net have no gradient, so they are left out. L_CA compares the o_k with the a_m: all cosines are zero, it is the
    constant ln M without a gradient, so it is left out too. Encoder, classifier, groups, temperature and the weights of
    the losses are CLIP-Lung's, and encoder and classifier start from the same numbers.
Defaults: alpha = 1 (CLIP-Lung's). The vectors come from `vector_seed` alone, so all fits share them.
Worth knowing: if this row does as CLIP-Lung does, then what CLIP-Lung has over cross-entropy needs no text: only the
    contrast of grouped features with labels and ratings.
"""

import math

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional

from benchmark.contracts import Batch, Method, Task, Unsupported
from methods._attributes import attribute_loss, require_attributes
from methods._encoder import Encoder
from methods._prompts import group_channels, image_class_loss, require_four_by_four
from methods._text import bounded, cosine_logits


def orthonormal(count: int, width: int, seed: int) -> Float[Tensor, "count width"]:
    """Draw rows of length one, each at a right angle to all others, from a generator of its own.

    Raises:
        Unsupported: There is no room for so many.
    """
    if count > width:
        raise Unsupported(f"{count} vectors of {width} numbers cannot all be orthogonal; choose a wider encoder")
    generator = torch.Generator().manual_seed(seed)
    normal = torch.randn(width, count, dtype=torch.float64, generator=generator)
    rows: Tensor = torch.linalg.qr(normal).Q.mT
    return rows.float().contiguous()


class ClipLungOrthogonal(Method):
    """Encoder, spatial mean, one linear layer; fixed vectors in training only.

    Args:
        task: What to work on.
        alpha: Weight of L_IA.
        vector_seed: Decides for the vectors.
    """

    title = "CLIP-Lung (orthogonal vectors for texts)"
    no_weight_decay = ("logit_scale",)
    vectors: Tensor

    def __init__(self, task: Task, alpha: float = 1.0, vector_seed: int = 0) -> None:
        super().__init__()
        require_attributes(task)
        require_four_by_four(task)
        self.num_classes, self.alpha = task.num_classes, alpha
        self.encoder = Encoder(task)
        self.classifier = nn.Linear(self.encoder.width, task.num_classes)
        self.logit_scale = nn.Parameter(torch.tensor(math.log(1 / 0.07)))
        count = task.num_classes + len(task.attribute_names)
        self.register_buffer("vectors", orthonormal(count, self.encoder.width, vector_seed), persistent=False)

    def loss(self, batch: Batch) -> dict[str, Tensor]:
        """Return L_CE, L_IC and alpha L_IA."""
        maps, scale = self.encoder(batch.images), bounded(self.logit_scale)
        groups, weights = group_channels(maps), batch.attributes.softmax(dim=1)
        classes, attributes = self.vectors[: self.num_classes], self.vectors[self.num_classes :]
        logits = cosine_logits(groups, classes, scale)
        return {
            "ce": functional.cross_entropy(self.classifier(maps.mean(dim=(2, 3))), batch.labels),
            "ic": image_class_loss(logits, batch.labels).mean(),
            "ia": self.alpha * attribute_loss(groups, attributes, weights, scale).mean(),
        }

    def predict_proba(self, images: Float[Tensor, "batch slices rows columns"]) -> Float[Tensor, "batch classes"]:
        """Return the classifier's softmax."""
        logits: Tensor = self.classifier(self.encoder.pooled(images))
        return logits.softmax(dim=1)
