"""What the rows that learn from the rated attributes share: their scales, and the contrast with their texts.

Source: LIDC's rating scales as pylidc documents them; Lei et al., CLIP-Lung, MICCAI 2023, equations 3 and 4.
"""

from collections.abc import Sequence

import torch
from jaxtyping import Float
from torch import Tensor
from torch.nn import functional

from benchmark.contracts import Task, Unsupported
from methods._text import cosine_logits

ATTRIBUTE_LOSSES = ("soft_target", "literal", "scaled_logit")
ABSENT = {"calcification": 6.0, "internal structure": 1.0}  # the others of these ratings are names of what is there


def require_attributes(task: Task, who: str = "CLIP-Lung aligns images with") -> None:
    """Refuse a task without rated attributes, or one of whose attributes gives the label away.

    Args:
        task: What to work on.
        who: Begins the sentence.

    Raises:
        Unsupported: There are none, or malignancy, from which the labels are made, is one of them.
    """
    if not task.attribute_names:
        raise Unsupported(f"{who} rated attributes, but this task has none; choose another method")
    if "malignancy" in task.attribute_names:
        raise Unsupported("malignancy is among the attributes, but labels are made from it; leave it out")


def presence(ratings: Float[Tensor, "batch attributes"], names: Sequence[str]) -> Float[Tensor, "batch attributes"]:
    """Map LIDC's ratings to 1 (what the word says is absent) .. 5 (present): names by their distance from "absent".

    >>> presence(torch.tensor([[6.0, 5.5, 3.0, 2.0]]), ("calcification", "calcification", "calcification", "margin"))
    tensor([[1., 3., 5., 2.]])
    """
    columns = [
        1 + 4 * (ratings[:, column] - ABSENT[name]).abs().clamp(max=1) if name in ABSENT else ratings[:, column]
        for column, name in enumerate(names)
    ]
    return torch.stack(columns, dim=1)


def attribute_loss(
    features: Float[Tensor, "batch rows width"],
    attributes: Float[Tensor, "attributes width"],
    weights: Float[Tensor, "batch attributes"],
    logit_scale: Float[Tensor, ""],
    variant: str = "soft_target",
) -> Float[Tensor, " batch"]:
    """Return L_IA (3) if the rows are an image's groups, L_CA (4) if they are its class features.

    Args:
        features: Of any length.
        attributes: Text features A_m, of length one.
        weights: w, of sum one.
        logit_scale: ln(1 / tau).
        variant: `"soft_target"`, `"literal"` or `"scaled_logit"`; see the top of clip_lung.py.
    """
    if variant == "literal":
        weighted = functional.normalize(weights[..., None] * attributes, dim=-1)
        return -cosine_logits(features, weighted[:, None], logit_scale).log_softmax(dim=-1).sum(dim=(1, 2))
    logits = cosine_logits(features, attributes, logit_scale)
    if variant == "scaled_logit":
        return -(weights[:, None] * logits).log_softmax(dim=-1).sum(dim=(1, 2))
    return -(weights[:, None] * logits.log_softmax(dim=-1)).sum(dim=2).mean(dim=1)
