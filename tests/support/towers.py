"""Small text towers on disk, in the layouts that the hub has."""

import gc
import json
from pathlib import Path
from typing import Any

import open_clip
import torch
from torch import Tensor

from benchmark.contracts import TextConfig, TextTowerSpec
from methods._checkpoint import causal_clip
from methods._text import _encoded
from methods._tower import TextTower, for_images, loaded

SMALL = {"width": 16, "heads": 2, "layers": 2, "context_length": 77, "vocab_size": 49408}
IMAGES = {"image_size": 8, "layers": 1, "width": 64, "patch_size": 4}


def model_cfg(quick: bool = True, features: int = 24, **text: Any) -> dict[str, Any]:
    """Return open_clip's model_cfg of a small CLIP whose text features are more than its text width."""
    config = {"embed_dim": features, "vision_cfg": dict(IMAGES), "text_cfg": SMALL | text}
    return config | ({"quick_gelu": True} if quick else {})


def clip_of(config: dict[str, Any]) -> torch.nn.Module:
    """Return a frozen model with every number moved, as weights are after training."""
    generator = torch.Generator().manual_seed(0)
    clip = open_clip.CLIP(**config).requires_grad_(False).eval()
    for parameter in clip.parameters():
        parameter += 0.05 * torch.randn(parameter.shape, generator=generator)
    return clip


def write(
    folder: Path, config: dict[str, Any], state: dict[str, Tensor], name: str = "open_clip_pytorch_model.bin"
) -> str:
    """Write a model as open_clip pushes it to the hub; return what --text-tower takes for it."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "open_clip_config.json").write_text(json.dumps({"model_cfg": config, "preprocess_cfg": {}}))
    torch.save(state, folder / name)
    return f"local-dir:{folder}"


def custom_text(state: dict[str, Tensor]) -> dict[str, Tensor]:
    """Name the tensors as open_clip's CustomTextCLIP does."""
    apart = ("visual.", "logit_scale")
    return {name if name.startswith(apart) else f"text.{name}": tensor for name, tensor in state.items()}


def transformers(clip: torch.nn.Module) -> tuple[dict[str, Any], dict[str, Tensor]]:
    """Return the config.json and the tensors of the same model as transformers' CLIPModel lays them."""
    text, width = clip.transformer.resblocks, clip.transformer.width
    quick = type(text[0].mlp.gelu).__name__ == "QuickGELU"
    config = {
        "model_type": "clip",
        "projection_dim": clip.text_projection.shape[1],
        "text_config": {
            "hidden_size": width,
            "intermediate_size": 4 * width,
            "num_hidden_layers": len(text),
            "num_attention_heads": text[0].attn.num_heads,
            "hidden_act": "quick_gelu" if quick else "gelu",
        },
        "vision_config": {},
    }
    state = {
        "logit_scale": clip.logit_scale,
        "text_projection.weight": clip.text_projection.mT.contiguous(),
        "text_model.embeddings.position_ids": torch.arange(77)[None],
        "text_model.embeddings.token_embedding.weight": clip.token_embedding.weight,
        "text_model.embeddings.position_embedding.weight": clip.positional_embedding,
        "text_model.final_layer_norm.weight": clip.ln_final.weight,
        "text_model.final_layer_norm.bias": clip.ln_final.bias,
        "vision_model.embeddings.class_embedding": torch.zeros(64),
    }
    for number, block in enumerate(text):
        parts = {"layer_norm1": block.ln_1, "layer_norm2": block.ln_2, "self_attn.out_proj": block.attn.out_proj}
        parts |= {"mlp.fc1": block.mlp.c_fc, "mlp.fc2": block.mlp.c_proj}
        at = f"text_model.encoder.layers.{number}"
        for name, part in parts.items():
            state |= {f"{at}.{name}.weight": part.weight, f"{at}.{name}.bias": part.bias}
        for position, name in enumerate("qkv"):
            rows = slice(position * width, (position + 1) * width)
            state[f"{at}.self_attn.{name}_proj.weight"] = block.attn.in_proj_weight[rows].clone()
            state[f"{at}.self_attn.{name}_proj.bias"] = block.attn.in_proj_bias[rows].clone()
    return config, {name: tensor.detach().clone() for name, tensor in state.items()}


def made(width: int, layers: int, activation: str, context: int = 77, features: int = 0, heads: int = 0) -> TextTower:
    """Return a tower in float64 with numbers such as training leaves."""
    config = TextConfig(features or width, activation, 4 * width, context)
    spec = TextTowerSpec("causal", "", width, layers, heads or width // 64, config=config)
    with torch.device("meta"):  # no first weights, which cost more than the rest
        clip = causal_clip(spec)
    del clip.visual
    clip = clip.to_empty(device="cpu").double().requires_grad_(False).eval()
    noise = 0.04 * torch.randn(65_537, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    for number, (name, parameter) in enumerate(clip.named_parameters()):
        repeated = noise.roll(997 * number).repeat(parameter.numel() // len(noise) + 1)[: parameter.numel()]
        parameter.copy_(repeated.view(parameter.shape)).add_("ln_" in name and name.endswith("weight"))
    clip.attn_mask = torch.full((context, context), -torch.inf).triu(1)
    clip.logit_scale.fill_(2.0)
    return TextTower(spec, clip, open_clip.SimpleTokenizer(context_length=context), False)


def let_go() -> None:
    """Forget every tower of this process, and all texts: a command has one tower, the tests of a file make hundreds."""
    _encoded.cache_clear()
    for_images.cache_clear()
    loaded.cache_clear()
    gc.collect()
