"""What the ordinal forests share: encoder, units, trees with leaves that answer "is the class above k?", and decoding.

Source: Zhu et al., Convolutional ordinal regression forest, IEEE TNNLS 2022; readings and defaults are in corf.py.
"""

from collections.abc import Iterable

import torch
from jaxtyping import Float
from torch import Tensor, nn

from benchmark.contracts import Batch, Method, Task
from methods._encoder import Encoder
from methods._forest import above_floor, forest_loss, mix, node_maps, route, update_leaves

LEAVES = ("bernoulli", "categorical")


def answers_of(
    class_proba: Float[Tensor, "*axes classes"], leaf: str = "bernoulli"
) -> Float[Tensor, "*axes questions answers"]:
    """Return the answers (no, yes) to "above c?" for c = 0..K-2, or the one question "which class?".

    >>> answers_of(torch.tensor([0.0, 1.0, 0.0]))
    tensor([[0., 1.],
            [1., 0.]])
    """
    if leaf == "categorical":
        return class_proba[..., None, :]
    at_most = class_proba.cumsum(dim=-1)[..., :-1]
    return torch.stack([at_most, 1 - at_most], dim=-1)


def log_probs(
    routing: Float[Tensor, "batch trees leaves"], leaves: Float[Tensor, "trees leaves questions answers"]
) -> Float[Tensor, "batch classes"]:
    """Return the forest's log-probabilities of the classes.

    >>> log_probs(torch.ones(1, 1, 1), torch.tensor([[[[0.25, 0.75], [0.5, 0.5]]]])).exp()
    tensor([[0.2500, 0.2500, 0.5000]])
    """
    forest = mix(routing, leaves).mean(dim=1)
    if forest.shape[1] == 1:  # one question: its answers are the classes
        return above_floor(forest[:, 0]).log()
    above = torch.cummin(forest[:, :, 1], dim=1).values
    edge = above[:, :1]
    steps = torch.cat([torch.ones_like(edge), above], dim=1) - torch.cat([above, torch.zeros_like(edge)], dim=1)
    return above_floor(steps).log()


class ForestMethod(Method):
    """Encoder, spatial mean, one layer of units, a forest on top.

    Args:
        task: What to work on.
        trees: Number of trees.
        depth: Split nodes from root to leaf; a tree has 2^depth leaves.
        units: Width of the layer whose outputs the split nodes read.
        leaf_updates: Steps of each re-estimation of the leaves.
        leaf: `"bernoulli"` or `"categorical"`.
    """

    decoder = "median"
    node_maps: Tensor
    leaves: Tensor

    def __init__(
        self,
        task: Task,
        trees: int = 5,
        depth: int = 5,
        units: int = 128,
        leaf_updates: int = 20,
        leaf: str = "bernoulli",
    ) -> None:
        super().__init__()
        splits = 2**depth - 1
        if min(trees, depth, leaf_updates) < 1:
            raise ValueError(f"{self.title}: {trees=}, {depth=} and {leaf_updates=} must all be at least 1")
        if units < splits:
            raise ValueError(
                f"{self.title}: trees of depth {depth} read {splits} different units; units={units} is too few"
            )
        if leaf not in LEAVES:
            raise ValueError(f"{self.title}: leaf must be one of {', '.join(LEAVES)}, not {leaf!r}")
        self.num_classes = task.num_classes
        self.leaf_updates = leaf_updates
        self.leaf = leaf
        self.encoder = Encoder(task)
        self.head = nn.Linear(self.encoder.width, units)
        # Buffers, so that neither the optimiser nor weight decay touches them. Both are drawn with the fit's seed.
        self.register_buffer("node_maps", node_maps(trees, splits, units))
        classes = torch.distributions.Dirichlet(torch.ones(task.num_classes)).sample((trees, splits + 1))
        self.register_buffer("leaves", above_floor(answers_of(classes, leaf)))

    def scores(self, units: Float[Tensor, "batch units"]) -> Float[Tensor, "batch trees splits"]:
        """Return what each split node reads."""
        return units[:, self.node_maps]

    def routing(self, images: Float[Tensor, "batch slices rows columns"]) -> Float[Tensor, "batch trees leaves"]:
        """Return the probability of reaching each leaf of each tree."""
        return route(self.scores(self.head(self.encoder.pooled(images))))

    def targets(self, labels: Tensor) -> Float[Tensor, "batch questions answers"]:
        """Return the labels as answers."""
        return answers_of(nn.functional.one_hot(labels, self.num_classes).float(), self.leaf)

    def loss(self, batch: Batch) -> dict[str, Tensor]:
        """Return the trees' mean loss, with the leaves as they are."""
        return {"forest": forest_loss(mix(self.routing(batch.images), self.leaves), self.targets(batch.labels))}

    def predict_proba(self, images: Float[Tensor, "batch slices rows columns"]) -> Float[Tensor, "batch classes"]:
        """Return the forest's class probabilities."""
        return log_probs(self.routing(images), self.leaves).exp()

    def after_epoch(self, batches: Iterable[Batch]) -> None:
        """Re-estimate the leaves on the whole training set; of each batch only routing and targets are kept."""
        kept = [(self.routing(batch.images), self.targets(batch.labels)) for batch in batches]
        # In float64 the sums over nodules do not depend on their order as far as float32 can tell.
        routing, targets = (torch.cat(parts).double() for parts in zip(*kept, strict=True))
        leaves = self.leaves.double()
        for _ in range(self.leaf_updates):
            leaves = update_leaves(leaves, routing, targets)
        self.leaves.copy_(leaves)
