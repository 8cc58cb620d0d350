"""KgCoOp: CoOp whose learned texts are held near those of prompts that somebody wrote.

Paper: Yao, Zhang and Xu, Visual-language prompt tuning with knowledge-guided context optimization, CVPR 2023,
arXiv 2303.13283; details from the authors' code (github.com/htyao89/KgCoOp).

Symbols: x -> image features; v_1..v_T -> prompts.context; C_k -> text features of "v_1 .. v_T class_k.";  H_k ->
    handwritten, those of a fixed prompt with class_k;  ln(1/tau) -> logit_scale;  p = softmax_k(cos(x, C_k) / tau);
    loss -log p_y + lambda mean_k (1 - cos(C_k, H_k)).
The second term: the paper writes the mean squared distance |C_k - H_k|^2, which is twice ours, since both have length
    one. The authors' code computes ours, and lambda = 8 is what their scripts run it with.
Deviations: the image encoder is the benchmark's ResNet, trained from random weights with everything else, where KgCoOp
    freezes CLIP's own; the temperature is learned from 0.07, as in our CLIP row; optimiser and batch size are the
    benchmark's.
Defaults: the context starts from "a photo of a", T = 4 (authors' configuration); lambda -> weight = 8 (authors'
    scripts). The authors write a prompt for each data set: ours is that of the CLIP row.
Worth knowing: the term guards classes that are not trained on. Here there are none: every class is trained.
"""

import math

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional

from benchmark.contracts import Batch, Json, Method, Task
from methods._encoder import Encoder
from methods._prompts import SharedPrompts
from methods._text import bounded, cosine_logits, encode_texts, shared_tower


def knowledge_loss(
    learned: Float[Tensor, "classes features"], handwritten: Float[Tensor, "classes features"]
) -> Float[Tensor, ""]:
    """Return the mean over the classes of one less the cosine of both texts' features, all of length one.

    >>> knowledge_loss(torch.eye(2), torch.tensor([[1.0, 0.0], [1.0, 0.0]]))
    tensor(0.5000)
    """
    return (1 - (learned * handwritten).sum(dim=1)).mean()


class KgCoOp(Method):
    """Encoder, spatial mean, cosine with each class's learned text, softmax.

    Args:
        task: What to work on.
        weight: Of the distance to the handwritten prompts.
        context: The words that the learned context starts from.
        prompt: What somebody wrote; `{}` stands for the class.
    """

    title = "KgCoOp"
    reads_text = True
    no_weight_decay = ("logit_scale",)
    handwritten: Tensor

    def __init__(
        self, task: Task, weight: float = 8.0, context: str = "a photo of a", prompt: str = "a nodule image of {}."
    ) -> None:
        super().__init__()
        if "{}" not in prompt:
            raise ValueError(f"KgCoOp's prompt {prompt!r} has no {{}} for the class name")
        tower = shared_tower(task)
        tower.require_room(len(tower.tokenize(prompt.format(""))))
        self.tower_metadata = tower.metadata()
        self.weight = weight
        self.encoder = Encoder(task)
        self.prompts = SharedPrompts(tower, task.class_names, tower.embed(context))
        self.logit_scale = nn.Parameter(torch.tensor(math.log(1 / 0.07)))
        handwritten = encode_texts(tower, [prompt.format(name) for name in task.class_names])
        self.register_buffer("handwritten", handwritten, persistent=False)

    def logits(
        self, images: Float[Tensor, "batch slices rows columns"], learned: Float[Tensor, "classes features"]
    ) -> Float[Tensor, "batch classes"]:
        """Return cosines times the logit scale."""
        return cosine_logits(self.encoder.pooled(images), learned, bounded(self.logit_scale))

    def metadata(self) -> dict[str, Json]:
        """Return which text tower it is."""
        return {"text_tower": self.tower_metadata}

    def loss(self, batch: Batch) -> dict[str, Tensor]:
        """Return the mean negative log-likelihood, and the weighted distance to the handwritten prompts."""
        learned = self.prompts()
        return {
            "ce": functional.cross_entropy(self.logits(batch.images, learned), batch.labels),
            "kg": self.weight * knowledge_loss(learned, self.handwritten),
        }

    def predict_proba(self, images: Float[Tensor, "batch slices rows columns"]) -> Float[Tensor, "batch classes"]:
        """Return the softmax of the logits."""
        return self.logits(images, self.prompts()).softmax(dim=1)
