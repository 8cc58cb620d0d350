"""Do our numbers agree with a paper's, within a margin fixed beforehand?

Two one-sided tests (Schuirmann, J. Pharmacokinetics and Biopharmaceutics 15, 1987) in the form of an interval: with
the 90 % interval of the difference inside the margin the two are EQUIVALENT; with the interval outside it they are
DIFFERENT, by more than the margin; anything else is INCONCLUSIVE. Failing to find a difference is no equivalence.

Each mean has the corrected resampled variance (1/F + 1/(F-1)) s^2 of `benchmark/statistics.py`, with F - 1 degrees of
freedom, and Welch's rule joins them. The paper's s is its printed deviation, taken for a standard deviation over its
folds; where it prints none, or had one fold, the larger stands in of ours and the binomial deviation of its printed
share in a test fold. The interval is wider by half of the last printed digit.
Both test the same nodules, which makes the true variance of a difference smaller, so the verdict is a cautious one.
"""

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from decimal import Decimal
from pathlib import Path
from typing import Literal

from scipy.special import stdtrit

from benchmark.check.measured import Measured
from benchmark.contracts import InputError
from benchmark.published import Cell, Published
from benchmark.scores import ScoreKey
from benchmark.statistics import sample_std
from benchmark.tomlfile import TomlFile

Verdict = Literal["EQUIVALENT", "DIFFERENT", "INCONCLUSIVE"]
ALPHA = 0.05  # of each one-sided test


@dataclass(frozen=True)
class Agreement:
    """A published number beside ours, in percent.

    Attributes:
        published: The paper's.
        section: Key of ours.
        ours: Our mean over folds.
        low: Lower end of the interval of the difference, ours less the paper's.
        high: Its upper end.
        margin: Largest difference without importance.
    """

    published: Cell
    section: str
    ours: float
    low: float
    high: float
    margin: float

    @property
    def difference(self) -> float:
        """Ours less the paper's."""
        return self.ours - float(self.published.value)

    @property
    def verdict(self) -> Verdict:
        """What the interval says."""
        if -self.margin < self.low and self.high < self.margin:
            return "EQUIVALENT"
        return "DIFFERENT" if self.low > self.margin or self.high < -self.margin else "INCONCLUSIVE"


def load_margins(path: Path) -> dict[str, float]:
    """Return the margin of each kind of score, in points.

    Raises:
        InputError: There is no such file; or the file, the line, the key, and what is wrong there.
    """
    if not path.is_file():
        raise InputError(f"{path} is missing, the margins of the comparison with papers; put it back")
    file = TomlFile(path)
    margins = {}
    for kind in file.mapping(()):
        fields = file.mapping((kind,), {"points": Decimal, "reason": str})
        if not 0 < fields["points"] < 100 or not fields["reason"].strip():
            file.fail((kind, "points"), f"must lie between 0 and 100 and have its reason, not {fields['points']}")
        margins[kind] = float(fields["points"])
    return margins


def agreements(paper: Published, run: Measured, margins: Mapping[str, float]) -> Iterator[Agreement]:
    """Yield every published number that the run has too; LIDC-B's with the decision of the table."""
    tables: dict[str, str] = {}
    for key, section in run.sections.items():
        tables.setdefault(section.protocol.key, key)
    for cell in paper.cells:
        key = tables.get(cell.protocol, "")
        ours = run.cells.get(ScoreKey(cell.method, key, cell.metric))
        margin = margins.get(cell.metric.partition("_")[0])
        if ours is None or margin is None or not math.isfinite(ours.mean):
            continue
        folds, tested = len(ours.folds), run.shares[key]
        own = 100 * sample_std(ours.folds)
        variances = [_variance(own, folds, tested)]
        if cell.std is None or paper.folds < 2:
            share = float(cell.value) / 100
            binomial = 100 * math.sqrt(share * (1 - share) / run.nodules[ScoreKey(cell.method, key, cell.metric)])
            variances.append(_variance(max(own, binomial), folds, tested))
        else:
            variances.append(_variance(float(cell.std), paper.folds, tested))
        df = _welch(variances, (folds - 1, max(paper.folds, 2) - 1))
        half = float(stdtrit(df, 1 - ALPHA)) * math.sqrt(sum(variances)) + 0.5 * 10.0**-cell.decimals
        mean = 100 * ours.mean
        difference = mean - float(cell.value)
        yield Agreement(cell, key, mean, difference - half, difference + half, margin)


def _variance(std: float, folds: int, tested: float) -> float:
    """Return the variance of a mean over folds that share training data, each testing a part of its nodules."""
    return (1 / folds + tested / (folds - 1)) * std**2


def _welch(variances: list[float], df: tuple[int, int]) -> float:
    if sum(variances) == 0:
        return float(min(df))
    return sum(variances) ** 2 / sum(v**2 / d for v, d in zip(variances, df, strict=True))
