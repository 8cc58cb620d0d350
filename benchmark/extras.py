"""What a fit leaves beside its probabilities, when it is asked to: weights, and the curve of its test accuracy.

No part of a run's identity or of a fit's key: results are the same with and without.
"""

import argparse
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from benchmark.contracts import EncoderSpec, InputError, Row
from benchmark.recipe import Preset
from benchmark.records import FitSpec, Found

LIMIT = 500 * 10**6
"""Bytes of a whole run's weights up to which they are kept unasked."""

CHECKPOINT_S = 60.0  # most that is lost when a worker is; a fit that is shorter writes none
_SLICES = 32  # of a crop, where the encoder looks at all


@dataclass(frozen=True)
class Extras:
    """What to leave.

    Attributes:
        weights: Keep those of the last epoch (`benchmark.weights`).
        test_curve: Note the accuracy on the test fold after each epoch.
        checkpoint_s: Seconds of training after which a fit leaves, until it is over, what it can go on from.
    """

    weights: bool = False
    test_curve: bool = False
    checkpoint_s: float = CHECKPOINT_S


NO_EXTRAS = Extras()


@dataclass(frozen=True)
class Asked:
    """What the command line asks for.

    Attributes:
        keep_weights: However large they are.
        test_curve: Of every fit that is made.
        limit: Bytes of a whole run's weights up to which they are kept unasked.
        checkpoint_s: Seconds between the checkpoints of a fit.
    """

    keep_weights: bool = False
    test_curve: bool = False
    limit: int = LIMIT
    checkpoint_s: float = CHECKPOINT_S

    @classmethod
    def of(cls, args: argparse.Namespace) -> "Asked":
        """Return it; what `--habits` measures takes the curve."""
        curve = args.test_curve or args.habits
        return cls(args.keep_weights, curve, checkpoint_s=args.checkpoint_every)

    def extras(self, specs: Sequence[FitSpec], rows: Mapping[str, Row], preset: Preset) -> Extras:
        """Return what the fits of a run leave.

        Raises:
            InputError: A test curve is asked for where averaged weights predict, which only the end has.
        """
        recipe = preset.recipe
        if self.test_curve and recipe.ema:
            raise InputError(
                f"--test-curve (part of --habits) tests the weights after each epoch, and this recipe predicts "
                f"with averaged ones (ema = {recipe.ema:g}): leave the option out, or set ema = 0"
            )
        kept = self.keep_weights or bytes_of(specs, rows, preset.encoder) <= self.limit
        return Extras(kept, self.test_curve, self.checkpoint_s)

    def plan(self, specs: Sequence[FitSpec], rows: Mapping[str, Row], preset: Preset) -> str:
        """Say what a run's weights take on disk and whether they are kept."""
        size = bytes_of(specs, rows, preset.encoder)
        takes = f"about {in_words(size)} of weights in all"
        if size > self.limit and not self.keep_weights:
            return (
                f"Weights of the last epoch: not kept, {takes}, over {in_words(self.limit)}; --keep-weights keeps them"
            )
        return f"Weights of the last epoch: kept beside the records, {takes}"

    def lacking(self, found: Found) -> list[str]:
        """Say what was asked for and finished fits do not have, since nothing trains them again for it."""
        done = [record for record in found.values() if record and record.status == "done"]
        trained = [record for record in done if record.kind != "reference"]
        missing = {
            "weights": [record for record in trained if self.keep_weights and not record.metadata.weights],
            "test curve": [record for record in trained if self.test_curve and not record.metadata.test_curve],
        }
        return [
            f"{len(without)} of {len(trained)} finished fits were made without keeping their {name}, "
            f"{without[0].spec.path()} first, and are not made again; delete their records, or give another --out, to "
            "make them with it"
            for name, without in missing.items()
            if without
        ]


NOTHING = Asked()
PROBABILITIES = Asked(limit=0)
"""Of fits that nobody will look into again."""


def bytes_of(specs: Sequence[FitSpec], rows: Mapping[str, Row], encoder: EncoderSpec) -> int:
    """Return about how much the weights of fits take: their image encoders, beside which all else is small."""
    traits = {key: row.traits for key, row in rows.items()}
    of_one = encoder_bytes(encoder)
    return sum(of_one * traits[spec.method].encoders // traits[spec.method].narrowing ** 2 for spec in specs)


def encoder_bytes(spec: EncoderSpec) -> int:
    """Return the bytes of an image encoder's parameters and buffers (see `EncoderSpec`), in float32."""

    def conv(inward: int, outward: int, side: int = 3) -> int:
        return 4 * inward * outward * side**2

    def norm(width: int) -> int:
        return 4 * 4 * width + 8  # scale, shift, running mean and variance; a count

    slices, width = spec.slices or _SLICES, 64
    if spec.stem == "3x3":
        total = conv(slices, width) + norm(width)
    else:
        half = spec.channels[0] // 2
        width = 2 * half
        total = conv(slices, half) + conv(half, half) + conv(half, width) + 2 * norm(half) + norm(width)
    strides = {"3x3": (1, 2, 2, 2), "deep": (1, 2, 2, 1), "pooled": (1, 2, 1, 1)}[spec.stem]
    for channels, blocks, stride in zip(spec.channels, spec.layers, strides, strict=True):
        if stride != 1 or width != channels:
            total += conv(width, channels, side=1) + norm(channels)
        total += conv(width, channels) + (2 * blocks - 1) * conv(channels, channels) + 2 * blocks * norm(channels)
        width = channels
    return total


def in_words(size: int) -> str:
    """Return a size in decimal megabytes, or gigabytes from a thousand of them on.

    >>> in_words(68_400_000), in_words(9_960_000_000)
    ('68 MB', '10.0 GB')
    """
    return f"{size / 1e9:.1f} GB" if size >= 10**9 else f"{size / 1e6:.0f} MB"
