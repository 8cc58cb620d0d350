"""Prompts through a BERT: each by itself and padded, as open_clip does it, which is slower than a tree of prefixes.

BERT sees its tokens from both sides, so prompts share nothing. What fills the slots enters as token embeddings
(`inputs_embeds`), before BERT adds positions and its first norm, so that fixed texts and learned prompts take one way.
"""

import copy
from collections.abc import Callable, Sequence

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional

from methods._prompt_parts import Prompt, count_slots, symbols
from methods._tower import TextTower


class PaddedEncoder(nn.Module):
    """Does for a BERT what `PromptEncoder` does for CLIP's own tower; neither parameters nor state here either.

    Attributes:
        num_slots: How many slots the prompts have.
    """

    words: Tensor
    is_slot: Tensor
    slots: Tensor
    mask: Tensor
    projection: Tensor | None

    def __init__(self, tower: TextTower, prompts: Sequence[Prompt]) -> None:
        """Lay out the prompts.

        Raises:
            Unsupported: A prompt is longer than the tower's context.
            ValueError: The slots are not numbered 0, 1, 2...
        """
        super().__init__()
        rows = [torch.tensor([tower.tokenizer.sot_token_id, *symbols(tower, prompt)]) for prompt in prompts]
        self.num_slots = count_slots(torch.cat(rows).tolist())
        padded = nn.utils.rnn.pad_sequence(rows, batch_first=True)
        real = nn.utils.rnn.pad_sequence([torch.ones_like(row) for row in rows], batch_first=True)
        buffers = {
            "words": tower.embedding[padded.clamp(min=0)].detach(),
            "is_slot": padded < 0,
            "slots": (~padded).clamp(min=0),
            "mask": real,
            "projection": tower.projection,
        }
        for name, tensor in buffers.items():
            self.register_buffer(name, tensor, persistent=False)
        text = tower.clip.text
        own = {id(p): nn.Parameter(p.detach(), requires_grad=False) for p in text.parameters()}
        self._text = [copy.deepcopy(text, own).eval()]  # in a list: no parameter, no state; the numbers are shared
        self.training = False

    def _apply(self, fn: Callable[[Tensor], Tensor], recurse: bool = True) -> "PaddedEncoder":
        self._text[0]._apply(fn)
        super()._apply(fn, recurse)  # type: ignore[no-untyped-call]
        return self

    def train(self, mode: bool = True) -> "PaddedEncoder":
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
        text, x = self._text[0], self.words.expand(len(slots), -1, -1, -1)
        if self.num_slots:
            x = torch.where(self.is_slot[..., None], slots[:, self.slots], x)
        mask = self.mask.repeat(len(slots), 1)
        out = text.transformer(inputs_embeds=x.flatten(0, 1), attention_mask=mask)
        features: Tensor = text.proj(text.pooler(out, mask))
        if self.projection is not None:
            features = features @ self.projection.mT
        return functional.normalize(features, dim=-1).reshape(len(slots), -1, features.shape[1])
