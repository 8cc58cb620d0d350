"""OrdinalCLIP: a learned word for every rank, interpolated between a few base words so that ranks stay in order.

Paper: Li et al., OrdinalCLIP: learning rank prompts for language-guided ordinal regression, NeurIPS 2022,
arXiv 2206.02338; details from the authors' code (github.com/xk-huang/OrdinalCLIP).

Symbols: c_1..c_10 -> context; base words e_b -> base_ranks; W -> interpolation; r_k = sum_b W_kb e_b, the word of rank
    k;  R_k -> text features of "c_1 .. c_10 r_k.", the same for all images;  x -> image features;  ln(1/tau) ->
    logit_scale;  z_ik = cos(x_i, R_k) / tau;  p = softmax_k(z). Loss: cross-entropy of p, and for each class in the
    batch KL(softmax_i(10 [y_i = k]) || softmax_i(z_ik)), averaged over these classes.
Deviations: the image encoder is the benchmark's ResNet, trained from random weights; the benchmark's
    optimiser stands in for the authors', which had its own learning rate for each part.
Defaults: 10 context tokens, 3 base words, both from N(0, 0.02), linear interpolation, the rank last, both losses of
    weight 1, and the tower's own temperature, frozen (authors' configuration). Our other rows learn it from 0.07; here
    the ranks' texts start almost alike, and a learned temperature rises before they part.
Worth knowing: with three classes, three base words still smooth (middle row of W: 1/4, 1/2, 1/4); the names of the
    classes are never read.
"""

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional

from benchmark.contracts import Batch, Json, Method, Task
from methods._encoder import Encoder
from methods._prompts import random_context, text_to_image_loss
from methods._text import cosine_logits, prompt_encoder, shared_tower

INTERPOLATIONS = ("linear", "inverse")


def interpolation_weights(num_ranks: int, num_base: int, kind: str = "linear") -> Float[Tensor, "ranks base"]:
    """Return each rank's mixture W of the base words, which lie evenly from the first rank to the last.

    Args:
        num_ranks: K, at least 2.
        num_base: At least 2.
        kind: `"linear"` (1 - distance / (K - 1)) or `"inverse"` (1 / distance); rows are scaled to sum one.

    >>> interpolation_weights(3, 2)
    tensor([[1.0000, 0.0000],
            [0.5000, 0.5000],
            [0.0000, 1.0000]])
    """
    distances = (torch.arange(num_ranks)[:, None] - torch.linspace(0, num_ranks - 1, num_base)).abs()
    weights = 1 - distances / (num_ranks - 1) if kind == "linear" else 1 / (distances + 1e-5)
    return weights / weights.sum(dim=1, keepdim=True)


class OrdinalClip(Method):
    """Encoder, spatial mean, cosine with each rank's learned text, softmax.

    Args:
        task: What to work on.
        context_tokens: Number of learned tokens that all ranks share.
        base_ranks: Number of base words.
        interpolation: `"linear"` or `"inverse"`.
    """

    title = "OrdinalCLIP"
    reads_text = True
    weights: Tensor
    logit_scale: Tensor

    def __init__(
        self, task: Task, context_tokens: int = 10, base_ranks: int = 3, interpolation: str = "linear"
    ) -> None:
        super().__init__()
        if context_tokens < 1 or base_ranks < 2:
            raise ValueError(
                "OrdinalCLIP needs at least one context token and two base words, not "
                f"{context_tokens=} and {base_ranks=}"
            )
        if interpolation not in INTERPOLATIONS:
            raise ValueError(
                f"OrdinalCLIP's interpolation must be one of {', '.join(INTERPOLATIONS)}, not {interpolation!r}"
            )
        tower = shared_tower(task)
        self.tower_metadata = tower.metadata()
        tower.require_room(context_tokens + 1)  # and the full stop
        ranks = range(context_tokens, context_tokens + task.num_classes)
        prompts = [(range(context_tokens), range(rank, rank + 1), ".") for rank in ranks]
        self.encode = prompt_encoder(tower, prompts)
        weights = interpolation_weights(task.num_classes, base_ranks, interpolation)
        self.register_buffer("weights", weights, persistent=False)
        self.encoder = Encoder(task)
        self.context = nn.Parameter(random_context(context_tokens, tower.width))
        self.base_ranks = nn.Parameter(random_context(base_ranks, tower.width))
        self.register_buffer("logit_scale", tower.clip.logit_scale.detach().clone(), persistent=False)

    def text_features(self) -> Float[Tensor, "classes features"]:
        """Return each rank's text features, of length one."""
        slots = torch.cat([self.context, self.weights @ self.base_ranks])
        features: Tensor = self.encode(slots[None])
        return features[0]

    def logits(self, images: Float[Tensor, "batch slices rows columns"]) -> Float[Tensor, "batch classes"]:
        """Return cosines times the logit scale."""
        return cosine_logits(self.encoder.pooled(images), self.text_features(), self.logit_scale)

    def metadata(self) -> dict[str, Json]:
        """Return which text tower it is."""
        return {"text_tower": self.tower_metadata}

    def loss(self, batch: Batch) -> dict[str, Tensor]:
        """Return the cross-entropy over classes, and the divergence over the batch's images."""
        logits = self.logits(batch.images)
        return {
            "ce": functional.cross_entropy(logits, batch.labels),
            "kl": text_to_image_loss(logits, batch.labels),
        }

    def predict_proba(self, images: Float[Tensor, "batch slices rows columns"]) -> Float[Tensor, "batch classes"]:
        """Return the softmax of the logits."""
        return self.logits(images).softmax(dim=1)
