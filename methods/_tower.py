"""The frozen CLIP text tower that every vision-language method of a run shares: where its weights come from.

Source: Radford et al., Learning transferable visual models from natural language supervision, ICML 2021;
open_clip's implementation. `"openai"` is OpenAI's ViT-B/16, whose tower was trained with QuickGELU: under open_clip's
plain name `ViT-B-16` the same file loads without a word and gives slightly wrong features, so the name is fixed here.

A tower is built once per process and never changes: no gradient, eval mode, no part of any method. What a method
keeps of it (see `methods._text`) are non-persistent buffers, so neither optimiser nor checkpoint ever sees them.
"""

import hashlib
import logging
import warnings
import zipfile
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor

from benchmark.contracts import InputError, TextTowerSpec

_ARCHITECTURE = "ViT-B-16-quickgelu"
_HUB_REPOSITORY = "timm/vit_base_patch16_clip_224.openai"
_HUB_FILE = "open_clip_model.safetensors"
_REMEDY = (
    f"get {_HUB_FILE} of {_HUB_REPOSITORY} from the Hugging Face hub, or OpenAI's own ViT-B-16.pt, "
    "and name it with --text-tower PATH"
)


@dataclass(frozen=True, eq=False)
class TextTower:
    """A frozen text tower on the CPU. Do not move it: move the modules that were made from it.

    Attributes:
        spec: What it was made from.
        clip: open_clip's CLIP model without its image tower.
        tokenizer: open_clip's byte-pair encoding.
    """

    spec: TextTowerSpec
    clip: Any  # open_clip is untyped
    tokenizer: Any

    @property
    def width(self) -> int:
        """Width of the tokens, and number of text features."""
        return self.spec.width

    def tokenize(self, text: str) -> list[int]:
        """Return the byte-pair tokens of a text, without start and end tokens.

        Raises:
            ValueError: The text spells a start or end token.
        """
        tokens: list[int] = self.tokenizer.encode(text)
        if {self.tokenizer.sot_token_id, self.tokenizer.eot_token_id} & set(tokens):
            raise ValueError(f"prompt text {text!r} spells out CLIP's start or end token; leave that out")
        return tokens

    def embed(self, text: str) -> Float[Tensor, "tokens width"]:
        """Return the token embeddings of a text, e.g. to start learnable context tokens from words."""
        embeddings: Tensor = self.clip.token_embedding.weight[self.tokenize(text)].clone()
        return embeddings

    def facts(self) -> dict[str, Any]:
        """Return what a run's record should keep of it, JSON-able; the hash tells one set of weights from another."""
        projection = self.clip.text_projection.float().contiguous()
        return {
            "name": self.spec.name,
            "width": self.spec.width,
            "layers": self.spec.layers,
            "heads": self.spec.heads,
            "seed": self.spec.seed if self.spec.name == "random" else None,
            "exp_logit_scale": round(float(self.clip.logit_scale.exp()), 4),
            "text_projection_sha256": hashlib.sha256(projection.numpy().tobytes()).hexdigest(),
        }


@cache
def load_text_tower(spec: TextTowerSpec) -> TextTower:
    """Return the tower of a spec; the same object every time in one process.

    Neither reads nor disturbs the global random state.

    Raises:
        InputError: The weights cannot be had: no such file, a damaged one, or the hub does not answer.
        ValueError: These are not the weights that the spec means: another architecture or width, plain GELU, untrained.
    """
    import open_clip  # here: importing open_clip takes seconds that `--list` need not wait for
    from open_clip.transformer import QuickGELU

    with torch.random.fork_rng(devices=[]):
        torch.default_generator.manual_seed(spec.seed)  # torch.manual_seed would reseed every GPU as well
        clip = _random_clip(spec) if spec.name == "random" else _openai_clip(spec)
    if not all(isinstance(block.mlp.gelu, QuickGELU) for block in clip.transformer.resblocks):
        raise ValueError(f"open_clip builds {_ARCHITECTURE} with plain GELU, with which OpenAI's weights go wrong")
    del clip.visual
    clip.requires_grad_(False).eval()
    return TextTower(spec, clip, open_clip.get_tokenizer(_ARCHITECTURE))


def _random_clip(spec: TextTowerSpec) -> Any:
    """Build CLIP's text side in the spec's size, initialised as open_clip does (logit scale ln(1/0.07))."""
    import open_clip

    if min(spec.width, spec.layers, spec.heads) < 1 or spec.width % spec.heads:
        raise ValueError(f"a text tower's width must be a multiple of its heads, not {spec.width} by {spec.heads}")
    config = open_clip.get_model_config(_ARCHITECTURE)
    config["embed_dim"] = spec.width
    config["text_cfg"].update(width=spec.width, layers=spec.layers, heads=spec.heads)
    config["vision_cfg"].update(width=64, layers=1)  # built and thrown away
    return open_clip.CLIP(**config)


def _openai_clip(spec: TextTowerSpec) -> Any:
    """Build ViT-B/16 with OpenAI's weights, checking all that a wrong file would get past open_clip."""
    import open_clip

    clip = open_clip.CLIP(**open_clip.get_model_config(_ARCHITECTURE))
    blocks = clip.transformer.resblocks
    size = (clip.transformer.width, len(blocks), blocks[0].attn.num_heads)
    if size != (spec.width, spec.layers, spec.heads):
        raise ValueError(
            f"OpenAI's text tower has (width, layers, heads) {size}, not {(spec.width, spec.layers, spec.heads)}; "
            "change the text tower's spec, or take the random tower"
        )
    path = Path(spec.path) if spec.path is not None else _hub_file()
    state = _read_state(path)
    _check_state(path, state, clip.state_dict())
    clip.load_state_dict(state)
    return clip


def _hub_file() -> Path:
    """Return the weights in the hub's cache, after downloading them if need be."""
    from huggingface_hub import hf_hub_download

    logging.getLogger("huggingface_hub").setLevel(logging.ERROR)  # a word on each retry would bury ours
    try:
        return Path(hf_hub_download(_HUB_REPOSITORY, _HUB_FILE, local_files_only=True))
    except OSError:  # not in the cache
        pass
    try:
        return Path(hf_hub_download(_HUB_REPOSITORY, _HUB_FILE))
    except Exception as error:  # the hub's client lets through errors of the network, the disk and its own
        raise InputError(
            f"OpenAI's CLIP weights are not in the hub's cache and the hub does not answer: {_REMEDY}"
        ) from error


def _read_state(path: Path) -> dict[str, Tensor]:
    """Read safetensors, a pickled state dict, or OpenAI's TorchScript archive."""
    from open_clip.factory import load_state_dict

    if not path.is_file():
        raise InputError(f"the text tower's weights {path} are not a file: {_REMEDY}")
    try:
        if _is_torchscript(path):  # torch.load refuses these unless it may run any code
            with warnings.catch_warnings():
                warnings.simplefilter("ignore", FutureWarning)  # torch.jit is deprecated; the archive is what it is
                archive: Any = torch.jit.load(path, map_location="cpu")  # type: ignore[no-untyped-call]
            state = archive.state_dict()
            return {name: t for name, t in state.items() if name not in _ARCHIVE_EXTRAS}
        return dict(load_state_dict(str(path)))
    except Exception as error:  # a damaged or foreign file can raise anything in any of the three readers
        raise InputError(f"cannot read CLIP weights from {path}: {_REMEDY}") from error


_ARCHIVE_EXTRAS = ("input_resolution", "context_length", "vocab_size")


def _is_torchscript(path: Path) -> bool:
    if not zipfile.is_zipfile(path):
        return False
    with zipfile.ZipFile(path) as archive:
        return any("/code/" in name for name in archive.namelist())


def _check_state(path: Path, state: dict[str, Tensor], expected: dict[str, Tensor]) -> None:
    """Refuse weights that are not OpenAI's ViT-B/16."""
    for name in sorted(expected.keys() | state.keys()):
        found, needed = (tuple(d[name].shape) if name in d else "absent" for d in (state, expected))
        if found != needed:
            raise ValueError(f"{path} does not hold CLIP ViT-B/16: {name} is {found}, not {needed}; {_REMEDY}")
    projection = state["text_projection"].float()
    if not torch.equal(projection, projection.half().float()):
        # OpenAI released half-precision weights. Others of the same shape were trained with plain GELU.
        raise ValueError(f"{path} fits CLIP ViT-B/16 but is not OpenAI's (its weights are no half floats): {_REMEDY}")
    scale = float(state["logit_scale"].float().exp())
    if abs(scale - 100) > 1:
        raise ValueError(f"{path} holds untrained weights (exp(logit_scale) is {scale:.2f}, not 100): {_REMEDY}")
