"""What a method is told of its surroundings."""

from dataclasses import dataclass, replace
from typing import Any, Literal, TypeAlias

Json: TypeAlias = dict[str, Any] | list[Any] | str | int | float | bool | None  # no recursion: msgspec reads it


@dataclass(frozen=True)
class EncoderSpec:
    """An image encoder: timm's resnet18 with these stages, ending in a map of `channels[-1]` x 4 x 4.

    Attributes:
        channels: Output channels of the four stages; the last is the feature width.
        layers: Residual blocks in each stage (resnet18: two).
        stem: `"3x3"` is one 3x3 convolution of stride 1 (CIFAR style, the paper's released code);
            `"deep"` is timm's three-convolution stem of stride 2, a tenth of the cost; `"pooled"` is that and a
            max-pooling of stride 2, so that the first stage sees 8 x 8.
        slices: How many of a crop's slices it looks at, the central ones; None is all of them. A crop of fewer
            gives what it has.
    """

    channels: tuple[int, int, int, int] = (64, 128, 256, 512)
    layers: tuple[int, int, int, int] = (2, 2, 2, 2)
    stem: Literal["3x3", "deep", "pooled"] = "3x3"
    slices: int | None = None

    @property
    def width(self) -> int:
        """Number of image features."""
        return self.channels[-1]


@dataclass(frozen=True)
class TextConfig:
    """What decides a text tower's results beside its width, layers, heads and weights.

    Attributes:
        features: Number of text features.
        activation: Of the hidden units.
        hidden: Number of hidden units in a block.
        context_length: Tokens that it reads, start and end among them.
        vocabulary: Number of tokens that it knows.
        tokenizer: `"clip"`, or the hub's name of BERT's.
        pooler: How BERT's tokens become one vector, as open_clip names it.
        head: BERT's projection to the features, as open_clip names it.
    """

    features: int
    activation: Literal["gelu", "quick_gelu"]
    hidden: int
    context_length: int = 77
    vocabulary: int = 49408
    tokenizer: str = "clip"
    pooler: str = ""
    head: str = ""


@dataclass(frozen=True)
class TextTowerSpec:
    """A frozen text tower.

    Attributes:
        name: `"openai"` is ViT-B-16-quickgelu with OpenAI's weights; `"random"` is a small seeded tower with
            CLIP's architecture and tokenizer and no knowledge of language, for machines without the weights;
            `"causal"` is any other of CLIP's architecture, `"bert"` one of BERT's.
        path: File of the OpenAI weights, None takes them from the hub's cache or the hub; where any other tower
            stands, `hf-hub:OWNER/NAME` or `local-dir:PATH`.
        width: Width of the tokens (OpenAI: 512).
        layers: Depth (OpenAI: 12).
        heads: Attention heads (OpenAI: 8).
        seed: Seed of the random tower's weights, and of the projection where image features are of another number.
        weights: Hash that the loaded text tensors must have (`TextWeights.sha256`); empty takes any.
        config: The rest of its configuration; None for `"openai"` and `"random"`, which have no choice.
    """

    name: Literal["openai", "random", "causal", "bert"] = "openai"
    path: str | None = None
    width: int = 512
    layers: int = 12
    heads: int = 8
    seed: int = 0
    weights: str = ""
    config: TextConfig | None = None

    @property
    def full_config(self) -> TextConfig:
        """The rest of its configuration; that of CLIP's own where it has no choice."""
        return self.config or TextConfig(self.width, "quick_gelu", 4 * self.width)

    @property
    def features(self) -> int:
        """Number of text features."""
        return self.full_config.features


@dataclass(frozen=True)
class TextWeights:
    """Which weights a text tower was loaded with.

    Attributes:
        sha256: Hash of the text tensors as loaded, whatever kind of file they came in.
        published: Whether their file is, bit for bit, one whose hash OpenAI published.
        name: Where they came from, for print alone; empty for a file of ViT-B/16.
    """

    sha256: str
    published: bool
    name: str = ""

    @property
    def title(self) -> str:
        """Name them in print: nobody's but by a hash that their maker published."""
        unverified = f"unverified weights (hash {self.sha256[:12]})"
        return "OpenAI's CLIP ViT-B/16" if self.published else ", ".join(filter(None, (self.name, unverified)))


@dataclass(frozen=True)
class Task:
    """All that a method is told about its surroundings.

    Attributes:
        num_classes: K, the ordered classes trained on; class k has name `class_names[k]`.
        class_names: From least to most malignant, as prompts write them.
        attribute_names: The rated attributes, as prompts write them, in the order of `Batch.attributes`; none
            where a collection has no ratings.
        image_shape: (slices, rows, columns) of an image.
        encoder: The image encoder that every method of a run shares.
        text_tower: The text tower that every vision-language method of a run shares.
    """

    num_classes: int
    class_names: tuple[str, ...]
    attribute_names: tuple[str, ...]
    image_shape: tuple[int, int, int]
    encoder: EncoderSpec
    text_tower: TextTowerSpec

    def __post_init__(self) -> None:
        """Refuse a task that no method can work on."""
        if self.num_classes < 2:
            raise ValueError(f"a task needs at least two classes, not {self.num_classes}")
        if len(self.class_names) != self.num_classes:
            raise ValueError(f"{self.num_classes} classes but {len(self.class_names)} class names")

    def of_seen_slices(self) -> "Task":
        """Return the task with images of no more slices than its encoder looks at."""
        slices, rows, columns = self.image_shape
        return replace(self, image_shape=(min(slices, self.encoder.slices or slices), rows, columns))
