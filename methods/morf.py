"""MORF, meta ordinal regression forest: CORF whose trees are weighted by a network that learns to. A reconstruction.

Paper: Lei, Zhu, Zhang, Shan, Meta ordinal regression forest for medical image classification with ordinal labels,
IEEE/CAA JAS 9(7):1233-1247, 2022, arXiv 2203.07725; earlier arXiv 2012.03480. Of lung nodules CLIP-Lung prints no MORF.

Symbols: as in corf.py, and  R_r -> a tree's loss, mean over nodules;  V(R; w) -> weigher, a network from a number to a
    number in (0, 1);  theta -> weight and bias of the layer of units;  a -> virtual_step;  G -> group.
    theta' = theta - a grad_theta mean_r V(R_r; w) R_r -> `virtual_step`;  the loss of the forest at theta' on other
    nodules teaches w -> "meta";  mean_r V(R_r; w) R_r, with V as it is, teaches all else -> "forest".
A reconstruction: only abstracts were read, and no code was found. From them: a network (TWW-Net) that maps each tree's
loss to its weight; a module (GFS) that draws the features of the split nodes anew, from groups; and that backbone and
TWW-Net are trained in turn, by meta-learning. Our readings:
    GFS: each split node of a tree has a group of G units of its own, CORF's unit first. In training each step draws one
    of them for every node, and once more for the meta loss. When leaves are estimated and when it predicts, a node
    reads the mean of its group. G = 1 is GFS off.
    The meta step is made inside `loss`: every second nodule of the batch for the virtual step; the others, training
    nodules too, for the meta loss, in which each class present has the same weight. Only theta moves virtually, on
    features that stay (to bound the cost). theta' depends on w through V alone: the meta loss has the derivative -a/R
    grad(meta loss at theta') . grad(R_r at theta) by V_r, which first derivatives make; for this theta it is exact.
    The term "meta" has the meta loss as its value and that derivative as its gradient, by w alone.
    w is trained by the same optimiser in the same step, so theta steps with V from before w's step, not after.
Deviations: beyond those readings not known; the abstract's second-order gradients through the backbone are left out.
Defaults: group = 4 (all of 128 units in 31 nodes, but four); hidden = 100 (Meta-Weight-Net, Shu et al., NeurIPS 2019,
    arXiv 1902.07379); virtual_step = 0.1, ours; the forest's are CORF's.
Worth knowing: V starts near 1/2, which halves CORF's loss until it has learned otherwise. With V = 1 and group = 1 it
    is CORF, bit for bit.
"""

from collections.abc import Callable
from typing import TypeAlias

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn

from benchmark.contracts import Batch, Task
from methods._forest import mix, route, tree_losses
from methods._forest_method import ForestMethod

Layer: TypeAlias = tuple[Tensor, ...]  # weight and bias


def balanced(labels: Int[Tensor, " batch"], num_classes: int) -> Float[Tensor, " batch"]:
    """Return weights of sum one that give every class present the same share.

    >>> balanced(torch.tensor([0, 0, 2]), 3)
    tensor([0.2500, 0.2500, 0.5000])
    """
    counts = nn.functional.one_hot(labels, num_classes).sum(dim=0)
    return 1 / (counts[labels] * (counts > 0).sum())


def virtual_step(
    losses_of: Callable[[Layer], Tensor],
    meta_loss_of: Callable[[Layer], Tensor],
    layer: Layer,
    weights: Float[Tensor, " trees"],
    step: float,
) -> tuple[Float[Tensor, ""], Float[Tensor, " trees"]]:
    """Return the meta loss after a step down the weighted mean of the trees' losses, and its gradient by the weights.

    Args:
        losses_of: From the layer to each tree's loss on the nodules that the step is made on.
        meta_loss_of: From the layer to the forest's loss on others.
        layer: Where the step begins.
        weights: Of the trees.
        step: Its length.
    """
    with torch.enable_grad():
        start = tuple(part.detach().requires_grad_() for part in layer)
        weights = weights.detach().requires_grad_()
        downhill = torch.autograd.grad((weights * losses_of(start)).mean(), start, create_graph=True)
        value = meta_loss_of(tuple(part - step * slope for part, slope in zip(start, downhill, strict=True)))
        (slopes,) = torch.autograd.grad(value, weights)
    return value.detach(), slopes


class MetaForest(ForestMethod):
    """CORF with a weight for each tree's loss and with units drawn anew each step.

    Args:
        task: What to work on.
        trees: Number of trees.
        depth: Split nodes from root to leaf; a tree has 2^depth leaves.
        units: Width of the layer whose outputs the split nodes read.
        leaf_updates: Steps of each re-estimation of the leaves.
        leaf: `"bernoulli"` or `"categorical"`.
        group: Units that a split node draws from; 1 makes them CORF's.
        hidden: Width of the network that weighs the trees.
        virtual_step: Length of the step after which the weights are judged.
    """

    title = "MORF (reconstruction)"
    groups: Tensor

    def __init__(
        self,
        task: Task,
        trees: int = 5,
        depth: int = 5,
        units: int = 128,
        leaf_updates: int = 20,
        leaf: str = "bernoulli",
        group: int = 4,
        hidden: int = 100,
        virtual_step: float = 0.1,
    ) -> None:
        super().__init__(task, trees, depth, units, leaf_updates, leaf)
        splits = 2**depth - 1
        if not 1 <= group <= units // splits:
            raise ValueError(f"MORF's {group=} must be 1 to {units // splits}: {splits} nodes share {units} units")
        self.virtual_step = virtual_step
        # After CORF's own draws, so that encoder, layer, first units and leaves start as CORF's do.
        self.register_buffer("groups", torch.stack([_grouped(own, units, group) for own in self.node_maps]))
        self.weigher = nn.Sequential(nn.Linear(1, hidden), nn.ReLU(), nn.Linear(hidden, 1), nn.Sigmoid())

    def scores(self, units: Float[Tensor, "batch units"]) -> Float[Tensor, "batch trees splits"]:
        """Return what each split node reads where nothing is drawn: the mean of its group."""
        return units[:, self.groups].mean(dim=3)

    def draw(self) -> Int[Tensor, "twice trees splits"]:
        """Return a unit for every split node, for the step and for its meta loss, from torch's global generator."""
        places = torch.randint(self.groups.shape[2], (2, *self.groups.shape[:2], 1), device=self.groups.device)
        return self.groups.expand(2, -1, -1, -1).gather(3, places)[..., 0]

    def weigh(self, losses: Float[Tensor, " trees"]) -> Float[Tensor, " trees"]:
        """Return each tree's weight, from its loss."""
        weights: Tensor = self.weigher(losses[:, None])
        return weights[:, 0]

    def loss(self, batch: Batch) -> dict[str, Tensor]:
        """Return the trees' weighted loss with the weights as they are, and the meta loss for the weights alone."""
        step, judged = self.draw()
        features, targets = self.encoder.pooled(batch.images), self.targets(batch.labels)
        losses = self._losses(self.head(features)[:, step], targets)
        weights = self.weigh(losses.mean(dim=0).detach()).detach()
        return {"forest": (weights * losses).mean(), "meta": self._meta(features.detach(), batch, step, judged)}

    def _losses(self, scores: Float[Tensor, "batch trees splits"], targets: Tensor) -> Float[Tensor, "batch trees"]:
        return tree_losses(mix(route(scores), self.leaves), targets)

    def _meta(
        self,
        features: Float[Tensor, "batch features"],
        batch: Batch,
        step: Int[Tensor, "trees splits"],
        judged: Int[Tensor, "trees splits"],
    ) -> Float[Tensor, ""]:
        """Return a term whose value is the meta loss, and whose gradient is its own by the weigher."""
        targets, others = self.targets(batch.labels), slice(1, None, 2)
        share = balanced(batch.labels[others], self.num_classes)

        def losses_of(layer: Layer) -> Tensor:
            units = nn.functional.linear(features[::2], *layer)
            return self._losses(units[:, step], targets[::2]).mean(dim=0)

        def meta_loss_of(layer: Layer) -> Tensor:
            units = nn.functional.linear(features[others], *layer)
            return (share * self._losses(units[:, judged], targets[others]).mean(dim=1)).sum()

        layer = (self.head.weight.detach(), self.head.bias.detach())
        weights = self.weigh(losses_of(layer))
        now = weights.detach()
        value, slopes = virtual_step(losses_of, meta_loss_of, layer, now, self.virtual_step)
        return value + (slopes * (weights - now)).sum()


def _grouped(own: Int[Tensor, " splits"], units: int, group: int) -> Int[Tensor, "splits group"]:
    """Put units that no node of the tree reads beside each node's own."""
    free = torch.ones(units, dtype=torch.bool).index_fill(0, own, False).nonzero()[:, 0]
    added = free[torch.randperm(len(free))][: len(own) * (group - 1)]
    return torch.cat([own[:, None], added.reshape(len(own), group - 1)], dim=1)
