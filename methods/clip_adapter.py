"""CLIP-Adapter: fixed prompts, and a small network between the image features and their cosines with the texts.

Paper: Gao et al., CLIP-Adapter: better vision-language models with feature adapters, 2021, arXiv 2110.04544 (IJCV
2024); details from the authors' code (github.com/gaopengcuhk/CLIP-Adapter).

Symbols: x -> image features; A(x) = relu(W_2 relu(W_1 x)), r -> adapter, its ratio;  f = r A(x) + (1 - r) x;  C_k ->
    text features;  ln(1/tau) -> logit_scale;  p = softmax_k(cos(f, C_k) / tau);  loss -log p_y.
Deviations: the image encoder is the benchmark's ResNet, trained from random weights with everything else. The authors
    freeze CLIP's own and train the adapter alone, so there the adapter is all that learns; here it is two more layers
    behind an encoder that learns anyway, and the row asks whether these layers help. The temperature is learned from
    0.07, as in our CLIP row; optimiser and batch size are the benchmark's.
Defaults: r = 0.2, a quarter as wide between, no bias, no adapter on the texts (authors' code). The prompt, and the
    least temperature of 0.01, are our CLIP row's.
"""

import math

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional

from benchmark.contracts import Batch, Json, Method, Task
from methods._adapter import Adapter
from methods._encoder import Encoder
from methods._text import bounded, cosine_logits, encode_texts, shared_tower


class ClipAdapter(Method):
    """Encoder, spatial mean, adapter, cosine with each class's text, softmax.

    Args:
        task: What to work on.
        ratio: Share of the adapted features.
        prompt: `{}` stands for the class.
    """

    title = "CLIP-Adapter"
    reads_text = True
    no_weight_decay = ("logit_scale",)
    text_features: Tensor

    def __init__(self, task: Task, ratio: float = 0.2, prompt: str = "a nodule image of {}.") -> None:
        super().__init__()
        if "{}" not in prompt:
            raise ValueError(f"CLIP-Adapter's prompt {prompt!r} has no {{}} for the class name")
        tower = shared_tower(task)
        tower.require_room(len(tower.tokenize(prompt.format(""))))
        self.tower_metadata = tower.metadata()
        texts = encode_texts(tower, [prompt.format(name) for name in task.class_names])
        self.register_buffer("text_features", texts, persistent=False)
        self.encoder = Encoder(task)
        self.adapter = Adapter(self.encoder.width, ratio)
        self.logit_scale = nn.Parameter(torch.tensor(math.log(1 / 0.07)))

    def logits(self, images: Float[Tensor, "batch slices rows columns"]) -> Float[Tensor, "batch classes"]:
        """Return cosines times the logit scale."""
        return cosine_logits(self.adapter(self.encoder.pooled(images)), self.text_features, bounded(self.logit_scale))

    def metadata(self) -> dict[str, Json]:
        """Return which text tower it is."""
        return {"text_tower": self.tower_metadata}

    def loss(self, batch: Batch) -> dict[str, Tensor]:
        """Return the mean negative log-likelihood."""
        return {"ce": functional.cross_entropy(self.logits(batch.images), batch.labels)}

    def predict_proba(self, images: Float[Tensor, "batch slices rows columns"]) -> Float[Tensor, "batch classes"]:
        """Return the softmax of the logits."""
        return self.logits(images).softmax(dim=1)
