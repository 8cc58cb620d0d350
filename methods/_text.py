"""What the vision-language methods share: prompts through the frozen text tower, and their cosines with images.

CLIP's text tower is causal and its feature is read at the end token. So tokens behind the end token change nothing,
and prompts that begin alike have the same keys and values there. `PromptEncoder` packs all prompts of one image into a
tree of distinct prefixes and sends each node through the tower once: a node sees its ancestors, where a token would see
its predecessors, and takes the positional embedding of its depth. For three classes behind four context tokens that is
15 nodes instead of 231 padded tokens. The result is the plain pass's, up to rounding (tests hold 1e-12 in float64).
"""

import math
from collections.abc import Sequence
from functools import lru_cache
from typing import cast

import torch
from jaxtyping import Bool, Float
from torch import Tensor, nn
from torch.nn import functional

from benchmark.contracts import Task
from methods._blocks import FrozenBlock, FrozenLinear, standardise
from methods._padded import PaddedEncoder
from methods._prompt_parts import Prompt, count_slots, symbols
from methods._tower import TextTower, for_images, load_text_tower

MAX_LOGIT_SCALE = math.log(100)


def shared_tower(task: Task) -> TextTower:
    """Return the task's text tower, whose features are as many as the image encoder's (`_tower.for_images`)."""
    return for_images(load_text_tower(task.text_tower), task.encoder.width)


def bounded(logit_scale: nn.Parameter) -> nn.Parameter:
    """Return a learned ln(1 / tau) after putting it back between 0 (tau = 1) and ln 100, as CLIP's training does.

    The parameter itself is put back, before each use, and not its use: a scale that is only cut off in the forward pass
    has no gradient beyond the bound and never returns.
    """
    with torch.no_grad():
        logit_scale.clamp_(0.0, MAX_LOGIT_SCALE)
    return logit_scale


def cosine_logits(
    image_features: Float[Tensor, "*images features"],
    text_features: Float[Tensor, "*#images classes features"],
    logit_scale: Float[Tensor, ""],
) -> Float[Tensor, "*images classes"]:
    """Return exp(logit_scale) times the cosine of each image with each text.

    Args:
        image_features: Of any length.
        text_features: Of length one; the same for all images, or each image's own.
        logit_scale: ln(1 / tau); see `bounded` where it is learned.

    >>> cosine_logits(torch.tensor([[3.0, 4.0]]), torch.eye(2), torch.tensor(0.0))
    tensor([[0.6000, 0.8000]])
    """
    unit = functional.normalize(image_features, dim=-1)
    cosines = torch.einsum("...d,...kd->...k", unit, text_features)
    return logit_scale.exp() * cosines


def encode_texts(tower: TextTower, texts: Sequence[str]) -> Float[Tensor, "texts features"]:
    """Return the features, of length one, of texts without slots: encoded once per process, and each caller's own.

    Raises:
        Unsupported: A text is longer than the tower's context.
    """
    return _encoded(tower, tuple(texts)).clone()


@lru_cache(maxsize=64)
def _encoded(tower: TextTower, texts: tuple[str, ...]) -> Float[Tensor, "texts features"]:
    no_slots = tower.embedding.new_empty(1, 0, tower.width)
    with torch.no_grad():
        features: Tensor = prompt_encoder(tower, texts)(no_slots)
    return features[0]


def prompt_encoder(tower: TextTower, prompts: Sequence[Prompt]) -> "PromptEncoder | PaddedEncoder":
    """Return what encodes these prompts through a tower of whichever kind."""
    return PaddedEncoder(tower, prompts) if tower.spec.name == "bert" else PromptEncoder(tower, prompts)


def prefix_tree(
    sequences: Sequence[Sequence[int]],
) -> tuple[list[tuple[int, ...]], Bool[Tensor, "nodes nodes"], list[int]]:
    """Merge the common beginnings of sequences.

    Returns:
        The distinct prefixes, those that end in a negative symbol first; which of them (columns) each of them (rows)
        continues, itself included; and the node of each whole sequence.

    >>> prefix_tree([[-1, 7, 9], [-1, 8, 9]])[0]
    [(-1,), (-1, 7), (-1, 8), (-1, 7, 9), (-1, 8, 9)]
    """
    prefixes = {tuple(sequence[: end + 1]) for sequence in sequences for end in range(len(sequence))}
    nodes = sorted(prefixes, key=lambda prefix: (prefix[-1] >= 0, len(prefix), prefix))
    number = {prefix: node for node, prefix in enumerate(nodes)}
    ancestors = torch.zeros(len(nodes), len(nodes), dtype=torch.bool)
    for node, prefix in enumerate(nodes):
        ancestors[node, [number[prefix[: end + 1]] for end in range(len(prefix))]] = True
    return nodes, ancestors, [number[tuple(sequence)] for sequence in sequences]


class PromptEncoder(nn.Module):
    """Encodes a fixed set of prompts, whose slots are filled anew at each call, through the frozen text tower.

    Gradients flow to what fills the slots and to nothing else: the module has neither parameters nor state.
    It computes in the precision of the tower that it was built from, and follows `.to(device)`.

    Attributes:
        num_slots: How many slots the prompts have.
    """

    slots: Tensor
    slot_positions: Tensor
    text: Tensor
    ends: Tensor
    mask: Tensor

    def __init__(self, tower: TextTower, prompts: Sequence[Prompt]) -> None:
        """Grow the tree, and compute all that no slot can change.

        Args:
            tower: The frozen tower.
            prompts: In the order that their features shall have.

        Raises:
            Unsupported: A prompt is longer than the tower's context. The names of the task are at fault: words of
                its own that leave no room for a name, a method refuses beforehand (`TextTower.require_room`).
            ValueError: The slots are not numbered 0, 1, 2...
        """
        super().__init__()
        nodes, ancestors, ends = prefix_tree([symbols(tower, prompt) for prompt in prompts])
        slots = [~prefix[-1] for prefix in nodes if prefix[-1] < 0]
        self.num_slots = count_slots(prefix[-1] for prefix in nodes)

        clip = tower.clip
        positions = clip.positional_embedding[[len(prefix) for prefix in nodes]]
        words = [prefix[-1] for prefix in nodes[len(slots) :]]
        text = clip.token_embedding.weight[words] + positions[len(slots) :]
        start = clip.token_embedding.weight[[tower.tokenizer.sot_token_id]] + clip.positional_embedding[:1]
        hidden = torch.cat([~ancestors, torch.zeros(len(nodes), 1, dtype=torch.bool)], dim=1)  # none hides the start
        buffers = {
            "slots": torch.tensor(slots, dtype=torch.long),
            "slot_positions": positions[: len(slots)],
            "text": text,
            "ends": torch.tensor(ends),
            "mask": positions.new_zeros(hidden.shape).masked_fill(hidden, -math.inf),
        }
        for name, tensor in buffers.items():
            self.register_buffer(name, tensor, persistent=False)

        self.training = False
        self.blocks = nn.ModuleList()
        fixed = torch.cat([text, start])  # before the first block, text nodes do not depend on the slots either
        for block in clip.transformer.resblocks:
            self.blocks.append(FrozenBlock(block, fixed))
            fixed = start = block(start[None])[0]
        projection = clip.text_projection.mT
        if tower.projection is not None:
            projection = tower.projection.to(projection) @ projection
        self.project = FrozenLinear(projection, projection.new_zeros(len(projection)), clip.ln_final)

    def train(self, mode: bool = True) -> "PromptEncoder":
        """Stay in eval mode, whatever the method around it does: the tower is frozen."""
        return super().train(False)

    def forward(self, slots: Float[Tensor, "batch slots width"]) -> Float[Tensor, "batch prompts features"]:
        """Return each prompt's features, scaled to length one.

        Args:
            slots: What to put into the slots: each image's own, or a batch of one for what all images share.

        Raises:
            ValueError: The prompts have another number of slots.
        """
        if slots.shape[1] != self.num_slots:
            raise ValueError(f"the prompts have {self.num_slots} slots, but {slots.shape[1]} embeddings came for them")
        learned = slots[:, self.slots] + self.slot_positions
        x = torch.cat([learned, self.text.expand(len(slots), -1, -1)], dim=1)
        varying, mask = learned, self.mask
        for block in cast(list[FrozenBlock], self.blocks):
            keys, values = block.keys_values(varying)
            if block is self.blocks[-1]:
                x, mask = x[:, self.ends], mask[self.ends]  # nothing else is read
            varying = x = block(x, keys, values, mask)
        return functional.normalize(self.project(standardise(x)), dim=-1)
