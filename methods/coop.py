"""CoOp: prompts with learned context words that all images share; an image takes the class it is closest to.

Paper: Zhou et al., Learning to prompt for vision-language models, IJCV 130 (2022), arXiv 2109.01134; details from the
authors' code (github.com/KaiyangZhou/CoOp).

Symbols: x -> image features; v_1..v_T -> prompts.context; C_k -> text features of "v_1 .. v_T class_k.";  ln(1/tau) ->
    logit_scale;  p = softmax_k(cos(x, C_k) / tau);  loss -log p_y.
Deviations: the image encoder is the benchmark's ResNet, trained from random weights with everything else, where CoOp
    freezes CLIP's own; the temperature is learned from 0.07, as in our CLIP row; optimiser and batch size are the
    benchmark's.
Defaults: T = 16 tokens from N(0, 0.02) that the classes share, the class last (the authors' "M=16, end"). tau never
    falls below 0.01, as in our CLIP row.
Worth knowing: CLIP fixes all the words, this row learns those before the class, and in CoCoOp each image moves them.
"""

import math

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional

from benchmark.contracts import Batch, Json, Method, Task
from methods._encoder import Encoder
from methods._prompts import SharedPrompts, random_context
from methods._text import bounded, cosine_logits, shared_tower


class CoOp(Method):
    """Encoder, spatial mean, cosine with each class's learned text, softmax.

    Args:
        task: What to work on.
        context_tokens: Number of learned tokens.
    """

    title = "CoOp"
    reads_text = True
    no_weight_decay = ("logit_scale",)

    def __init__(self, task: Task, context_tokens: int = 16) -> None:
        super().__init__()
        tower = shared_tower(task)
        self.tower_metadata = tower.metadata()
        self.encoder = Encoder(task)
        self.prompts = SharedPrompts(tower, task.class_names, random_context(context_tokens, tower.width))
        self.logit_scale = nn.Parameter(torch.tensor(math.log(1 / 0.07)))

    def logits(self, images: Float[Tensor, "batch slices rows columns"]) -> Float[Tensor, "batch classes"]:
        """Return cosines times the logit scale."""
        return cosine_logits(self.encoder.pooled(images), self.prompts(), bounded(self.logit_scale))

    def metadata(self) -> dict[str, Json]:
        """Return which text tower it is."""
        return {"text_tower": self.tower_metadata}

    def loss(self, batch: Batch) -> dict[str, Tensor]:
        """Return the mean negative log-likelihood."""
        return {"ce": functional.cross_entropy(self.logits(batch.images), batch.labels)}

    def predict_proba(self, images: Float[Tensor, "batch slices rows columns"]) -> Float[Tensor, "batch classes"]:
        """Return the softmax of the logits."""
        return self.logits(images).softmax(dim=1)
