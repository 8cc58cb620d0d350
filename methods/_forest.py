"""Differentiable decision forests: soft routing, mixtures of leaves, and the leaf update.

Source: Shen et al., Label distribution learning forests, NIPS 2017; and Deep regression forests, CVPR 2018.

A tree of depth d has 2^d - 1 split nodes in heap order (root 0, children of n: 2n+1 left, 2n+2 right) and 2^d leaves,
left to right. A leaf answers one or more questions, each with a distribution over its answers: K-1 yes-or-no
questions, or one question with K answers. Axes: (batch,) trees, leaves, questions, answers.
"""

import torch
from jaxtyping import Float, Int
from torch import Tensor
from torch.nn import functional

FLOOR = 1e-6  # no leaf rules an answer out


def node_maps(trees: int, splits: int, units: int) -> Int[Tensor, "trees splits"]:
    """Draw for each tree which unit each split node reads, without repeats, from torch's global generator."""
    return torch.stack([torch.randperm(units)[:splits] for _ in range(trees)])


def route(scores: Float[Tensor, "batch trees splits"]) -> Float[Tensor, "batch trees leaves"]:
    """Return the probability of reaching each leaf; a split goes left with probability sigmoid(score).

    >>> route(torch.tensor([[[1.0986123, 0.0, 1.0986123]]]))  # left with 3/4, 1/2, 3/4
    tensor([[[0.3750, 0.3750, 0.1875, 0.0625]]])
    """
    log_left, log_right = functional.logsigmoid(scores), functional.logsigmoid(-scores)
    log_reach = scores.new_zeros(*scores.shape[:2], 1)
    while (width := log_reach.shape[2]) <= scores.shape[2]:
        level = slice(width - 1, 2 * width - 1)  # this level's nodes, one for each place reached so far
        onward = torch.stack([log_left[..., level], log_right[..., level]], dim=-1)
        log_reach = (log_reach[..., None] + onward).flatten(start_dim=2)
    return log_reach.exp()


def mix(
    routing: Float[Tensor, "batch trees leaves"], leaves: Float[Tensor, "trees leaves questions answers"]
) -> Float[Tensor, "batch trees questions answers"]:
    """Return each tree's answers: its leaves, weighted by the routing."""
    return torch.einsum("btl,tlqa->btqa", routing, leaves)


def tree_losses(
    mixed: Float[Tensor, "batch trees questions answers"], targets: Float[Tensor, "batch questions answers"]
) -> Float[Tensor, "batch trees"]:
    """Return each tree's cross-entropy summed over questions."""
    return -(targets[:, None] * mixed.log()).sum(dim=(2, 3))


def forest_loss(
    mixed: Float[Tensor, "batch trees questions answers"], targets: Float[Tensor, "batch questions answers"]
) -> Float[Tensor, ""]:
    """Return the cross-entropy summed over questions, averaged over trees and batch."""
    return tree_losses(mixed, targets).mean()


def above_floor(proba: Float[Tensor, "*axes answers"]) -> Float[Tensor, "*axes answers"]:
    """Lift every probability to at least about FLOOR and normalise."""
    lifted = proba.clamp(min=FLOOR)
    return lifted / lifted.sum(dim=-1, keepdim=True)


def update_leaves(
    leaves: Float[Tensor, "trees leaves questions answers"],
    routing: Float[Tensor, "batch trees leaves"],
    targets: Float[Tensor, "batch questions answers"],
) -> Float[Tensor, "trees leaves questions answers"]:
    """Take one step of expectation-maximisation for a mixture with known weights; it never raises `forest_loss`.

    A leaf that (almost) nothing reaches stays as it is.
    """
    responsibility = targets[:, None] / mix(routing, leaves)
    evidence = leaves * torch.einsum("btl,btqa->tlqa", routing, responsibility)
    total = evidence.sum(dim=-1, keepdim=True)
    return torch.where(total < 1e-12, leaves, above_floor(evidence / total.clamp(min=1e-12)))
