"""Text towers that are a BERT (BiomedCLIP's), through open_clip's own wrapper and the optional package transformers."""

from collections.abc import Mapping, Sequence
from typing import Any

from torch import Tensor

from benchmark.contracts import InputError, TextTowerSpec
from methods._checkpoint import NO_IMAGES, fill, scale
from methods._describe import bert_place, text_cfg
from methods._place import Place


def bert_clip(spec: TextTowerSpec, place: Place) -> Any:
    """Build open_clip's CLIP around a BERT and give it the weights of a place.

    Raises:
        InputError: transformers cannot build it, or the weights are others.
    """
    import open_clip

    config, base = spec.full_config, bert_place(place, text_cfg(place)).find(["config.json"])
    text = {
        **{"hf_model_name": str(base.parent if base else ""), "hf_model_pretrained": False},
        **{"hf_pooler_type": config.pooler, "hf_proj_type": config.head or None},
    }
    try:
        clip = open_clip.CustomTextCLIP(config.features, NO_IMAGES, text)
    except Exception as error:  # whatever transformers, in whichever version, makes of it
        raise InputError(
            f"the package transformers cannot build the BERT of {place.title} ({type(error).__name__}: "
            f"{(str(error).splitlines() or [''])[0]}); try another version of it, or a tower of CLIP's own kind"
        ) from error
    clip.context_length = config.context_length  # BERT itself could read more than the tower was trained with
    fill(clip, place, _bert_tensors)
    return clip


def _bert_tensors(weights: Mapping[str, Tensor]) -> dict[str, Tensor]:
    left_out = "text.transformer.embeddings.position_ids"  # older transformers kept 0, 1, 2... as a weight
    text = {n: tensor for n, tensor in weights.items() if n != left_out and not n.startswith(("visual.", "logit_"))}
    return text | scale(weights)


class BertTokens:
    """BERT's tokenizer, with the names that CLIP's has."""

    def __init__(self, spec: TextTowerSpec, place: Place) -> None:
        from open_clip.tokenizer import HFTokenizer

        config = spec.full_config
        source = config.tokenizer if place.folder is None else str(place.folder)
        try:
            self.padded: Any = HFTokenizer(source, context_length=config.context_length)
        except Exception as error:  # no network, no such file, another version: as transformers has it
            raise InputError(
                f"the tokenizer {config.tokenizer} of {place.title} cannot be had ({type(error).__name__}); go online, "
                "or put its files into the tower's folder"
            ) from error
        self.sot_token_id: int = self.padded.tokenizer.cls_token_id
        self.eot_token_id: int = self.padded.tokenizer.sep_token_id

    def encode(self, text: str) -> list[int]:
        """Return the tokens of a text, without start and end tokens."""
        cleaned = self.padded.clean_fn(text)
        return list(self.padded.tokenizer(cleaned, add_special_tokens=False).input_ids)

    def __call__(self, texts: Sequence[str]) -> Tensor:
        """Return the tokens of texts as open_clip's tower takes them."""
        tokens: Tensor = self.padded(list(texts))
        return tokens
