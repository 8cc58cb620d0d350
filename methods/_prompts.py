"""What the methods that learn their prompts share: a context that every image moves, and CLIP-Lung's groups.

Source: Zhou et al., Conditional prompt learning for vision-language models, CVPR 2022 (the meta-net and its size);
Li et al., OrdinalCLIP, NeurIPS 2022 (the loss from text to image).
"""

from collections.abc import Sequence

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn
from torch.nn import functional

from benchmark.contracts import Task, Unsupported
from methods._text import prompt_encoder
from methods._tower import TextTower

GROUPS = 16  # of CLIP-Lung's feature map


def meta_net(width: int, tokens: int | None = None) -> nn.Sequential:
    """Return the small network from image features to a shift of context tokens, with width / 16 hidden units.

    Its last layer starts at zero, so that training starts from the context alone, as CoOp's does. With torch's own
    start and the four hidden units of a width of 64, the shifts were 0.27 a number beside tokens of 0.02: a constant
    that drowned the context, made all class prompts alike (cosines of 0.98 and more) and hardly knew the image.

    Args:
        width: Number of image features.
        tokens: Width of the text tower's tokens; None where it is the same.

    Raises:
        Unsupported: The width is no multiple of 16.
    """
    if width % 16:
        raise Unsupported(f"learned prompts need an image encoder whose width is a multiple of 16, not {width}")
    last = nn.Linear(width // 16, tokens or width)
    nn.init.zeros_(last.weight)
    nn.init.zeros_(last.bias)
    return nn.Sequential(nn.Linear(width, width // 16), nn.ReLU(), last)


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
            Unsupported: A name is too long for the rest, or the number of image features is no multiple of 16.
        """
        super().__init__()
        if not len(context):
            raise ValueError("the initial context has no token, so there is nothing to learn; give it a word or more")
        tower.require_room(len(context) + 1)  # and the full stop
        slots = range(len(context))
        self.encode = prompt_encoder(tower, [(n, slots, ".") if name_first else (slots, f"{n}.") for n in names])
        self.context = nn.Parameter(context)
        self.meta_net = meta_net(tower.features, tower.width)

    def forward(self, features: Float[Tensor, "batch tokens_or_one width"]) -> Float[Tensor, "batch prompts width"]:
        """Return each image's text features, of length one.

        Args:
            features: One vector that moves all tokens, or one for each token. Their lengths do not matter.
        """
        shifts = self.meta_net(functional.normalize(features, dim=-1))
        text_features: Tensor = self.encode(self.context + shifts)
        return text_features


class SharedPrompts(nn.Module):
    """Prompts "context name." whose learned context tokens all images share.

    Attributes:
        context: The tokens.
    """

    def __init__(self, tower: TextTower, names: Sequence[str], context: Float[Tensor, "tokens width"]) -> None:
        """Build prompts.

        Args:
            tower: Reads the prompts; it stays frozen.
            names: Of classes, one prompt each.
            context: The tokens to start from.

        Raises:
            ValueError: There is no context, or so much of it that no name fits.
            Unsupported: A name is too long for the rest.
        """
        super().__init__()
        if not len(context):
            raise ValueError("the initial context has no token, so there is nothing to learn; give it a word or more")
        tower.require_room(len(context) + 1)  # and the full stop
        self.encode = prompt_encoder(tower, [(range(len(context)), f"{name}.") for name in names])
        self.context = nn.Parameter(context)

    def forward(self) -> Float[Tensor, "prompts width"]:
        """Return each prompt's text features, of length one."""
        text_features: Tensor = self.encode(self.context[None])
        return text_features[0]


def image_class_loss(
    logits: Float[Tensor, "batch groups classes"], labels: Int[Tensor, " batch"]
) -> Float[Tensor, " batch"]:
    """Return the cross-entropy of every group with its own image's label, averaged over the groups.

    >>> image_class_loss(torch.zeros(1, 16, 3), torch.tensor([2]))
    tensor([1.0986])
    """
    own = labels[:, None].expand(logits.shape[:2])
    return functional.cross_entropy(logits.mT, own, reduction="none").mean(dim=1)


def text_to_image_loss(logits: Float[Tensor, "batch classes"], labels: Int[Tensor, " batch"]) -> Float[Tensor, ""]:
    """Return the mean over the batch's classes of KL(softmax over images of 10 [y = k] || that of the logits).

    >>> text_to_image_loss(10 * torch.eye(3), torch.arange(3))
    tensor(0.)
    """
    own = functional.one_hot(labels, logits.shape[1])
    targets = (10.0 * own).log_softmax(dim=0)
    divergences = functional.kl_div(logits.log_softmax(dim=0), targets, reduction="none", log_target=True).sum(dim=0)
    present = own.any(dim=0)
    return (divergences * present).sum() / present.sum()


def group_channels(maps: Float[Tensor, "batch width 4 4"]) -> Float[Tensor, "batch 16 width"]:
    """Cut a map into 16 groups of neighbouring channels, each flattened to one vector."""
    return maps.reshape(len(maps), GROUPS, maps.shape[1])


def derangement(count: int, seed: int) -> list[int]:
    """Draw an order in which nothing keeps its place, from a generator of its own.

    >>> derangement(2, seed=0)
    [1, 0]

    Raises:
        Unsupported: There are fewer than two.
    """
    if count < 2:
        raise Unsupported("a single text cannot change places with another, so there is nothing to shuffle")
    generator, places = torch.Generator().manual_seed(seed), torch.arange(count)
    while True:
        order = torch.randperm(count, generator=generator)
        if (order != places).all():
            return [int(place) for place in order]


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
