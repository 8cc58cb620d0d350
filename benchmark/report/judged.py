"""Every row's pooled predictions, beside samples of patients; what chapters on nodules share."""

from dataclasses import dataclass
from functools import lru_cache

from benchmark.contracts import InputError
from benchmark.estimates import Weights, sample_patients
from benchmark.predictions import Predictions, pooled
from benchmark.report.gather import Gathered
from benchmark.tables import Line


@dataclass(frozen=True, eq=False)
class Judged:
    """A row on a label set.

    Attributes:
        line: The row.
        predictions: On the nodules of all folds that it has.
        weights: How often each sample of patients counts each of them.
    """

    line: Line
    predictions: Predictions
    weights: Weights


@lru_cache(maxsize=4)
def judged(run: Gathered, label_set: str) -> tuple[tuple[Judged, ...], tuple[str, ...]]:
    """Return every row that has predictions, and a sentence for what could not be used.

    Rows of the same nodules share their samples, so that they can be compared.
    """
    samples: dict[bytes, Weights] = {}
    found, left_out = [], []
    if run.nodules is None:
        return (), ()
    for line in run.lines:
        try:
            predictions = pooled(line.records.get(label_set, ()), run.nodules)
        except InputError as error:  # records and cohort.csv of two runs
            left_out.append(f"{line.title}: {error}")
            continue
        if predictions is None:
            continue
        left_out += [f"{line.title}: {said}" for said in predictions.missing]
        key = predictions.nodules.tobytes()
        if key not in samples:
            samples[key] = sample_patients(predictions, run.nodules)
        found.append(Judged(line, predictions, samples[key]))
    return tuple(found), tuple(left_out)
