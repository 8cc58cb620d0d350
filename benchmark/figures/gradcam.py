"""Grad-CAM: which places of a feature map speak for a decision.

Source: Selvaraju et al., Grad-CAM: Visual explanations from deep networks via gradient-based localization, ICCV 2017,
equations (1) and (2): alpha_k = mean over places of d score / d A_k;  L = ReLU(sum_k alpha_k A_k).
Here A is the last map of the image encoder ([batch, width, 4, 4] for crops of 32 x 32) and the score is the logarithm
of the predicted class's probability, where the paper takes the logit: not every row has logits, every row has
probabilities. The encoder reads slices as channels, so a map has rows and columns and no slices.
"""

from collections.abc import Callable

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional

from benchmark.contracts import Method
from benchmark.metrics import decide

Score = Callable[[Tensor], Tensor]
"""From images [batch, slices, rows, columns] to a number for each [batch]."""

_AT_ONCE = 256


def grad_cam(
    layer: nn.Module, score: Score, images: Float[Tensor, "batch slices rows columns"]
) -> Float[Tensor, "batch height width"]:
    """Return the map of every image, at the resolution of the layer's output; nothing is below zero.

    Neither weights nor their gradients change, and gradients are taken even where the caller has switched them off. An
    image's score must depend on its own map alone, as it does in eval mode.

    Args:
        layer: Its output, [batch, channels, height, width], is what is explained.
        score: Calls the layer once.
        images: What the score is of.

    Raises:
        ValueError: The score does not call the layer exactly once, or does not depend on its output by a gradient.
    """
    found: list[Tensor] = []

    def cut(_: nn.Module, inputs: tuple[Tensor, ...], output: Tensor) -> Tensor:
        exact = torch.promote_types(output.dtype, torch.float32)  # a card's bfloat16 is too coarse for a mean
        found.append(output.detach().to(exact).requires_grad_())  # no gradient is wanted below it
        return found[-1]

    handle = layer.register_forward_hook(cut)
    try:
        with torch.enable_grad():
            scores = score(images)
            total = scores.sum()
    finally:
        handle.remove()
    if len(found) != 1:
        raise ValueError(f"the score calls the layer {len(found)} times, and a map is of one call")
    (maps,) = found
    if not total.requires_grad:
        raise ValueError("the score has no gradient: it does not depend on the layer, or was computed without one")
    (slopes,) = torch.autograd.grad(total, maps)
    weights = slopes.mean(dim=(2, 3), keepdim=True)
    return (weights * maps.detach()).sum(dim=1).relu()


def upsampled(
    maps: Float[Tensor, "batch height width"], rows: int, columns: int
) -> Float[Tensor, "batch rows columns"]:
    """Bring maps to the size of a slice, bilinearly; a map's cells are squares of it, with their values midway."""
    return functional.interpolate(maps[:, None], (rows, columns), mode="bilinear", align_corners=False)[:, 0]


def last_map(method: Method) -> nn.Module:
    """Return the module whose output is the image encoder's last map, `encoder.net` in every row but MV-DAR's.

    Raises:
        ValueError: The method has none, as one with several encoders or one of its own.
    """
    layer = getattr(getattr(method, "encoder", None), "net", None)
    if not isinstance(layer, nn.Module):
        raise ValueError(f"{method.title} has no single image encoder whose map could be explained")
    return layer


def maps_of(
    method: Method,
    images: Float[Tensor, "nodules slices rows columns"],
    diameter_mm: Float[Tensor, " nodules"] | None = None,
    at_once: int = _AT_ONCE,
) -> Float[Tensor, "nodules height width"]:
    """Return the Grad-CAM of what a trained method predicts for each image, on the CPU.

    Args:
        method: On the device of `images`; it is in eval mode afterwards.
        images: Intensities in [0, 1], of nodules that it was not trained on.
        diameter_mm: For a method that reads it.
        at_once: How many images to take at once.

    Raises:
        ValueError: Its map cannot be explained: see `last_map` and `grad_cam`.
    """
    layer = last_map(method)
    method.eval()
    read = [images, *([diameter_mm] if method.reads_diameter and diameter_mm is not None else [])]
    parts = [
        grad_cam(layer, lambda given, rest=rest: _predicted(method, given, *rest), part).cpu()  # type: ignore[misc]
        for part, *rest in zip(*(torch.split(tensor, at_once) for tensor in read), strict=True)
    ]
    return torch.cat(parts)


def _predicted(method: Method, *read: Tensor) -> Float[Tensor, " batch"]:
    """Return the log-probability of the class that the method decides for, by its own decoder."""
    proba = method.predict_proba(*read)
    classes = decide(proba.detach().cpu().double().numpy(), method.decoder)
    return proba.log().gather(1, torch.from_numpy(classes).to(proba.device)[:, None])[:, 0]
