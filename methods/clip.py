"""CLIP: fixed prompts through the frozen text tower; an image takes the class whose text it is closest to.

Paper: Radford et al., Learning transferable visual models from natural language supervision, ICML 2021 (PMLR 139);
the row "CLIP" of Lei et al., CLIP-Lung, MICCAI 2023, Tables 1 and 2, which calls it "fixed prompt engineering".

Symbols: F -> image features, scaled to length one; C_k -> text features, likewise; ln(1/tau) -> logit_scale;
    p = softmax_k(cos(F, C_k) / tau);  loss -log p_y.
Deviations: the image encoder is the benchmark's ResNet, trained from random weights, not CLIP's own (so says the
    paper); only it and the temperature are trained. Where its width is not the text tower's, a fixed random projection
    maps texts to images, as in all our rows that read text (methods/_tower.py).
Defaults: the prompt is the prefix of the paper's released code; tau starts at 0.07, learned (paper), and stays between
    0.01 (Radford et al., section 2.5) and 1 (their code's bound).
"""

import math

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional

from benchmark.contracts import Batch, Json, Method, Task
from methods._encoder import Encoder
from methods._text import bounded, cosine_logits, encode_texts, shared_tower


class Clip(Method):
    """Encoder, spatial mean, cosine with each class's text, softmax."""

    title = "CLIP"
    reads_text = True
    no_weight_decay = ("logit_scale",)
    text_features: Tensor

    def __init__(self, task: Task, prompt: str = "a nodule image of {}.") -> None:
        super().__init__()
        if "{}" not in prompt:
            raise ValueError(
                f"the CLIP prompt {prompt!r} has no {{}} for the class name, so it cannot tell classes apart"
            )
        tower = shared_tower(task)
        tower.require_room(len(tower.tokenize(prompt.format(""))))
        self.tower_metadata = tower.metadata()
        self.register_buffer("text_features", encode_texts(tower, [prompt.format(name) for name in task.class_names]))
        self.encoder = Encoder(task)
        self.logit_scale = nn.Parameter(torch.tensor(math.log(1 / 0.07)))

    def logits(self, images: Float[Tensor, "batch slices rows columns"]) -> Float[Tensor, "batch classes"]:
        """Return cosines times the logit scale."""
        return cosine_logits(self.encoder.pooled(images), self.text_features, bounded(self.logit_scale))

    def metadata(self) -> dict[str, Json]:
        """Return which text tower it is."""
        return {"text_tower": self.tower_metadata}

    def loss(self, batch: Batch) -> dict[str, Tensor]:
        """Return the mean negative log-likelihood."""
        return {"ce": functional.cross_entropy(self.logits(batch.images), batch.labels)}

    def predict_proba(self, images: Float[Tensor, "batch slices rows columns"]) -> Float[Tensor, "batch classes"]:
        """Return the softmax of the logits."""
        return self.logits(images).softmax(dim=1)
