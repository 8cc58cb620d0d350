"""The frozen transformer of CLIP's text tower, for tokens that form a tree where CLIP's form a row.

Weights are non-persistent buffers: they follow `.to(device)`, and neither an optimiser nor a checkpoint sees them. As
they never change, what can be is computed once: the affine map of a layer norm is multiplied into the linear map behind
it, the attention's scale into the queries, QuickGELU's factor into the weights around it (GELU has none), and for nodes
that are the same at every call the keys and values are kept.
"""

from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional


class FrozenLinear(nn.Module):
    """An affine map, with that of a layer norm before it multiplied in."""

    weight: Tensor
    bias: Tensor

    def __init__(self, weight: Tensor, bias: Tensor, norm: nn.LayerNorm | None = None) -> None:
        super().__init__()
        if norm is not None:
            weight, bias = weight * norm.weight, bias + weight @ norm.bias
        self.register_buffer("weight", weight.detach(), persistent=False)
        self.register_buffer("bias", bias.detach(), persistent=False)

    def forward(self, x: Float[Tensor, "batch nodes inputs"]) -> Float[Tensor, "batch nodes outputs"]:
        return functional.linear(x, self.weight, self.bias)


def standardise(x: Float[Tensor, "batch nodes width"]) -> Float[Tensor, "batch nodes width"]:
    """Apply layer norm without its affine map."""
    return functional.layer_norm(x, x.shape[-1:])


class FrozenBlock(nn.Module):
    """One residual block of the tower."""

    fixed: Tensor

    def __init__(self, block: Any, fixed: Float[Tensor, "nodes width"]) -> None:
        """Take over open_clip's block.

        Args:
            block: With QuickGELU or GELU.
            fixed: The inputs of nodes that are the same at every call.
        """
        super().__init__()
        weight, bias = block.attn.in_proj_weight, block.attn.in_proj_bias
        width = fixed.shape[1]
        self.heads: int = block.attn.num_heads
        shrink = (width // self.heads) ** -0.5
        self.query = FrozenLinear(weight[:width] * shrink, bias[:width] * shrink, block.ln_1)
        self.key_value = FrozenLinear(weight[width:], bias[width:], block.ln_1)
        self.out = FrozenLinear(block.attn.out_proj.weight, block.attn.out_proj.bias)
        # QuickGELU: h sigmoid(1.702 h) = silu(1.702 h) / 1.702, and silu is one kernel instead of three.
        exact = isinstance(block.mlp.gelu, nn.GELU)
        self.activation = functional.gelu if exact else functional.silu
        factor = 1.0 if exact else 1.702
        self.expand = FrozenLinear(block.mlp.c_fc.weight * factor, block.mlp.c_fc.bias * factor, block.ln_2)
        self.contract = FrozenLinear(block.mlp.c_proj.weight / factor, block.mlp.c_proj.bias)
        self.register_buffer("fixed", self.key_value(standardise(fixed[None])), persistent=False)

    def keys_values(
        self, x: Float[Tensor, "batch nodes width"]
    ) -> tuple[Float[Tensor, "batch heads all_nodes head"], Float[Tensor, "batch heads all_nodes head"]]:
        """Return keys and values of these nodes, then of the fixed ones."""
        both = torch.cat([self.key_value(standardise(x)), self.fixed.expand(len(x), -1, -1)], dim=1)
        keys, values = both.reshape(*both.shape[:2], 2, self.heads, -1).permute(2, 0, 3, 1, 4)
        return keys, values

    def forward(
        self,
        x: Float[Tensor, "batch nodes width"],
        keys: Float[Tensor, "batch heads all_nodes head"],
        values: Float[Tensor, "batch heads all_nodes head"],
        mask: Float[Tensor, "nodes all_nodes"],
    ) -> Float[Tensor, "batch nodes width"]:
        """Return the block's output at these nodes, which look at all nodes that the mask does not hide."""
        queries = self.query(standardise(x)).reshape(*x.shape[:2], self.heads, -1).transpose(1, 2)
        weights = (queries @ keys.mT + mask).softmax(dim=-1)
        x = x + self.out((weights @ values).transpose(1, 2).flatten(2))
        hidden = self.activation(self.expand(standardise(x)))
        out: Tensor = x + self.contract(hidden)
        return out
