"""A stand-in for the package transformers, which is no requirement: so much of it as open_clip's text tower calls.

Its BERT has the parts and the interface of the real one, so that what is tested is our way through open_clip's wrapper.
"""

import json
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

import torch
from torch import Tensor, nn

CONFIG = {
    "model_type": "bert",
    "hidden_size": 32,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "intermediate_size": 48,
    "vocab_size": 40,
    "max_position_embeddings": 24,
    "pad_token_id": 0,
}
WORDS = [
    "[PAD]",
    "[UNK]",
    "[CLS]",
    "[SEP]",
    "[MASK]",
    "a",
    "nodule",
    "image",
    "of",
    "benign",
    "unsure",
    "malignant",
    ".",
]
WORDS += ["subtlety", "internal", "structure", "calcification", "sphericity", "margin", "lobulation", "spiculation"]
WORDS += ["texture", "photo"]


class Block(nn.Module):
    def __init__(self, width: int, heads: int, hidden: int) -> None:
        super().__init__()
        self.attention = nn.MultiheadAttention(width, heads, batch_first=True)
        self.norm, self.last = nn.LayerNorm(width, eps=1e-12), nn.LayerNorm(width, eps=1e-12)
        self.intermediate, self.output = nn.Linear(width, hidden), nn.Linear(hidden, width)

    def forward(self, x: Tensor, hidden: Tensor) -> Tensor:
        x = self.norm(x + self.attention(x, x, x, key_padding_mask=hidden, need_weights=False)[0])
        return self.last(x + self.output(nn.functional.gelu(self.intermediate(x))))


class Bert(nn.Module):
    def __init__(self, config: Any, add_pooling_layer: bool) -> None:
        super().__init__()
        width = config.hidden_size
        self.embeddings = nn.Module()
        self.embeddings.word_embeddings = nn.Embedding(config.vocab_size, width, padding_idx=0)
        self.embeddings.position_embeddings = nn.Embedding(config.max_position_embeddings, width)
        self.embeddings.LayerNorm = nn.LayerNorm(width, eps=1e-12)
        self.encoder = nn.Module()
        shape = width, config.num_attention_heads, config.intermediate_size
        self.encoder.layer = nn.ModuleList(Block(*shape) for _ in range(config.num_hidden_layers))
        self.pooler = nn.Linear(width, width) if add_pooling_layer else None

    def get_input_embeddings(self) -> nn.Embedding:
        return self.embeddings.word_embeddings

    def forward(self, input_ids=None, attention_mask=None, inputs_embeds=None) -> SimpleNamespace:
        x = self.embeddings.word_embeddings(input_ids) if inputs_embeds is None else inputs_embeds
        positions = torch.arange(x.shape[1], device=x.device)
        x = self.embeddings.LayerNorm(x + self.embeddings.position_embeddings(positions))
        for block in self.encoder.layer:
            x = block(x, attention_mask == 0)
        return SimpleNamespace(last_hidden_state=x, pooler_output=None)


class Tokenizer:
    """Whole words by their place in vocab.txt."""

    cls_token_id, sep_token_id, pad_token_id = 2, 3, 0

    def __init__(self, words: list[str]) -> None:
        self.number = {word: number for number, word in enumerate(words)}

    @classmethod
    def from_pretrained(cls, source: str, **_: Any) -> "Tokenizer":
        return cls((Path(source) / "vocab.txt").read_text().split())

    def words(self, text: str) -> list[int]:
        return [self.number.get(word, 1) for word in text.lower().replace(".", " . ").split()]

    def __call__(self, texts, add_special_tokens=True, max_length=None, **_: Any) -> SimpleNamespace:
        if not add_special_tokens:
            return SimpleNamespace(input_ids=self.words(texts))
        ids = torch.zeros(len(texts), max_length, dtype=torch.long)
        for row, text in zip(ids, texts, strict=True):
            tokens = [2, *self.words(text)[: max_length - 2], 3]
            row[: len(tokens)] = torch.tensor(tokens)
        return SimpleNamespace(input_ids=ids)


def stand_in() -> ModuleType:
    """Return the module."""
    found = ModuleType("transformers")
    found.__spec__ = SimpleNamespace(name="transformers")

    def config(folder: str) -> SimpleNamespace:
        return SimpleNamespace(**json.loads((Path(folder) / "config.json").read_text()))

    found.AutoConfig = SimpleNamespace(from_pretrained=config)
    found.AutoModel = SimpleNamespace(from_config=lambda config, add_pooling_layer: Bert(config, add_pooling_layer))
    found.AutoTokenizer = Tokenizer
    return found
