"""Weights of text towers other than OpenAI's ViT-B/16: the tower that a configuration describes, filled from a file.

Only the text side is built and read. Tensors get the names that OpenAI gave them, in whichever layout they came (of
open_clip's two classes, or of transformers' CLIPModel), so that the same weights have the same hash everywhere.
"""

import hashlib
import re
from collections.abc import Callable, Mapping
from typing import Any

import torch
from torch import Tensor

from benchmark.contracts import InputError, TextTowerSpec
from methods._named import known
from methods._place import Place
from methods._weights import read

NO_IMAGES = {"image_size": 32, "patch_size": 32, "width": 64, "layers": 1}  # an image tower that is thrown away
_RENAMED = {  # transformers' names in CLIPModel: ours
    "text_model.embeddings.token_embedding.weight": "token_embedding.weight",
    "text_model.embeddings.position_embedding.weight": "positional_embedding",
    "text_model.final_layer_norm.": "ln_final.",
    "text_model.encoder.layers.": "transformer.resblocks.",
    ".layer_norm1.": ".ln_1.",
    ".layer_norm2.": ".ln_2.",
    ".mlp.fc1.": ".mlp.c_fc.",
    ".mlp.fc2.": ".mlp.c_proj.",
    ".self_attn.out_proj.": ".attn.out_proj.",
}


def causal_clip(spec: TextTowerSpec) -> Any:
    """Build CLIP's text side as a spec has it, with open_clip's first weights and an image tower to be thrown away."""
    import open_clip

    config = spec.full_config
    text = {
        **{"context_length": config.context_length, "vocab_size": config.vocabulary},
        **{"width": spec.width, "layers": spec.layers, "heads": spec.heads},
        "mlp_ratio": (config.hidden + 0.5) / spec.width,  # which open_clip multiplies and rounds down
    }
    return open_clip.CLIP(config.features, NO_IMAGES, text, quick_gelu=config.activation == "quick_gelu")


def fill(clip: Any, place: Place, tensors: Callable[[Mapping[str, Tensor]], Mapping[str, Tensor]]) -> None:
    """Give a model the weights of a place.

    Args:
        clip: The model; its image tower stays as it is.
        place: Where they are.
        tensors: Takes those of the text side out of a checkpoint, by the model's names.

    Raises:
        InputError: There are none, they are damaged, of another size, or not those that the name stands for.
    """
    file = place.weights()
    again = f"get {file.name} of {place.title} anew, with the configuration that belongs to it"
    found = tensors(read(file, again))
    expected = {name: tensor for name, tensor in clip.state_dict().items() if not name.startswith("visual.")}
    for name in sorted(expected.keys() | found.keys()):
        shapes = [tuple(side[name].shape) if name in side else "absent" for side in (found, expected)]
        if shapes[0] != shapes[1]:
            raise InputError(
                f"{file.name} of {place.title} does not hold the text tower of its configuration ({name} is "
                f"{shapes[0]}, not {shapes[1]}); {again}"
            )
    if bad := [name for name, tensor in found.items() if not torch.isfinite(tensor).all()]:
        raise InputError(f"{file.name} of {place.title} is damaged ({bad[0]} has values that are no numbers); {again}")
    stated = known(place.repository, place.revision).sha256
    if stated:
        with file.open("rb") as content:
            sha256 = hashlib.file_digest(content, "sha256").hexdigest()
        if sha256 != stated:
            raise InputError(
                f"{file.name} of {place.title} has the SHA-256 {sha256[:12]}, and {stated[:12]} is stated for it, so "
                "it is damaged or another model by now; delete it from the hub's cache, or name the revision that you "
                "want behind an @"
            )
    clip.load_state_dict(found, strict=False)  # strict but for the image tower: all names and shapes were compared


def text_tensors(weights: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Return the text tensors and the logit scale of a checkpoint of CLIP, named as OpenAI named them."""
    if any(name.startswith("text_model.") for name in weights):
        found = _from_transformers(weights)
    else:
        found = {name.removeprefix("text."): tensor for name, tensor in weights.items()}
    return {name: tensor for name, tensor in found.items() if not name.startswith(("visual.", "logit_"))} | scale(
        weights
    )


def scale(weights: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Return the logit scale of a checkpoint as a scalar, in the mapping that it has there."""
    return {name: weights[name].reshape(()) for name in ("logit_scale",) if name in weights}


def _from_transformers(weights: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Rename a CLIPModel of transformers: attention in one matrix, the projection as OpenAI lays it."""
    found = {}
    for name, tensor in weights.items():
        query = re.fullmatch(r"text_model\.encoder\.layers\.(\d+)\.self_attn\.q_proj\.(weight|bias)", name)
        if query:
            parts = [weights.get(name.replace(".q_proj.", f".{part}_proj.")) for part in "qkv"]
            attention = torch.cat([part for part in parts if part is not None])
            found[f"transformer.resblocks.{query[1]}.attn.in_proj_{query[2]}"] = attention
        elif name == "text_projection.weight":
            found["text_projection"] = tensor.mT.contiguous()
        elif name.startswith("text_model.") and not re.search(r"\.position_ids$|\.[kv]_proj\.", name):
            for theirs, ours in _RENAMED.items():
                name = name.replace(theirs, ours)
            found[name] = tensor
    return found
