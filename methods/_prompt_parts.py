"""Prompts before any tower reads them: text and slots in their order, as tokens."""

from collections.abc import Iterable, Sequence

from benchmark.contracts import Unsupported
from methods._tower import TextTower

Prompt = str | Sequence[str | range]
"""Parts in their order: text, and ranges of slots, into which learned embeddings are put.

`(range(4), "benign.")` is four slots and then the text; `("benign", range(4), ".")` puts the class first.
Start and end token are added.
"""


def symbols(tower: TextTower, prompt: Prompt) -> list[int]:
    """Return a prompt's tokens with the end token, without the start token; slot i is the negative number ~i.

    Raises:
        Unsupported: They are more than the tower reads.
    """
    found: list[int] = []
    for part in [prompt] if isinstance(prompt, str) else prompt:
        found += tower.tokenize(part) if isinstance(part, str) else [~slot for slot in part]
    length, limit = len(found) + 2, tower.clip.context_length
    if length > limit:
        raise Unsupported(
            f"prompt {prompt!r} has {length} tokens with start and end, but CLIP reads {limit}; shorten it"
        )
    return [*found, tower.tokenizer.eot_token_id]


def count_slots(found: Iterable[int]) -> int:
    """Return how many slots there are among symbols.

    Raises:
        ValueError: They are not numbered 0, 1, 2...
    """
    slots = {~symbol for symbol in found if symbol < 0}
    if slots != set(range(len(slots))):
        raise ValueError(f"the prompts use slots {sorted(slots)}; number them from 0 without a gap")
    return len(slots)
