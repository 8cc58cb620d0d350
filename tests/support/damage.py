"""Ways to damage a file: bits turned, bytes changed, zeroed, exchanged, cut off, taken out, doubled or added, in every
class of places; another file in its place, whole or in part; digits, letters and line ends edited.

It is no forgery: who computes the hashes anew is believed.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path

import numpy as np

PAGE, BLOCK = 4096, 512  # bytes: of a disk's cache, of a tar


@dataclass(frozen=True)
class Kept:
    """A kind of file: where it is, another that could stand there, and how it is read.

    `read` raises Unusable or InputError, or returns something: what `same` says is what was written, None if it is
    passed over.

    Attributes:
        path: The file.
        other: Another of its kind.
        read: As the suite reads it.
        same: Whether what was read is what was written.
        is_bound: Whether the other is noticed in its place; nothing tells of a file that a user names.
    """

    path: Path
    other: bytes
    read: Callable[[], object]
    same: Callable[[object], bool] = lambda found: False
    is_bound: bool = True


def damages(kept: Kept, rng: np.random.Generator) -> Iterator[bytes]:
    """Yield the file's content damaged in each way in turn, over and over; never as it was."""
    content = kept.path.read_bytes()
    unseen = {content} if kept.is_bound else {content, kept.other}
    while True:
        for part in (_turned, _taken, _blocks, _edited):
            yield from (made for made in part(content, kept.other, rng) if made not in unseen)


def _turned(content: bytes, other: bytes, rng: np.random.Generator) -> Iterator[bytes]:
    """Turn a bit in each class of places: seal, length, header, payload, trailer; then two anywhere."""
    size = len(content)
    newline = content.find(b"\n") + 1 or 64
    edges = (0, min(newline, size // 2), min(8 + newline, size // 2), size // 4, size // 2, size - 64, size - 1)
    places = [int(rng.integers(max(start, 0), max(end, start + 1))) for start, end in pairwise(edges)]
    for chosen in [*([at] for at in places), rng.integers(size, size=2).tolist(), [size - 1]]:
        turned = bytearray(content)
        for at in chosen:
            turned[min(at, size - 1)] ^= 1 << int(rng.integers(8))
        yield bytes(turned)


def _taken(content: bytes, other: bytes, rng: np.random.Generator) -> Iterator[bytes]:
    """Cut off, zero, overwrite, take out, double and add bytes anywhere, and put another file in the place."""
    size = len(content)
    at, length = int(rng.integers(size)), int(rng.integers(1, 600))
    part = content[at : at + length]
    yield content[:at]
    yield content[: size - length % 8 - 1]
    yield content[:at] + bytes(len(part)) + content[at + length :]
    yield content[:at] + rng.bytes(len(part)) + content[at + length :]
    yield content[:at] + content[at + length :]
    yield content[:at] + part + content[at:]
    yield content + rng.bytes(length)
    yield content + bytes(length)
    yield content + content
    yield rng.bytes(length) + content
    yield other
    yield other[:at] + content[at:]
    yield content[:at] + other[at:]


def _blocks(content: bytes, other: bytes, rng: np.random.Generator) -> Iterator[bytes]:
    """Zero, lose and exchange whole blocks, as a disk does."""
    size = len(content)
    for block in (PAGE, BLOCK):
        at, beyond = (int(rng.integers(-(-size // block))) * block for _ in range(2))
        yield content[:at] + bytes(len(content[at : at + block])) + content[at + block :]
        yield content[:at] + bytes(size - at)
        yield content[:at]
        first, second = sorted((at, beyond))
        if second - first >= block and size - second >= block:
            a, b = content[first : first + block], content[second : second + block]
            yield content[:first] + b + content[first + block : second] + a + content[second + block :]
    yield bytes(size)
    yield b""


def _edited(content: bytes, other: bytes, rng: np.random.Generator) -> Iterator[bytes]:
    """Edit a digit, a letter's case and the ends of lines, as a person or a program does."""
    places = rng.integers(len(content), size=200).tolist()
    digits = [at for at in places if content[at] in b"0123456789"]
    letters = [at for at in places if bytes([content[at]]).isalpha()]
    for at in digits[:2]:
        yield content[:at] + bytes([b"1234567890"[content[at] - 48]]) + content[at + 1 :]
    for at in letters[:1]:
        yield content[:at] + bytes([content[at] ^ 32]) + content[at + 1 :]
    yield content.replace(b"\n", b"\r\n")
    yield b"\xef\xbb\xbf" + content
    yield content.replace(b"1", b"2", 1)
