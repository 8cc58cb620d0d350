"""What is printed: a row a module, then every survivor with what is known of it."""

import re
import tomllib
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, fields
from itertools import takewhile
from pathlib import Path

from cosmic_ray.work_item import TestOutcome, WorkerOutcome, WorkResult
from forks import Verdict
from mutants import Mutant, Room


@dataclass(frozen=True)
class Tally:
    """How many mutants of a module met which end; those that no run can notice, with a reason, are none of them."""

    killed: int
    survived: int
    timeout: int
    explained: int

    @property
    def mutants(self) -> int:
        """All of them."""
        return self.killed + self.survived + self.timeout

    @property
    def share(self) -> float:
        """Killed in time or by the time limit; 1 where there is no mutant."""
        return 1 - self.survived / self.mutants if self.mutants else 1.0


@dataclass(frozen=True)
class Explanations:
    """Why known survivors change no result.

    Attributes:
        rooms: Modules of which every survivor should be explained.
        reasons: By module, line before and line after, without their spaces.
    """

    rooms: frozenset[str]
    reasons: dict[tuple[str, str, str], str]

    @classmethod
    def read(cls, path: Path) -> "Explanations":
        """Read the list of explained survivors."""
        content = tomllib.loads(path.read_text("utf-8"))
        reasons = {
            (entry["module"], _dense(entry["before"]), _dense(after)): entry["reason"]
            for entry in content.get("survivor", [])
            for after in entry["after"]
        }
        return cls(frozenset(content["rooms"]), reasons)

    def stale(self, rooms: Iterable[Room]) -> list[str]:
        """Return a line for every explanation whose line is gone from its module."""
        sources = {room.module: _dense(room.source) for room in rooms}
        gone = {(module, before) for module, before, _ in self.reasons if before not in sources.get(module, before)}
        return [f"stale explanation: {module}: {before}" for module, before in sorted(gone)]

    def of(self, mutant: Mutant) -> str | None:
        """Return why no run can notice a mutant; None where nobody has said so."""
        before, after = mutant.change()
        return self.reasons.get((mutant.room.module, _dense(before), _dense(after)))

    def word(self, mutant: Mutant) -> str:
        """Return what to say of a survivor besides its change."""
        if reason := self.of(mutant):
            return f"  explained: {reason}"
        return "  unexplained" if mutant.room.module in self.rooms else ""


def tally(mutants: Iterable[Mutant], results: dict[str, WorkResult], known: Explanations) -> Tally:
    """Count mutants by their results; what is no mutant counts nowhere."""
    ends: Counter[str] = Counter()
    for mutant in mutants:
        result = results[mutant.job_id]
        if result.test_outcome == TestOutcome.SURVIVED:
            ends["explained" if known.of(mutant) else "survived"] += 1
        elif result.worker_outcome != WorkerOutcome.SKIPPED:
            ends["timeout" if result.output == Verdict.TIMEOUT.value else "killed"] += 1
    return Tally(*(ends[field.name] for field in fields(Tally)))


def table(rows: dict[str, Tally]) -> list[str]:
    """Return the lines of the table, the last one the sum."""
    sums = (sum(getattr(row, field.name) for row in rows.values()) for field in fields(Tally))
    rows = rows | {"all": Tally(*sums)}
    width = max(map(len, rows))
    lines = [f"{'module':<{width}}  mutants  killed  survived  timeout   share  explained"]
    lines += [
        f"{name:<{width}}  {row.mutants:7}  {row.killed:6}  {row.survived:8}  {row.timeout:7}  {row.share:6.1%}"
        f"  {row.explained:9}"
        for name, row in rows.items()
    ]
    return lines


def survivors(mutants: Sequence[Mutant], results: dict[str, WorkResult], known: Explanations) -> list[str]:
    """Return a line for every survivor, by file and line."""
    alive = [mutant for mutant in mutants if results[mutant.job_id].test_outcome == TestOutcome.SURVIVED]
    alive.sort(key=lambda mutant: (mutant.room.module, mutant.spec.start_pos))
    return [
        f"{mutant.place}  {mutant.spec.operator_name.removeprefix('core/')}  {_diff(*mutant.change())}"
        f"{known.word(mutant)}"
        for mutant in alive
    ]


def _diff(before: str, after: str) -> str:
    """Return one line, marked as git marks words.

    >>> _diff("if step < rise:", "if step <= rise:")
    'if step [-<-]{+<=+} rise:'
    """
    one, other = (re.findall(r"\w+|\s+|[^\w\s]+", line) for line in (before, after))
    start = _shared(one, other)
    end = _shared(one[start:][::-1], other[start:][::-1])
    old, new = ("".join(words[start : len(words) - end]) for words in (one, other))
    marked = f"[-{old}-]" * bool(old) + f"{{+{new}+}}" * bool(new)
    return "".join([*one[:start], marked, *one[len(one) - end :]])


def _shared(one: list[str], other: list[str]) -> int:
    return sum(1 for _ in takewhile(lambda pair: pair[0] == pair[1], zip(one, other, strict=False)))


def _dense(line: str) -> str:
    return "".join(line.split())
