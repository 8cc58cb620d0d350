"""Each attribute's correlation with malignancy, in flagged scans and elsewhere."""

import numpy as np
import pytest

from benchmark.bootstrap import patient_weights
from benchmark.fault import correlations, table

NAMES = ("a", "b")


def invented(nodules: int = 200) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    rng = np.random.default_rng(0)
    malignancy, noise = rng.uniform(1, 5, nodules), rng.normal(0, 1, (nodules, 2))
    flagged = np.arange(nodules) % 2 == 0
    ratings = np.where(flagged[:, None], [0.2, 1.0], 1.0) * malignancy[:, None] + noise
    return ratings, malignancy, flagged


def ones(nodules: int) -> np.ndarray:
    return np.ones((1, nodules), dtype=int)


@pytest.mark.parametrize("shift", [0.0, -20.0])
def test_correlations_are_pearsons_in_each_group(shift):
    ratings, malignancy, flagged = invented()
    ratings += shift
    found = correlations(ratings, malignancy, flagged, NAMES, ones(200))
    for column, one in enumerate(found):
        there, elsewhere = (np.corrcoef(ratings[rows, column], malignancy[rows])[0, 1] for rows in (flagged, ~flagged))
        assert (one.flagged.value, one.elsewhere.value) == pytest.approx((there, elsewhere), abs=1e-12)
        assert one.difference.value == pytest.approx(there - elsewhere, abs=1e-12)
        assert one.flagged.low == pytest.approx(one.flagged.value) == one.flagged.high  # each nodule drawn once
    assert [one.attribute for one in found] == list(NAMES)


def test_a_replicate_is_what_its_drawn_nodules_give():
    ratings, malignancy, flagged = invented(60)
    drawn = np.random.default_rng(1).multinomial(60, np.full(60, 1 / 60))
    rows = np.repeat(np.arange(60), drawn)
    expected = correlations(ratings[rows], malignancy[rows], flagged[rows], NAMES, ones(60))
    for mine, theirs in zip(correlations(ratings, malignancy, flagged, NAMES, drawn[None]), expected, strict=True):
        assert mine.flagged.low == mine.flagged.high == pytest.approx(theirs.flagged.value)
        assert mine.elsewhere.low == pytest.approx(theirs.elsewhere.value)
        assert mine.difference.low == pytest.approx(theirs.difference.value)


def test_the_difference_of_an_attribute_at_fault_is_told_from_noise():
    patients = [f"p{number // 2}" for number in range(200)]
    at_fault, sound = correlations(*invented(), NAMES, patient_weights(patients, 500, 0))
    assert at_fault.difference.high < -0.1
    assert sound.difference.low < 0 < sound.difference.high
    assert at_fault.flagged.low < at_fault.flagged.value < at_fault.flagged.high


def test_a_nodule_with_a_given_class_is_left_out():
    ratings, malignancy, flagged = invented(40)
    gap = malignancy.copy()
    gap[:10] = np.nan
    mine = correlations(ratings, gap, flagged, NAMES, ones(40))
    assert mine == correlations(ratings[10:], malignancy[10:], flagged[10:], NAMES, ones(30))


@pytest.mark.parametrize("value", [3.0, 4.1])
def test_what_is_constant_has_no_correlation(value):
    ratings, malignancy, flagged = invented(40)
    ratings[:, 0] = value
    constant, other = table(correlations(ratings, malignancy, flagged, NAMES, patient_weights(list("ab") * 20, 5, 0)))[
        1:
    ]
    assert constant == ["a", "-", "-", "-"] and "-" not in other


@pytest.mark.parametrize("of_ratings", [True, False])
@pytest.mark.parametrize("value", np.linspace(1.1, 4.9, 11))
def test_a_replicate_that_draws_one_value_alone_has_no_correlation(value, of_ratings):
    """Rounding may leave a variance of some 1e-17, which is none."""
    ratings, malignancy, flagged = invented(40)
    (ratings[:, 0] if of_ratings else malignancy)[::4] = value
    drawn = np.where(np.arange(40) % 4 == 0, 3, np.arange(40) % 2)[None]  # of the flagged, those with this value
    one = correlations(ratings, malignancy, flagged, NAMES, drawn)[0]
    assert np.isfinite(one.flagged.value) and np.isnan(one.flagged.low) and np.isfinite(one.elsewhere.low)


def test_a_collection_without_flagged_scans_has_a_gap_and_no_error():
    ratings, malignancy, _ = invented(40)
    _, line, _ = table(correlations(ratings, malignancy, np.zeros(40, dtype=bool), NAMES, ones(40)))
    assert line[1] == line[3] == "-" and line[2].startswith("0.")


def test_the_table_prints_both_and_the_signed_difference():
    ratings, malignancy, flagged = invented()
    header, at_fault, sound = table(correlations(ratings, malignancy, flagged, NAMES, ones(200)))
    assert header == ["Attribute", "First release", "Elsewhere", "Difference"] and sound[0] == "b"
    assert at_fault[3].startswith("-0.") and at_fault[1].startswith("0.")
