import pytest

from benchmark.habits import best_epoch_gains
from benchmark.records import FitSpec, Metadata
from fakes import record


def fit(method: str, fold: int, seed: int, curve: list[float], label_set: str = "three", **changes):
    spec = FitSpec(label_set, method, fold, seed)
    return record(spec, [0], [[1.0, 0.0, 0.0]], metadata=Metadata(test_curve=curve), **changes)


def test_the_best_epochs_gain_is_over_the_last_epoch_averaged_over_seeds_then_folds():
    records = [
        fit("ce", 0, 0, [0.2, 0.6, 0.5]),  # + 0.1
        fit("ce", 0, 1, [0.9, 0.1, 0.6]),  # + 0.3
        fit("ce", 1, 0, [0.1, 0.2, 0.3]),  # the last is the best
        fit("ce", 1, 1, [0.3, 0.3, 0.3]),
    ]
    gain = best_epoch_gains(records)["three", "ce"]
    assert gain.folds.tolist() == pytest.approx([0.2, 0.0]) and gain.seeds == 2
    assert gain.mean == pytest.approx(0.1) and gain.std == pytest.approx(0.2 / 2**0.5)


def test_rows_and_label_sets_have_gains_of_their_own_and_fits_without_a_curve_none():
    records = [
        fit("ce", 0, 0, [0.5, 0.4]),
        fit("ce", 0, 0, [0.7, 0.4], label_set="two"),
        fit("corf", 0, 0, [0.9, 0.4]),
        fit("udm", 0, 0, []),
        fit("nsb", 0, 0, [0.9, 0.1], status="failed"),
        None,
    ]
    found = {key: round(gain.mean, 6) for key, gain in best_epoch_gains(records).items()}
    assert found == {("three", "ce"): 0.1, ("two", "ce"): 0.3, ("three", "corf"): 0.5}
