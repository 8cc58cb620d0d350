"""What the vision-language methods share: text features and their cosines with image features."""

import math
from collections.abc import Sequence

import torch
from jaxtyping import Float
from torch import Tensor
from torch.nn import functional

from benchmark.contracts import Task
from methods._tower import TextTower, load_text_tower

_MAX_LOGIT_SCALE = math.log(100)


def shared_tower(task: Task) -> TextTower:
    """Return the task's text tower.

    Raises:
        ValueError: Image and text features differ in number, so that they have no cosine.
    """
    if task.encoder.width != task.text_tower.width:
        raise ValueError(
            f"the image encoder gives {task.encoder.width} features but the text tower {task.text_tower.width}; "
            "choose an encoder and a text tower of one width"
        )
    return load_text_tower(task.text_tower)


def cosine_logits(
    image_features: Float[Tensor, "*images features"],
    text_features: Float[Tensor, "*#images classes features"],
    logit_scale: Float[Tensor, ""],
) -> Float[Tensor, "*images classes"]:
    """Return exp(logit_scale), at most 100, times the cosine of each image with each text.

    Args:
        image_features: Of any length.
        text_features: Of length one; the same for all images, or each image's own.
        logit_scale: ln(1 / tau).

    >>> cosine_logits(torch.tensor([[3.0, 4.0]]), torch.eye(2), torch.tensor(0.0))
    tensor([[0.6000, 0.8000]])
    """
    unit = functional.normalize(image_features, dim=-1)
    cosines = torch.einsum("...d,...kd->...k", unit, text_features)
    return logit_scale.clamp(max=_MAX_LOGIT_SCALE).exp() * cosines


def encode_texts(tower: TextTower, texts: Sequence[str]) -> Float[Tensor, "texts features"]:
    """Return the features of texts that no image conditions, scaled to length one.

    Raises:
        ValueError: A text is longer than the tower's context.
    """
    tokens = tower.tokenizer(list(texts))
    features: Tensor = tower.clip.encode_text(tokens, normalize=True)
    return features
