"""What a text tower is, read from its configuration alone: kind, size, activation, context and tokenizer.

The activation is what the configuration says and nothing else: the same weights load under GELU and QuickGELU without
a word, and one of the two is slightly wrong everywhere. All that we do not read must stand at open_clip's default, so
that a tower that differs from CLIP's in any other way is refused by name and never nearly computed.
"""

import importlib.util
from collections.abc import Mapping
from dataclasses import fields
from typing import Literal

from benchmark.contracts import InputError, Json, TextConfig, TextTowerSpec
from methods._named import NAMED, known
from methods._place import Place

TOWERS = {
    "openai": "OpenAI's CLIP ViT-B/16; the paper preset's",
    "random": "CLIP's architecture without knowledge; smoke's and quick's",
    **{key: f"{named.title}: hf-hub:{named.repository}" for key, named in NAMED.items()},
}
_IDLE = ("eos_id", "pad_id", "hf_model_pretrained", "hf_proj_type", "hf_pooler_type")  # without effect on CLIP's kind
_POOLERS = ("mean_pooler", "cls_pooler", "cls_last_hidden_state_pooler")
_ELSE = "choose an open_clip model whose text side is CLIP's causal transformer or a BERT"


def describe(name: str) -> TextTowerSpec | None:
    """Return what the text tower at a place is; None where the name is no place.

    Args:
        name: `hf-hub:OWNER/NAME[@REVISION]`, `local-dir:PATH`, or a short name.

    Raises:
        InputError: It is not there, has no configuration, or is of a kind that cannot be used.
    """
    place = Place.of(name)
    if place is None:
        return None
    content = place.json("open_clip_config.json")
    if content is not None:
        model = content.get("model_cfg", content)
        spec = _open_clip(place, model if isinstance(model, dict) else {}, text_cfg(place))
    else:
        spec = _transformers(place, place.json("config.json"))
    stated, config = known(place.repository, place.revision), spec.full_config
    for what, wanted, found in (
        ("size (width, layers, heads)", stated.size, (spec.width, spec.layers, spec.heads)),
        ("activation", stated.activation, config.activation),
    ):
        if wanted and wanted != found:
            raise InputError(
                f"{place.title} has the {what} {found} and was known with {wanted}, so it is another model by now; "
                "name the revision that you want behind an @"
            )
    return spec


def _open_clip(place: Place, model: Mapping[str, Json], text: Mapping[str, Json]) -> TextTowerSpec:
    """Read open_clip's model_cfg."""
    import open_clip

    if not text:
        raise InputError(f"{place.title} has no text tower (no text_cfg), it sees images alone; {_ELSE}")
    for key, kind in (("multimodal_cfg", "CoCa"), ("init_logit_bias", "SigLIP")):
        if model.get(key) is not None:
            raise InputError(f"{place.title} is a {kind} ({key}), whose text tower is none of ours; {_ELSE}")
    features = _whole(place, model, "embed_dim")
    if text.get("hf_model_name"):
        return _bert(place, text, features)
    defaults = {field.name: field.default for field in fields(open_clip.CLIPTextCfg)}
    read = ("context_length", "vocab_size", "width", "heads", "layers", "mlp_ratio", *_IDLE)
    odd = [key for key, value in text.items() if key not in read and (value or None) != (defaults.get(key) or None)]
    if text.get("vocab_size", defaults["vocab_size"]) != defaults["vocab_size"]:
        odd.append("vocab_size")
    if odd:
        said = ", ".join(f"{key} = {text[key]!r}" for key in odd)
        raise InputError(f"the text tower of {place.title} is not CLIP's causal transformer ({said}); {_ELSE}")
    width, layers, heads, context = (
        _whole(place, text, key, defaults[key]) for key in ("width", "layers", "heads", "context_length")
    )
    ratio, quick = text.get("mlp_ratio", defaults["mlp_ratio"]), model.get("quick_gelu", False)
    if not isinstance(ratio, int | float) or not isinstance(quick, bool):
        raise InputError(f"{place.title} has a damaged configuration (mlp_ratio, quick_gelu); get it anew")
    config = TextConfig(features, "quick_gelu" if quick else "gelu", int(width * ratio), context)
    return _spec(place, "causal", (width, layers, heads), config)


def _transformers(place: Place, content: Mapping[str, Json] | None) -> TextTowerSpec:
    """Read the config.json of a CLIPModel in transformers, which leaves out what is as CLIP's ViT-B/32 has it."""
    if content is None or content.get("model_type") != "clip":
        raise InputError(
            f"{place.title} has no open_clip_config.json, nor a config.json of CLIP, so nobody can tell its text "
            f"tower's size and activation; {_ELSE}"
        )
    parts = [part for key in ("text_config", "text_config_dict") if isinstance(part := content.get(key), dict)]
    text = {key: value for part in parts for key, value in part.items()}
    for key, usual in (("layer_norm_eps", 1e-5), ("vocab_size", 49408)):
        if text.get(key, usual) != usual:
            raise InputError(f"the text tower of {place.title} is not CLIP's ({key} = {text[key]!r}); {_ELSE}")
    activation = text.get("hidden_act", "quick_gelu")
    if activation not in ("gelu", "quick_gelu"):
        raise InputError(f"the text tower of {place.title} has the activation {activation!r}; {_ELSE}")
    sizes = {"hidden_size": 512, "num_hidden_layers": 12, "num_attention_heads": 8}
    width, layers, heads = (_whole(place, text, key, usual) for key, usual in sizes.items())
    hidden = _whole(place, text, "intermediate_size", 2048)
    features = _whole(place, content, "projection_dim", 512)
    config = TextConfig(features, activation, hidden, _whole(place, text, "max_position_embeddings", 77))
    return _spec(place, "causal", (width, layers, heads), config)


def _bert(place: Place, text: Mapping[str, Json], features: int) -> TextTowerSpec:
    """Read a text_cfg of open_clip that names a model of transformers, and that model's own config.json."""
    if importlib.util.find_spec("transformers") is None:
        raise InputError(
            f"the text tower of {place.title} is a BERT, which needs the package transformers: install it "
            "(pip install transformers), or choose a tower of CLIP's own kind"
        )
    base = bert_place(place, text)
    content = base.json("config.json")
    if content is None or content.get("model_type") != "bert":
        raise InputError(f"the text tower of {place.title} is made of {base.title}, which is no BERT; {_ELSE}")
    pooler, head = text.get("hf_pooler_type", "mean_pooler"), text.get("hf_proj_type", "mlp")
    odd = [key for key in ("tokenizer_mode", "tokenizer_kwargs", "output_tokens") if text.get(key)]
    if pooler not in _POOLERS or head not in ("mlp", "linear", None) or content.get("hidden_act", "gelu") != "gelu":
        odd.append("hf_pooler_type, hf_proj_type or hidden_act")
    if odd:
        raise InputError(f"the BERT of {place.title} is of a kind that cannot be used ({', '.join(odd)}); {_ELSE}")
    sizes = {"hidden_size": 768, "num_hidden_layers": 12, "num_attention_heads": 12}
    width, layers, heads = (_whole(place, content, key, usual) for key, usual in sizes.items())
    config = TextConfig(
        features,
        activation="gelu",
        hidden=_whole(place, content, "intermediate_size", 3072),
        context_length=_whole(place, text, "context_length", 77),
        vocabulary=_whole(place, content, "vocab_size", 30522),
        tokenizer=str(text.get("hf_tokenizer_name") or text["hf_model_name"]),
        pooler=str(pooler),
        head=str(head or ""),
    )
    return _spec(place, "bert", (width, layers, heads), config)


def bert_place(place: Place, text: Mapping[str, Json]) -> Place:
    """Return where the configuration of a tower's BERT is: beside the weights in a folder, else where it is named."""
    if place.folder is not None and (place.json("config.json") or {}).get("model_type") == "bert":
        return place
    return Place.of(f"hf-hub:{text['hf_model_name']}") or place


def text_cfg(place: Place) -> dict[str, Json]:
    """Return the text part of open_clip's configuration at a place."""
    content = place.json("open_clip_config.json") or {}
    model = content.get("model_cfg", content)
    found = model.get("text_cfg") if isinstance(model, dict) else None
    return found if isinstance(found, dict) else {}


def _spec(
    place: Place, kind: Literal["causal", "bert"], size: tuple[int, int, int], config: TextConfig
) -> TextTowerSpec:
    width, layers, heads = size
    if width % heads:
        raise InputError(f"the text tower of {place.title} has the width {width}, no multiple of its {heads} heads")
    return TextTowerSpec(kind, place.path, width, layers, heads, config=config)


def _whole(place: Place, content: Mapping[str, Json], key: str, usual: object = None) -> int:
    """Return a whole number of 1 or more."""
    value = content.get(key, usual)
    if type(value) is not int or value < 1:
        raise InputError(f"the configuration of {place.title} says {key} = {value!r}, not a whole number; get it anew")
    return value
