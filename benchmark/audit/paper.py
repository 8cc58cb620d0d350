"""The audit of one paper, as data."""

from collections.abc import Mapping
from dataclasses import dataclass

from benchmark.audit.claims import Unaudited, claims_of
from benchmark.audit.remarks import Coincidence, Evenness, coincidences, evenness
from benchmark.audit.testsets import FoundSet, find, most_at_once
from benchmark.audit.verdicts import Verdict, verdict
from benchmark.published import Published

LARGEST = 3000  # nodules; larger test sets are not searched, and fit almost anything


@dataclass(frozen=True)
class Audit:
    """All that the arithmetic says about one paper.

    Attributes:
        published: The numbers.
        limit: Nodules of the largest test set searched.
        test_sets: The test sets found, the best supported first.
        most_at_once: For each protocol, how many of its rows one test set fits at most, whatever its sizes.
        verdicts: One for each row that gives accuracy, recalls and F1 scores.
        unaudited: The others.
        evenness: Of the rows that fit.
        coincidences: Pairs of methods with equal numbers.
    """

    published: Published
    limit: int
    test_sets: tuple[FoundSet, ...]
    most_at_once: Mapping[str, int]
    verdicts: tuple[Verdict, ...]
    unaudited: tuple[Unaudited, ...]
    evenness: tuple[Evenness, ...]
    coincidences: tuple[Coincidence, ...]


def audit(published: Published) -> Audit:
    """Audit one paper; the same result every time."""
    limit = min(published.nodules, LARGEST)
    claims, unaudited = claims_of(published, limit)
    test_sets = find(list(claims.values()), limit)
    return Audit(
        published=published,
        limit=limit,
        test_sets=tuple(test_sets),
        most_at_once={
            key: most_at_once([claim for (protocol, _), claim in claims.items() if protocol == key], limit)
            for key in dict.fromkeys(protocol for protocol, _ in claims)
        },
        verdicts=tuple(
            verdict(protocol, method, published, claim, number, test_sets, limit)
            for number, ((protocol, method), claim) in enumerate(claims.items())
        ),
        unaudited=unaudited,
        evenness=tuple(evenness(published, claims, test_sets)),
        coincidences=tuple(coincidences(published)),
    )
