"""What the beginning of a file of weights says: which fit it is of. No torch is needed to read it."""

import struct
from dataclasses import dataclass

import msgspec

from benchmark.contracts import Task
from benchmark.records import FitSpec

ABOUT = "fit"
"""The only entry of safetensors' metadata: with several their order would change from file to file."""


@dataclass(frozen=True)
class About:
    """Which fit weights are of, and what its run's task was.

    Attributes:
        spec: The fit.
        key: Of its record.
        task: With whole crops, of which the row sees what it reads; without the place of the text tower's weights.
    """

    spec: FitSpec
    key: str
    task: Task


def of_content(content: bytes) -> About | None:
    """Return which fit a file, of which its beginning is enough, says it is of; None where it is damaged."""
    try:
        return msgspec.json.decode(said(content)[ABOUT], type=About)
    except (ValueError, KeyError, RecursionError):
        return None


def said(content: bytes) -> dict[str, str]:
    """Return the metadata of a safetensors file, of which nothing else is read.

    It begins with the length of its header, eight bytes, least first, and the header, which is JSON.

    Raises:
        ValueError: It is none.
        KeyError: It has none.
        RecursionError: The header is nested beyond all sense.
    """
    try:
        (length,) = struct.unpack_from("<Q", content)
    except struct.error as error:
        raise ValueError(str(error)) from error
    header = msgspec.json.decode(content[8 : 8 + length], type=dict[str, msgspec.Raw])
    return msgspec.json.decode(header["__metadata__"], type=dict[str, str])
