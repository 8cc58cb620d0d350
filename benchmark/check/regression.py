"""How far may the mean of an honest rerun lie from the accepted one?

Golden numbers and a run share cohort and folds, so what a fold makes of a method cancels in the difference of a fold,
d_f = run_f - golden_f. What is left is the noise of seeds. With variance s^2 of one fit's score between seeds,
S_g and S_r seeds a fold and F folds,

    var(mean d) = s^2 (1/S_g + 1/S_r) / F.

Three things tell s^2 without knowing whether the mean moved, and are pooled by their degrees of freedom: the spread
between golden's seeds of a fold, F (S_g - 1); between the run's, F (S_r - 1); and the spread of d_f over the folds,
F - 1, divided by (1/S_g + 1/S_r). The last is all there is for one seed each: a fall of the same size in every fold
shows against it, and the spread between folds themselves never enters.

Four degrees of freedom are few, so the methods lend each other strength: the mean variance of a score over the
methods counts as eight degrees of freedom beside a method's own. The weight is fixed rather than estimated, since
methods differ: in the quick preset the accuracy of CE on LIDC-A moved by 2.8 points between seeds, Poisson's by 1.3.

The bound is t times the root of that, and never smaller than if two trainings disagreed on a tenth of the test
nodules, var(d_f) = q / n, with the normal quantile, as nothing is estimated there. Seeds always disagree so much (CE
on 22 to 32 in 100 on LIDC-A, on 5 to 10 on LIDC-C), and without it a run of golden's own seeds, equal but for one
row, would leave that row no room. The reference rows have no seeds; they have this bound alone, q a fiftieth, for
another machine's arithmetic or another release of scikit-learn.

An honest rerun shall pass as a whole: the chance of any false alarm is to stay below 1 in 100, shared equally between
three families, by Bonferroni within each: a row's accuracy averaged over its label sets, whose fits are independent
(the sharpest); the accuracies; all other scores. The bound is two-sided: a leap upwards is as good a sign that
something else was measured.
"""

import math
from collections import Counter
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float
from scipy.special import ndtri, stdtrit

from benchmark.check.measured import MEAN
from benchmark.scores import Score, ScoreKey

FALSE_ALARMS = 0.01
DISAGREEMENT = {"method": 0.1, "reference": 0.02}
PRIOR_DF = 8.0


@dataclass(frozen=True)
class Comparison:
    """One score of the run against the accepted one, as fractions.

    Attributes:
        key: Of row, section and metric.
        golden: Accepted mean.
        run: The run's mean.
        allowed: Largest difference of the means that folds and seeds allow.
    """

    key: ScoreKey
    golden: float
    run: float
    allowed: float

    @property
    def difference(self) -> float:
        """The run's mean less the accepted one."""
        return self.run - self.golden

    @property
    def is_regression(self) -> bool:
        """Whether the difference is more than chance."""
        return abs(self.difference) > self.allowed


def compare(
    golden: Mapping[ScoreKey, Score],
    run: Mapping[ScoreKey, Score],
    nodules: Mapping[ScoreKey, float],
    references: Collection[str],
) -> list[Comparison]:
    """Compare all scores that both have.

    Args:
        golden: The accepted scores.
        run: The run's scores.
        nodules: How many nodules of a test fold each score rests on.
        references: Rows that nothing trained.
    """
    both = [key for key in golden if key in run and np.isfinite(_differences(golden, run, key)).any()]
    sizes = Counter(map(_family, both))
    tails = {family: FALSE_ALARMS / len(sizes) / size / 2 for family, size in sizes.items()}
    estimates = _seed_variances(golden, run, [key for key in both if key.row not in references])
    found = []
    for key in both:
        kind = "reference" if key.row in references else "method"
        tail = tails[_family(key)]
        least = -ndtri(tail) * math.sqrt(DISAGREEMENT[kind] / 2 / nodules[key])
        variance, df = estimates.get(key, (0.0, 1.0))
        bound = max(least, -stdtrit(df, tail) * math.sqrt(variance))
        known = np.isfinite(_differences(golden, run, key))
        share = (1 / golden[key].seeds + 1 / run[key].seeds) / known.sum()
        means = float(golden[key].folds[known].mean()), float(run[key].folds[known].mean())
        found.append(Comparison(key, *means, allowed=float(bound * math.sqrt(share))))
    return found


def shrink(
    variances: Float[np.ndarray, " rows"], df: Float[np.ndarray, " rows"]
) -> tuple[Float[np.ndarray, " rows"], Float[np.ndarray, " rows"]]:
    """Shrink variances towards their mean; return them with their new degrees of freedom.

    >>> shrink(np.array([1.0, 3.0]), np.array([8.0, 8.0]))
    (array([1.5, 2.5]), array([16., 16.]))
    """
    common = np.average(variances, weights=df)
    return (PRIOR_DF * common + df * variances) / (PRIOR_DF + df), PRIOR_DF + df


def _family(key: ScoreKey) -> int:
    return 0 if key.section == MEAN else 1 if key.metric == "accuracy" else 2


def _differences(
    golden: Mapping[ScoreKey, Score], run: Mapping[ScoreKey, Score], key: ScoreKey
) -> Float[np.ndarray, " folds"]:
    differences: Float[np.ndarray, " folds"] = run[key].folds - golden[key].folds
    return differences


def _seed_variances(
    golden: Mapping[ScoreKey, Score], run: Mapping[ScoreKey, Score], both: Sequence[ScoreKey]
) -> dict[ScoreKey, tuple[float, float]]:
    """Return how much seeds move each score of a method, as a variance with its degrees of freedom."""
    groups: dict[tuple[str, str], list[ScoreKey]] = {}
    for key in both:
        groups.setdefault(key[1:], []).append(key)
    found: dict[ScoreKey, tuple[float, float]] = {}
    for keys in groups.values():
        own = np.array([_seed_variance(golden[key], run[key]) for key in keys])
        variances, df = shrink(own[:, 0], own[:, 1])
        found |= zip(keys, zip(variances.tolist(), df.tolist(), strict=True), strict=True)
    return found


def _seed_variance(golden: Score, run: Score) -> tuple[float, float]:
    """Return the variance of a score between seeds, and its degrees of freedom."""
    difference = (run.folds - golden.folds)[np.isfinite(run.folds - golden.folds)]
    folds, share = len(difference), 1 / golden.seeds + 1 / run.seeds
    sums, df = float(((difference - difference.mean()) ** 2).sum()) / share, folds - 1.0
    for cell in (golden, run):
        if cell.seeds > 1 and math.isfinite(cell.seed_std):
            sums += folds * (cell.seeds - 1) * cell.seed_std**2
            df += folds * (cell.seeds - 1)
    return (sums / df, df) if df else (0.0, 1.0)
