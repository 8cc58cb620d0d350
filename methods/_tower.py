"""The frozen CLIP text tower that every vision-language method of a run shares.

Source: Radford et al., Learning transferable visual models from natural language supervision, ICML 2021;
open_clip's implementation. `"openai"` is OpenAI's ViT-B/16, whose tower was trained with QuickGELU: under open_clip's
plain name `ViT-B-16` the same file loads without a word and gives slightly wrong features, so the name is fixed here.

A tower is built once per process and never changes: no gradient, eval mode, no part of any method. What a method
keeps of it (see `methods._text`) are non-persistent buffers, so neither optimiser nor checkpoint ever sees them.

Where its features are not as many as the image encoder's, the tower gets a fixed random projection, once for all rows
(`for_images`). It is frozen as the tower is: a trained one could carry the few texts of a task anywhere, so that every
row would learn class vectors of its own and the texts would mean nothing. It is semi-orthogonal: cosines of texts stay
as they are where it widens, and within some 1 / sqrt(width) where it narrows.
"""

import hashlib
from dataclasses import asdict, dataclass, replace
from functools import cache, cached_property, lru_cache
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor, nn

from benchmark.contracts import InputError, Json, TextTowerSpec, TextWeights
from methods._bert import BertTokens, bert_clip
from methods._checkpoint import causal_clip, fill, text_tensors
from methods._describe import describe
from methods._place import Place
from methods._weights import ARCHITECTURE, openai_weights


@dataclass(frozen=True, eq=False)
class TextTower:
    """A frozen text tower on the CPU. Do not move it: move the modules that were made from it.

    Attributes:
        spec: What it was made from.
        clip: open_clip's CLIP model without its image tower.
        tokenizer: open_clip's byte-pair encoding, or BERT's with the same names.
        published: Whether its file is one whose hash OpenAI published.
        name: Where it came from, for print; empty for OpenAI's ViT-B/16 and the random tower.
        projection: From its features to the image encoder's; None where they are as many.
    """

    spec: TextTowerSpec
    clip: Any  # open_clip is untyped
    tokenizer: Any
    published: bool
    name: str = ""
    projection: Float[Tensor, "image_features text_features"] | None = None

    @property
    def width(self) -> int:
        """Width of the tokens."""
        return self.spec.width

    @property
    def features(self) -> int:
        """Number of features of a text, after the projection."""
        return self.spec.features if self.projection is None else len(self.projection)

    @property
    def embedding(self) -> Float[Tensor, "vocabulary width"]:
        """What each token is before the tower."""
        of_bert = self.spec.name == "bert"
        table = self.clip.text.transformer.get_input_embeddings() if of_bert else self.clip.token_embedding
        weight: Tensor = table.weight
        return weight

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
        return self.embedding[self.tokenize(text)].clone()

    def require_room(self, tokens: int) -> None:
        """Check that a prompt of so many tokens, beside the name in it, can be read.

        Raises:
            ValueError: It cannot, however short the name.
        """
        limit = self.clip.context_length
        if tokens + 3 > limit:  # start, end and one of the name
            raise ValueError(f"a prompt of {tokens} tokens leaves no room for a name: CLIP reads {limit}; shorten it")

    @cached_property
    def sha256(self) -> str:
        """Hash of the text tensors: the same for the same weights, in whatever kind of file they came."""
        found = hashlib.sha256()
        for name, tensor in sorted(self.clip.state_dict().items()):
            values = tensor.detach().float().contiguous().numpy()
            found.update(f"{name} {values.shape} ".encode() + values.astype("<f4", copy=False).tobytes())
        return found.hexdigest()

    @property
    def weights(self) -> TextWeights | None:
        """Which weights a file gave; None for random ones, which their seed names."""
        return None if self.spec.name == "random" else TextWeights(self.sha256, self.published, self.name)

    def metadata(self) -> dict[str, Json]:
        """Return what a record should keep of it; the hash tells one set of weights from another."""
        return {
            "name": self.weights.title if self.weights else "random weights",
            "kind": "bert" if self.spec.name == "bert" else "causal",
            "width": self.spec.width,
            "layers": self.spec.layers,
            "heads": self.spec.heads,
            **asdict(self.spec.full_config),
            "seed": self.spec.seed if self.spec.name == "random" else None,
            "exp_logit_scale": round(float(self.clip.logit_scale.exp()), 4),
            "sha256": self.sha256,
            "projection": self._said_of_projection(),
        }

    def _said_of_projection(self) -> Json:
        if self.projection is None:
            return None
        to, since = self.projection.shape
        content = self.projection.numpy().astype("<f4").tobytes()
        said = {"kind": "semi-orthogonal, random, frozen", "seed": self.spec.seed, "from": since, "to": to}
        return {**said, "sha256": hashlib.sha256(content).hexdigest()}


def load_text_tower(spec: TextTowerSpec) -> TextTower:
    """Return the tower of a spec; the same object every time in one process.

    Neither reads nor disturbs the global random state.

    Raises:
        InputError: OpenAI's weights cannot be had, are others, or have another size or hash than the spec says.
        ValueError: A random tower cannot have that size.
    """
    tower = loaded(replace(spec, weights=""))
    if spec.weights not in ("", tower.sha256):
        raise InputError(
            f"the text tower's weights here ({spec.path or 'from the hub'}) have the hash {tower.sha256[:12]}, those "
            f"of the run {spec.weights[:12]}: give every machine the same file, or another folder with --out"
        )
    return tower


@cache
def loaded(spec: TextTowerSpec) -> TextTower:
    """Return the tower of a spec, whatever its weights are."""
    import open_clip  # here: importing open_clip takes seconds that `--list` need not wait for
    from open_clip.transformer import QuickGELU

    place = _place(spec) if spec.name in ("causal", "bert") else None
    published = False
    tokenizer: Any = open_clip.SimpleTokenizer(context_length=spec.full_config.context_length)
    with torch.random.fork_rng(devices=[]):
        torch.default_generator.manual_seed(spec.seed)  # torch.manual_seed would reseed every GPU as well
        if place is None:
            clip, published = (_random_clip(spec), False) if spec.name == "random" else _openai_clip(spec)
        elif spec.name == "bert":
            clip, tokenizer = bert_clip(spec, place), BertTokens(spec, place)
        else:
            clip = causal_clip(spec)
            fill(clip, place, text_tensors)
    wanted = QuickGELU if spec.full_config.activation == "quick_gelu" else nn.GELU
    if spec.name != "bert" and not all(isinstance(block.mlp.gelu, wanted) for block in clip.transformer.resblocks):
        raise ValueError(f"open_clip builds {ARCHITECTURE} with plain GELU, with which OpenAI's weights go wrong")
    del clip.visual
    clip.requires_grad_(False).eval()
    return TextTower(spec, clip, tokenizer, published, place.title if place else "")


@lru_cache(maxsize=8)
@lru_cache(maxsize=8)
def for_images(tower: TextTower, features: int) -> TextTower:
    """Return the tower with as many text features as the images have; itself where it is so.

    The same object every time in one process. Neither reads nor disturbs the global random state.
    """
    if features == tower.spec.features:
        return tower
    generator = torch.Generator().manual_seed(tower.spec.seed)
    shape = max(features, tower.spec.features), min(features, tower.spec.features)
    drawn = torch.randn(shape, dtype=torch.float64, generator=generator)
    upright, triangle = torch.linalg.qr(drawn)
    upright = (upright * triangle.diagonal().sign()).float()  # without the signs, those of the machine's QR
    return replace(tower, projection=upright if len(upright) == features else upright.mT.contiguous())


def _place(spec: TextTowerSpec) -> Place:
    """Return where a tower stands, whose configuration must be that of the spec."""
    place, found = Place.of(spec.path or ""), describe(spec.path or "")
    if place is None or found is None:
        raise ValueError(f"a text tower called {spec.name!r} needs its place, not {spec.path!r}")
    if found != replace(spec, seed=0, weights=""):
        raise InputError(
            f"the configuration of {place.title} here is not that of the run: give every machine the same files, or "
            "another folder with --out"
        )
    return place


def _random_clip(spec: TextTowerSpec) -> Any:
    """Build CLIP's text side in the spec's size, initialised as open_clip does (logit scale ln(1/0.07))."""
    import open_clip

    if min(spec.width, spec.layers, spec.heads) < 1 or spec.width % spec.heads:
        raise ValueError(f"a text tower's width must be a multiple of its heads, not {spec.width} by {spec.heads}")
    config = open_clip.get_model_config(ARCHITECTURE)
    config["embed_dim"] = spec.width
    config["text_cfg"].update(width=spec.width, layers=spec.layers, heads=spec.heads)
    config["vision_cfg"].update(width=64, layers=1)  # built and thrown away
    return open_clip.CLIP(**config)


def _openai_clip(spec: TextTowerSpec) -> tuple[Any, bool]:
    """Build ViT-B/16 with OpenAI's weights; say whether their file is one that OpenAI published."""
    import open_clip

    clip = open_clip.CLIP(**open_clip.get_model_config(ARCHITECTURE))
    blocks = clip.transformer.resblocks
    size = (clip.transformer.width, len(blocks), blocks[0].attn.num_heads)
    if size != (spec.width, spec.layers, spec.heads):
        raise InputError(
            f"OpenAI's text tower has (width, layers, heads) {size}, not {(spec.width, spec.layers, spec.heads)}; "
            "change the text tower's spec, or take the random tower"
        )
    weights, published = openai_weights(spec.path, clip.state_dict())
    clip.load_state_dict(weights)
    return clip, published
