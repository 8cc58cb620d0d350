"""Which arithmetic the large networks use: products in bfloat16 on CUDA's tensor cores, float32 everywhere else.

Source: Micikevicius et al., Mixed precision training, ICLR 2018; bfloat16 has float32's range, so no
loss is scaled. Heads and losses stay in float32: what they read is float32 again.
"""

from collections.abc import Callable

import torch
from torch import Tensor

REDUCED = ("cuda",)  # on a CPU without AMX, bfloat16 is slower than float32


def mixed_precision(network: Callable[[Tensor], Tensor], x: Tensor) -> Tensor:
    """Apply a network whose weights stay in float32, and return what it gives in the precision of its input."""
    if x.device.type not in REDUCED:
        return network(x)
    # No cache: within a captured graph, a copy of a weight that was made before would never follow the weight.
    with torch.autocast(x.device.type, torch.bfloat16, cache_enabled=False):
        return network(x).to(x.dtype)
