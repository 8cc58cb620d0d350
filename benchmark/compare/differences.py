"""What differs between two runs: settings by name, scores with an interval where their folds are the same test.

Folds pair where each tests the same nodules with the same classes in both runs. Then a fold's two scores share what
is easy or hard in it, and the differences are tested as in the tables: corrected resampled t-test (Nadeau and Bengio
2003), Holm over the rows. Where folds do not pair, nothing here can say how far two means may lie apart by chance.
"""

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

import msgspec

from benchmark.check.measured import Measured
from benchmark.contracts import Json
from benchmark.runfile import RunMetadata, short
from benchmark.scores import Score, ScoreKey, Section
from benchmark.statistics import all_alike, corrected_t_test, holm, smallest_detectable_difference

METRICS = ("accuracy", "macro_f1")


@dataclass(frozen=True)
class Side:
    """One of two runs.

    Attributes:
        run: Its numbers.
        metadata: What was true when it was last started.
    """

    run: Measured
    metadata: RunMetadata

    @property
    def seeds(self) -> str:
        """How many trainings a fold has: a number, or the fewest and the most."""
        numbers = {score.seeds for key, score in self.run.cells.items() if key.row not in self.run.references}
        return " to ".join(str(number) for number in sorted({min(numbers, default=1), max(numbers, default=1)}))

    def settings(self) -> dict[str, str]:
        """Return all that may have decided its numbers, by name, as printed."""
        said = {**self.run.identity.plain(self.run.weights), "seeds a fold": self.seeds}
        said |= {"versions": self.run.versions, "device": self.metadata.device, "commit": self.metadata.commit}
        return dict(_flat(said))


def _flat(content: Mapping[str, Json], before: str = "") -> Iterator[tuple[str, str]]:
    """Yield the leaves of nested settings by their dotted names; hashes and commits as short as they are printed."""
    for name, value in content.items():
        if isinstance(value, dict):
            yield from _flat(value, f"{before}{name}.")
        else:
            text = value if isinstance(value, str) else msgspec.json.encode(value).decode()
            yield before + name, short(text)


def settings(a: Side, b: Side) -> list[tuple[str, str, str]]:
    """Return every setting that differs: its name, its value in A, in B; a dash where a run has none."""
    here, there = a.settings(), b.settings()
    names = [*here, *(name for name in there if name not in here)]
    lines = [(name, here.get(name, "-"), there.get(name, "-")) for name in names]
    return [line for line in lines if line[1] != line[2]]


@dataclass(frozen=True, eq=False)
class Pair:
    """A row's score in both runs, as fractions.

    Attributes:
        row: Its key.
        a: Over the folds of A.
        b: Over the folds of B.
        half: Half of the 95 % interval of the mean difference; NaN where folds do not pair, and zero where all have the
            same difference, which says nothing of other folds.
        p: Of the corrected resampled t-test, two-sided; NaN in both cases.
        adjusted: By Holm over the rows of one section and metric; NaN likewise.
    """

    row: str
    a: Score
    b: Score
    half: float = math.nan
    p: float = math.nan
    adjusted: float = math.nan

    @property
    def difference(self) -> float:
        """Mean of B less mean of A."""
        return self.b.mean - self.a.mean

    @property
    def is_paired(self) -> bool:
        """Whether its folds are the same tests in both runs."""
        return not math.isnan(self.half)


def pairs(a: Measured, b: Measured, section: Section, metric: str) -> list[Pair]:
    """Return the rows that have a score in both runs, in the order of A's records."""
    keys = [ScoreKey(row, section.key, metric) for row in a.keys]
    found = [_pair(a, b, section, key) for key in keys if key in a.cells and key in b.cells]
    adjusted = holm([pair.p for pair in found])
    return [Pair(**vars(pair) | {"adjusted": p}) for pair, p in zip(found, adjusted, strict=True)]


def _pair(a: Measured, b: Measured, section: Section, key: ScoreKey) -> Pair:
    here, there = a.cells[key], b.cells[key]
    tested = key.row, section.protocol.label_set
    if a.tests[tested] != b.tests[tested] or here.numbers != there.numbers:
        return Pair(key.row, here, there)
    delta, ratio = there.folds - here.folds, a.shares[section.key] / (a.identity.folds - 1)
    if len(delta) > 1 and all_alike(delta):
        return Pair(key.row, here, there, half=0.0)
    # What could just have been found: the t quantile times the corrected standard error, so half of the interval too.
    return Pair(key.row, here, there, smallest_detectable_difference(delta, ratio), corrected_t_test(delta, ratio))


def remarks(a: Measured, b: Measured) -> list[str]:
    """Say what the numbers cannot: rows, sections and codes that are not the same in both, and failures."""
    said = []
    for name, run, other in (("A", a, b), ("B", b, a)):
        if rows := sorted(run.rows - other.rows):
            said.append(f"Rows of {name} alone: {', '.join(rows)}.")
        if sections := [section.title for key, section in run.sections.items() if key not in other.sections]:
            said.append(f"Tested in {name} alone: {', '.join(sections)}.")
        said += [f"{name}, {row} on {label_set}: {why}." for (row, label_set), why in sorted(run.failed.items())]
    if a.identity != b.identity or a.weights != b.weights:
        said.append("Whether the code of a row differs too cannot be told, since settings do.")
    elif changed := sorted(row for row in a.keys.keys() & b.keys.keys() if set(a.keys[row]) != set(b.keys[row])):
        said.append(f"Rows that other code, or other defaults, made in B: {', '.join(changed)}.")
    else:
        said.append("The same code made the rows of both.")
    return said
