"""NumCLIP: learned words for classes in order, and contrasts in which a far wrong class or image weighs more.

Paper: Du et al., Teach CLIP to develop a number sense for ordinal regression, ECCV 2024, arXiv 2408.03574. Its full
text was not at hand: the method is read from the authors' code (github.com/xmed-lab/NumCLIP).

Symbols: x -> image features; A, r -> adapter (see clip_adapter.py), f = r A(x) + (1 - r) x;  c_1..c_T -> context;
    w_k -> ranks, one or more tokens for each class;  R_k -> text features of "c_1 .. c_T w_k.", shared by all images;
    ln(1/tau) -> logit_scale;  z_ik = cos(f_i, R_k) / tau;  p = softmax_k(z);  d_ik = |y_i - k|;
    lambda_ik = d_ik over its mean among the wrong classes of image i, mu_ik = d_ik over its mean among the wrong images
    of class k, both 1 where y_i = k.
    Loss: cross-entropy of softmax_k(z_ik + ln lambda_ik), and for each class in the batch
    KL(softmax_i(10 [y_i = k]) || softmax_i(z_ik + ln mu_ik)), averaged over these classes.
Deviations:
    The code multiplies z by the weights. Where a cosine is negative, a weight above one then lowers the wrong class's
    share and pushes it away less, against the intention. Here the weights multiply exp(z).
    For mu the code scales by K - 1, as for lambda, though there are as many terms as wrong images: with a batch of 32,
    all weights are near 1/16, and the wrong images' cosines hardly count. Here their mean is one, as lambda's is.
    The regression within a class (the fine stage) is left out: benign, unsure and malignant have nothing finer.
    The image encoder is the benchmark's ResNet, trained from random weights, where the authors train CLIP's own; the
    benchmark's optimiser stands in for theirs, which had its own learning rate for each part.
Defaults: r = 0.8, context and ranks learned from words, both losses of weight 1, and the tower's own temperature,
    frozen (authors' configuration for photo quality, whose classes are words as ours are). Their context there is
    "aesthetics assessment: the quality of the photo is"; ours follows its form.
Worth knowing: for the middle class of three, and with two classes, lambda is 1 throughout; so is mu with two.
"""

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn
from torch.nn import functional

from benchmark.contracts import Batch, Json, Method, Task
from methods._adapter import Adapter
from methods._encoder import Encoder
from methods._prompts import text_to_image_loss
from methods._text import cosine_logits, prompt_encoder, shared_tower


def log_weights(labels: Int[Tensor, " batch"], num_classes: int, dim: int) -> Float[Tensor, "batch classes"]:
    """Return ln lambda (dim 1) or ln mu (dim 0): of distances over their mean among what is wrong, along a dimension.

    >>> log_weights(torch.tensor([0, 1]), 3, dim=1).exp()
    tensor([[1.0000, 0.6667, 1.3333],
            [1.0000, 1.0000, 1.0000]])
    """
    distances = (torch.arange(num_classes, device=labels.device) - labels[:, None]).abs().float()
    wrong = distances > 0
    weights = distances * wrong.sum(dim, keepdim=True) / distances.sum(dim, keepdim=True)  # 0 / 0 if nothing is wrong
    return torch.where(wrong, weights, 1.0).log()


class NumClip(Method):
    """Encoder, spatial mean, adapter, cosine with each class's learned text, softmax.

    Args:
        task: What to work on.
        ratio: Share of the adapted features.
        context: The words that the learned context starts from.
    """

    title = "NumCLIP"
    reads_text = True
    logit_scale: Tensor

    def __init__(self, task: Task, ratio: float = 0.8, context: str = "malignancy assessment: the nodule is") -> None:
        super().__init__()
        tower = shared_tower(task)
        self.tower_metadata = tower.metadata()
        self.num_classes = task.num_classes
        words, names = tower.embed(context), [tower.embed(name) for name in task.class_names]
        if not len(words):
            raise ValueError("NumCLIP's context has no token, so there is nothing to learn; give it a word or more")
        tower.require_room(len(words) + 1)  # and the full stop
        prompts, end = [], len(words)
        for name in names:
            start, end = end, end + len(name)
            prompts.append((range(len(words)), range(start, end), "."))
        self.encode = prompt_encoder(tower, prompts)
        self.encoder = Encoder(task)
        self.adapter = Adapter(self.encoder.width, ratio)
        self.context = nn.Parameter(words)
        self.ranks = nn.Parameter(torch.cat(names))
        self.register_buffer("logit_scale", tower.clip.logit_scale.detach().clone(), persistent=False)

    def text_features(self) -> Float[Tensor, "classes features"]:
        """Return each class's text features, of length one."""
        features: Tensor = self.encode(torch.cat([self.context, self.ranks])[None])
        return features[0]

    def logits(self, images: Float[Tensor, "batch slices rows columns"]) -> Float[Tensor, "batch classes"]:
        """Return cosines times the logit scale."""
        return cosine_logits(self.adapter(self.encoder.pooled(images)), self.text_features(), self.logit_scale)

    def metadata(self) -> dict[str, Json]:
        """Return which text tower it is."""
        return {"text_tower": self.tower_metadata}

    def loss(self, batch: Batch) -> dict[str, Tensor]:
        """Return the weighted cross-entropy over classes, and the weighted divergence over the batch's images."""
        logits, labels = self.logits(batch.images), batch.labels
        of_classes, of_images = (log_weights(labels, self.num_classes, dim) for dim in (1, 0))
        return {
            "ce": functional.cross_entropy(logits + of_classes, labels),
            "kl": text_to_image_loss(logits + of_images, labels),
        }

    def predict_proba(self, images: Float[Tensor, "batch slices rows columns"]) -> Float[Tensor, "batch classes"]:
        """Return the softmax of the logits."""
        return self.logits(images).softmax(dim=1)
