"""What the methods that learn their prompts share: a context that every image moves, and what they ask of a task.

Source: Zhou et al., Conditional prompt learning for vision-language models, CVPR 2022 (the meta-net and its size).
"""

from collections.abc import Sequence

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn
from torch.nn import functional

from benchmark.contracts import Task, Unsupported
from methods._text import PromptEncoder
from methods._tower import TextTower


def meta_net(width: int) -> nn.Sequential:
    """Return the small network from image features to a shift of context tokens, with width / 16 hidden units.

    Raises:
        Unsupported: The width is no multiple of 16.
    """
    if width % 16:
        raise Unsupported(f"learned prompts need an image encoder whose width is a multiple of 16, not {width}")
    return nn.Sequential(nn.Linear(width, width // 16), nn.ReLU(), nn.Linear(width // 16, width))


class ConditionalPrompts(nn.Module):
    """Prompts "context name." whose learned context tokens each image moves.

    Attributes:
        context: The tokens before an image moves them.
    """

    def __init__(
        self,
        tower: TextTower,
        names: Sequence[str],
        context: Float[Tensor, "tokens width"],
        name_first: bool = False,
    ) -> None:
        """Build prompts and meta-net.

        Args:
            tower: Reads the prompts; it stays frozen.
            names: Of classes or attributes, one prompt each.
            context: The tokens to start from.
            name_first: Make it "name context.".

        Raises:
            ValueError: There is no context, or so much of it that no name fits.
            Unsupported: A name is too long for the rest, or the tower's width is no multiple of 16.
        """
        super().__init__()
        if not len(context):
            raise ValueError("the initial context has no token, so there is nothing to learn; give it a word or more")
        tower.require_room(len(context) + 1)  # and the full stop
        slots = range(len(context))
        self.encode = PromptEncoder(tower, [(n, slots, ".") if name_first else (slots, f"{n}.") for n in names])
        self.context = nn.Parameter(context)
        self.meta_net = meta_net(tower.width)

    def forward(self, features: Float[Tensor, "batch tokens_or_one width"]) -> Float[Tensor, "batch prompts width"]:
        """Return each image's text features, of length one.

        Args:
            features: One vector that moves all tokens, or one for each token. Their lengths do not matter.
        """
        shifts = self.meta_net(functional.normalize(features, dim=-1))
        text_features: Tensor = self.encode(self.context + shifts)
        return text_features


def image_class_loss(
    logits: Float[Tensor, "batch groups classes"], labels: Int[Tensor, " batch"]
) -> Float[Tensor, " batch"]:
    """Return the cross-entropy of every group with its own image's label, averaged over the groups.

    >>> image_class_loss(torch.zeros(1, 16, 3), torch.tensor([2]))
    tensor([1.0986])
    """
    own = labels[:, None].expand(logits.shape[:2])
    return functional.cross_entropy(logits.mT, own, reduction="none").mean(dim=1)


def require_attributes(task: Task) -> None:
    """Refuse a task whose attributes no text can describe, or give the label away.

    Raises:
        Unsupported: There are none, or malignancy, from which the labels are made, is one of them.
    """
    if not task.attribute_names:
        raise Unsupported(
            "CLIP-Lung aligns images with rated attributes, but this task has none; choose another method"
        )
    if "malignancy" in task.attribute_names:
        raise Unsupported("malignancy is among the attributes, but labels are made from it; leave it out")


def require_four_by_four(task: Task) -> None:
    """Refuse images of which the encoder does not make a map of 4 x 4: it halves three times and rounds up.

    Raises:
        Unsupported: The images have another size.
    """
    rows, columns = task.image_shape[1:]
    if (-(-rows // 8), -(-columns // 8)) != (4, 4):
        raise Unsupported(
            f"CLIP-Lung groups a feature map of 4 x 4, which slices of {rows} x {columns} do not give; "
            "resize them to 32 x 32"
        )


def random_context(tokens: int, width: int) -> Float[Tensor, "tokens width"]:
    """Draw context tokens as CoOp does where no words are given, N(0, 0.02), from the global generator."""
    return 0.02 * torch.randn(tokens, width)
