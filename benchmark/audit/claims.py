"""Published rows as the audit sees them."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

from benchmark.audit.consistency import Row
from benchmark.audit.search import MOST_CANDIDATES, candidate_count
from benchmark.published import Cell, Published


@dataclass(frozen=True)
class Claim:
    """A printed row and the classes, in the row's order, that its test set is said to hold."""

    row: Row
    classes: tuple[str, ...]


class Unaudited(NamedTuple):
    """A row that cannot be audited."""

    protocol: str
    method: str
    reason: str


def claims_of(published: Published, limit: int) -> tuple[dict[tuple[str, str], Claim], tuple[Unaudited, ...]]:
    """Return the rows that can be audited, by (protocol, method), and the others."""
    claims, unaudited = {}, []
    for protocol, method in dict.fromkeys((cell.protocol, cell.method) for cell in published.cells):
        described = published.protocols[protocol]
        metrics = ["accuracy", *(f"{kind}_{name}" for kind in ("recall", "f1") for name in described.classes)]
        cells = [published.by_key.get((protocol, method, metric)) for metric in metrics]
        printed = [cell for cell in cells if cell is not None]
        if len(printed) < len(metrics):
            unaudited.append(Unaudited(protocol, method, "accuracy, or recall or F1 of some class, is not printed"))
        elif len(described.classes) > 3:
            unaudited.append(Unaudited(protocol, method, "more than three classes, too many to search all sizes"))
        elif len({cell.decimals for cell in printed}) > 1:
            unaudited.append(Unaudited(protocol, method, "printed with different decimals"))
        elif candidate_count(row := _row(printed, bool(described.untested)), limit) > MOST_CANDIDATES:
            unaudited.append(Unaudited(protocol, method, "too many class sizes remain to search them all"))
        else:
            claims[protocol, method] = Claim(row, described.classes)
    return claims, tuple(unaudited)


def _row(printed: Sequence[Cell], outside: bool) -> Row:
    """Return cells of accuracy, recalls and F1 scores as whole units of their last digit."""
    accuracy, *rest = (int(cell.value.scaleb(cell.decimals)) for cell in printed)
    half = len(rest) // 2
    return Row(accuracy, tuple(rest[:half]), tuple(rest[half:]), 100 * 10 ** printed[0].decimals, outside)
