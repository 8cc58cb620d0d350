"""What the rows that learn from the rated attributes share: their scales, and the contrast with their texts.

Source: LIDC's rating scales as pylidc documents them; Lei et al., CLIP-Lung, MICCAI 2023, equations 3 and 4.
"""

from collections.abc import Sequence

import torch
from jaxtyping import Bool, Float
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


def attribute_weights(
    ratings: Float[Tensor, "batch attributes"], counted: Bool[Tensor, "batch attributes"] | None = None
) -> Float[Tensor, "batch attributes"]:
    """Return the attributes' weights w (1): the softmax of the ratings, over those that count for a nodule.

    Args:
        ratings: As they are, or as `presence` has them.
        counted: Which count; None counts all. Where none does, all weigh alike, and `attribute_loss` is zero.

    >>> attribute_weights(torch.tensor([[3.0, 3.0, 5.0]]), torch.tensor([[True, True, False]]))
    tensor([[0.5000, 0.5000, 0.0000]])
    """
    return (ratings if counted is None else ratings.masked_fill(~counted, _lowest(ratings))).softmax(dim=1)


def attribute_loss(
    features: Float[Tensor, "batch rows width"],
    attributes: Float[Tensor, "attributes width"],
    weights: Float[Tensor, "batch attributes"],
    logit_scale: Float[Tensor, ""],
    variant: str = "soft_target",
    counted: Bool[Tensor, "batch attributes"] | None = None,
) -> Float[Tensor, " batch"]:
    """Return L_IA (3) if the rows are an image's groups, L_CA (4) if they are its class features.

    An attribute that does not count for a nodule is as if the task did not have it there: its text is no candidate of
    the softmax, and no term of the sum. Merely to give it no weight would teach that it is far from the image.

    Args:
        features: Of any length.
        attributes: Text features A_m, of length one.
        weights: w, of sum one.
        logit_scale: ln(1 / tau).
        variant: `"soft_target"`, `"literal"` or `"scaled_logit"`; see the top of clip_lung.py.
        counted: Which attributes count for a nodule; None counts all. `weights` are then those of
            `attribute_weights` with the same. A nodule for which none counts adds nothing.
    """
    if variant == "literal":
        weighted = functional.normalize(weights[..., None] * attributes, dim=-1)
        return -_log_shares(cosine_logits(features, weighted[:, None], logit_scale), counted).sum(dim=(1, 2))
    logits = cosine_logits(features, attributes, logit_scale)
    if variant == "scaled_logit":
        return -_log_shares(weights[:, None] * logits, counted).sum(dim=(1, 2))
    return -(weights[:, None] * _log_shares(logits, counted)).sum(dim=2).mean(dim=1)


def _lowest(of: Tensor) -> float:
    """Return what a softmax makes exactly zero, and still a number where it is all there is: minus infinity is not."""
    return torch.finfo(of.dtype).min


def _log_shares(
    logits: Float[Tensor, "batch rows attributes"], counted: Bool[Tensor, "batch attributes"] | None
) -> Float[Tensor, "batch rows attributes"]:
    """Return the log softmax over the attributes that count, and zero for the others, which no gradient reaches."""
    if counted is None:
        return logits.log_softmax(dim=-1)
    left_out = ~counted[:, None]
    return logits.masked_fill(left_out, _lowest(logits)).log_softmax(dim=-1).masked_fill(left_out, 0)
