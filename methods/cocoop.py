"""CoCoOp: prompts with learned context words that every image moves; an image takes the class it is closest to.

Paper: Zhou et al., Conditional prompt learning for vision-language models, CVPR 2022, arXiv 2203.05557; the row
"CoCoOp" of Lei et al., CLIP-Lung, MICCAI 2023, Tables 1 and 2.

Symbols: x -> image features (the map's spatial mean); v_1..v_T -> prompts.context; h -> prompts.meta_net;
    pi = h(x / |x|), added to all v_t;  C_k(x) -> text features of "v_1+pi .. v_T+pi class_k.";  ln(1/tau) ->
    logit_scale;  p = softmax_k(cos(x, C_k(x)) / tau);  loss -log p_y.
Deviations: the image encoder is the benchmark's ResNet, trained from random weights with everything else, where CoCoOp
    freezes CLIP's own; the temperature is learned, as in CLIP-Lung; optimiser and batch size are the benchmark's.
    The meta-net's last layer starts at zero, see _prompts.py.
Defaults: context = "a photo of a" (T = 4 tokens) and a hidden layer of width / 16 (authors' configuration); tau starts
    at 0.07 and stays between 0.01 and 1, as in our CLIP row.
Worth knowing: CLIP-Lung's printed numbers for CoCoOp are those of its own ablation "L_IC only" to the last digit, a
    model with a classifier. This row decodes as CoCoOp does, by cosines; that model is the row of our Table 3. Unlike
    CLIP-Lung, a prediction sends each image's prompts through the text tower.
"""

import math

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional

from benchmark.contracts import Batch, Json, Method, Task
from methods._encoder import Encoder
from methods._prompts import ConditionalPrompts
from methods._text import bounded, cosine_logits, shared_tower


class CoCoOp(Method):
    """Encoder, spatial mean, cosine with each class's text, which the image conditions, softmax.

    Args:
        task: What to work on.
        context: The words that the learned context starts from.
    """

    title = "CoCoOp"
    reads_text = True
    no_weight_decay = ("logit_scale",)

    def __init__(self, task: Task, context: str = "a photo of a") -> None:
        super().__init__()
        tower = shared_tower(task)
        self.tower_metadata = tower.metadata()
        self.encoder = Encoder(task)
        self.prompts = ConditionalPrompts(tower, task.class_names, tower.embed(context))
        self.logit_scale = nn.Parameter(torch.tensor(math.log(1 / 0.07)))

    def logits(self, images: Float[Tensor, "batch slices rows columns"]) -> Float[Tensor, "batch classes"]:
        """Return cosines times the logit scale."""
        features = self.encoder.pooled(images)
        return cosine_logits(features, self.prompts(features[:, None]), bounded(self.logit_scale))

    def metadata(self) -> dict[str, Json]:
        """Return which text tower it is."""
        return {"text_tower": self.tower_metadata}

    def loss(self, batch: Batch) -> dict[str, Tensor]:
        """Return the mean negative log-likelihood."""
        return {"ce": functional.cross_entropy(self.logits(batch.images), batch.labels)}

    def predict_proba(self, images: Float[Tensor, "batch slices rows columns"]) -> Float[Tensor, "batch classes"]:
        """Return the softmax of the logits."""
        return self.logits(images).softmax(dim=1)
