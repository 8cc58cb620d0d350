"""The sixteen turns as NumPy does them, one image at a time: what the batched augmentation must equal."""

import numpy as np
import torch
from torch import Tensor


def turn(images: Tensor, code: int) -> Tensor:
    """Mirror slices, rows and columns by bits 0 to 2, then swap rows and columns by bit 3."""
    turned = np.asarray(images)
    for bit, axis in enumerate((1, 2, 3)):
        if code >> bit & 1:
            turned = np.flip(turned, axis)
    turned = np.swapaxes(turned, 2, 3) if code >> 3 & 1 else turned
    return torch.from_numpy(turned.copy())
