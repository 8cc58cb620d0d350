"""Several encoders of one kind side by side as one network: each layer is one operation of as many groups.

An encoder of a third of the width has a ninth of the multiplications, so that nine of them cost what one encoder does.
Groups share nothing: each member starts as an encoder of its own does, and learns as if it were alone.
"""

from collections.abc import Sequence
from dataclasses import replace

import torch
from jaxtyping import Float
from torch import Tensor, nn

from benchmark.contracts import EncoderSpec, Task
from methods._encoder import PLAIN_STEM, Encoder
from methods._precision import mixed_precision
from methods._prompts import GROUPS


def narrowed(spec: EncoderSpec, by: int = 3) -> EncoderSpec:
    """Return the encoder with stages so many times narrower.

    The first is rounded up to an even number, since the deep stem halves it; the middle ones to the nearest number; the
    last to the nearest multiple of 16, since learned prompts cut its map into 16 groups of channels.

    >>> narrowed(EncoderSpec()).channels, narrowed(EncoderSpec((8, 16, 32, 64), stem="pooled")).channels
    ((22, 43, 85, 176), (4, 5, 11, 16))
    """
    if by == 1:
        return spec
    first, second, third, last = spec.channels
    width = min(last, GROUPS * max(1, round(last / (GROUPS * by))))
    return replace(spec, channels=(_even(first, by), max(1, round(second / by)), max(1, round(third / by)), width))


def _even(channels: int, by: int) -> int:
    """Return a share of channels, rounded up to an even number."""
    return 2 * -(-channels // (2 * by))


class ParallelEncoders(nn.Module):
    """Some encoders, each of which looks at images of its own.

    Attributes:
        count: How many.
        width: Number of features of each.
        net: All of them; channels of its layers are the members' in their order.
    """

    def __init__(self, task: Task, count: int, narrowing: int = 1) -> None:
        """Build the encoders one after another, and join them.

        Args:
            task: What each encoder is made for.
            count: How many.
            narrowing: How many times narrower than the task's each is.
        """
        super().__init__()
        task = replace(task, encoder=narrowed(task.encoder, narrowing))
        stem = PLAIN_STEM if narrowing == 1 else _even(PLAIN_STEM, narrowing)
        members = [Encoder(task, stem) for _ in range(count)]
        self.count, self.width = count, members[0].width
        self.net = joined([member.net for member in members]).to(memory_format=torch.channels_last)

    def forward(
        self, images: Float[Tensor, "batch encoders_and_slices rows columns"]
    ) -> Float[Tensor, "batch encoders features height width"]:
        """Return each encoder's last feature map, of its own images: those of the first come first."""
        maps = mixed_precision(self.net, images)
        return maps.reshape(len(maps), self.count, self.width, *maps.shape[2:])


def joined(parts: Sequence[nn.Module]) -> nn.Module:
    """Return networks of one architecture as one, whose input and output are theirs one behind another in channels.

    The first of them is changed and becomes part of it.

    Raises:
        ValueError: A layer with parameters is neither a convolution without bias or groups nor a batch normalisation.
    """
    first, count = parts[0], len(parts)
    children = [name for name, _ in first.named_children()]
    if children:
        for name in children:
            setattr(first, name, joined([getattr(part, name) for part in parts]))
        return first
    states = [part.state_dict() for part in parts]
    if not states[0]:
        return first
    if isinstance(first, nn.Conv2d) and first.groups == 1 and first.bias is None:
        channels = count * first.in_channels, count * first.out_channels
        shape = first.kernel_size, first.stride, first.padding, first.dilation
        whole: nn.Module = nn.Conv2d(*channels, *shape, groups=count, bias=False)  # type: ignore[arg-type]
    elif isinstance(first, nn.BatchNorm2d):
        whole = nn.BatchNorm2d(count * first.num_features, first.eps, first.momentum)
    else:
        raise ValueError(f"{type(first).__name__} layers cannot be set side by side as groups of one")
    # Numbers without a shape, such as the count of batches, are the same for all.
    state = {name: torch.cat([s[name] for s in states]) if value.ndim else value for name, value in states[0].items()}
    whole.load_state_dict(state)
    return whole
