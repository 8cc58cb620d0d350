"""Recipes (optimiser settings) and presets (named bundles of recipe, encoder and text tower)."""

from dataclasses import dataclass
from typing import Annotated

from msgspec import Meta

from benchmark.contracts import EncoderSpec, TextTowerSpec


@dataclass(frozen=True)
class Recipe:
    """Settings of one training, identical for every method of a run.

    The paper states SGD, momentum, weight decay, learning rate and cosine decay; epochs and batch size are its
    released code's. Augmentation is stated nowhere: exact mirror images and quarter turns, no interpolation.

    The bounds in the annotations are checked where a preset is read from a file (`presets.read`).

    Attributes:
        epochs: Passes over the training folds; the last epoch is the one that is tested.
        batch_size: Nodules a step; the rest of an epoch that fills no batch is left out, other nodules each time.
        lr: Learning rate at the start of the cosine decay, which is stepped per batch and ends at zero.
        warmup: Fraction of the steps over which the learning rate rises linearly from zero.
        momentum: Of SGD.
        nesterov: Whether SGD looks ahead.
        weight_decay: On every parameter that a method does not name in `no_weight_decay`.
        augment: Mirror and turn training images at random.
        ema: Predict with an average of the weights after each step, in which a step counts this much less than the
            next: an exponential moving average without bias to the start. 0 is off: the last step's weights predict.
            The paper's text has none; its released code has 0.999.
        window_hu: Lower and upper Hounsfield units that become intensity 0 and 1.
    """

    epochs: Annotated[int, Meta(ge=1)] = 100
    batch_size: Annotated[int, Meta(ge=2)] = 32
    lr: Annotated[float, Meta(gt=0)] = 1e-3
    warmup: Annotated[float, Meta(ge=0, lt=1)] = 0.0
    momentum: Annotated[float, Meta(ge=0, lt=1)] = 0.9
    nesterov: bool = False
    weight_decay: Annotated[float, Meta(ge=0)] = 5e-5
    augment: bool = True
    ema: Annotated[float, Meta(ge=0, lt=1)] = 0.0
    window_hu: tuple[float, float] = (-1000.0, 400.0)


@dataclass(frozen=True)
class Preset:
    """A named bundle; the command line may override its parts.

    Attributes:
        recipe: How to train.
        encoder: What looks at the images.
        text_tower: What reads the prompts.
        folds: Number of folds in the cross-validation.
        nodules: Use a fixed sample of about so many nodules, or all of them (None).
        purpose: One line for `--list`.
    """

    recipe: Recipe
    encoder: EncoderSpec
    text_tower: TextTowerSpec
    purpose: str
    folds: Annotated[int, Meta(ge=2)] = 5
    nodules: Annotated[int, Meta(ge=1)] | None = None


_SMALL_ENCODER = EncoderSpec(channels=(8, 16, 32, 64), layers=(1, 1, 1, 1), stem="pooled", slices=1)
_SMALL_TOWER = TextTowerSpec(name="random", width=64, layers=2, heads=2)

PRESETS: dict[str, Preset] = {
    "smoke": Preset(
        recipe=Recipe(epochs=1, batch_size=32, lr=0.1, warmup=0.1, nesterov=True, weight_decay=5e-4),
        encoder=_SMALL_ENCODER,
        text_tower=_SMALL_TOWER,
        nodules=200,
        purpose="does it run? one epoch on 200 nodules; its numbers mean nothing",
    ),
    "quick": Preset(
        recipe=Recipe(epochs=9, batch_size=64, lr=0.2, warmup=0.1, nesterov=True, weight_decay=5e-4),
        encoder=_SMALL_ENCODER,
        text_tower=_SMALL_TOWER,
        purpose="all nodules, one slice, a small encoder and a random text tower; minutes on a laptop",
    ),
    "paper": Preset(
        recipe=Recipe(),
        encoder=EncoderSpec(),
        text_tower=TextTowerSpec(name="openai"),
        purpose="the paper's ResNet-18, optimiser and text tower; wants a GPU",
    ),
}
