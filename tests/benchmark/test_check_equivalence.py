"""Agreement with a paper by numbers worked out by hand, and by scipy's own test of Welch."""

import math
import re
from collections.abc import Iterable
from dataclasses import FrozenInstanceError, replace
from decimal import Decimal
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from scipy import stats

from benchmark.check.equivalence import Agreement, agreements, load_margins
from benchmark.check.measured import Measured
from benchmark.contracts import InputError
from benchmark.published import Cell, Published
from benchmark.scores import Score, ScoreKey, Section, sections_of
from fakes import IDENTITY, A, B, C

STEPS = (0.50, 0.51, 0.52, 0.53, 0.54)  # mean 52 %; variance (4 + 1 + 0 + 1 + 4) / 4 = 2.5 squared points
MARGINS = {"accuracy": 2.0, "recall": 4.0}
HALF_DIGIT = 0.05  # of a number with one decimal


def cell(value: str, std: str | None = None, **changes: Any) -> Cell:
    decimals = len(value.partition(".")[2])
    fields: dict[str, Any] = {"protocol": "A", "method": "ce", "metric": "accuracy", "place": "Table 1"}
    return Cell(**fields | changes, value=Decimal(value), std=None if std is None else Decimal(std), decimals=decimals)


def paper(*cells: Cell, folds: int = 5) -> Published:
    return Published("study", "A study", "Doe", "Journal 2020", 300, folds, {}, {}, cells)


def measured(
    scores: dict[tuple[str, str, str], Iterable[float]], *, nodules: float = 100.0, sections: Iterable[Section] = ()
) -> Measured:
    values = {ScoreKey(*key): np.array(list(folds)) for key, folds in scores.items()}
    return Measured(
        folder=Path("run"),
        identity=IDENTITY,
        versions={},
        sections={section.key: section for section in sections or sections_of((A, B, C))},
        cells={key: Score(folds, tuple(range(len(folds)))) for key, folds in values.items()},
        nodules=dict.fromkeys(values, nodules),
        shares=dict.fromkeys(("A-open", "B-restricted", "B-open", "C-open"), 1.0),
        references=frozenset(),
        tests={},
        failed={},
        keys={},
        weights="",
    )


def agreement(
    printed: Cell, folds: Iterable[float] = STEPS, *, paper_folds: int = 5, nodules: float = 1e4
) -> Agreement:
    run = measured({("ce", "A-open", printed.metric): folds}, nodules=nodules)
    (one,) = agreements(paper(printed, folds=paper_folds), run, MARGINS)
    return one


def half_width(one: Agreement) -> float:
    assert (one.low + one.high) / 2 == pytest.approx(one.difference)
    return (one.high - one.low) / 2


@pytest.mark.parametrize(
    ("low", "high", "verdict"),
    [
        (-1.9, 1.9, "EQUIVALENT"),
        (0.5, 1.5, "EQUIVALENT"),
        (-1.5, -0.5, "EQUIVALENT"),
        (-2.0, 1.0, "INCONCLUSIVE"),  # an end on the margin is neither inside nor outside
        (-1.0, 2.0, "INCONCLUSIVE"),
        (2.0, 3.0, "INCONCLUSIVE"),
        (-3.0, -2.0, "INCONCLUSIVE"),
        (-3.0, 3.0, "INCONCLUSIVE"),
        (0.5, 5.0, "INCONCLUSIVE"),
        (-5.0, -0.5, "INCONCLUSIVE"),
        (2.1, 3.0, "DIFFERENT"),
        (-3.0, -2.1, "DIFFERENT"),
    ],
)
def test_inside_the_margin_is_equivalent_outside_different_and_across_neither(low, high, verdict):
    assert Agreement(cell("50.0"), "A-open", 50.0, low, high, margin=2.0).verdict == verdict


def test_an_agreement_stays_as_it_was_found():
    with pytest.raises(FrozenInstanceError):
        agreement(cell("50.0", "0.6")).margin = 100.0  # type: ignore[misc]


def test_the_difference_is_ours_less_the_papers_in_points():
    one = agreement(cell("54.2", "0.6"))
    assert one.ours == pytest.approx(52.0) and one.difference == pytest.approx(-2.2)
    assert one.published.value == Decimal("54.2") and one.section == "A-open" and one.margin == 2.0


def test_equal_variances_double_the_degrees_of_freedom():
    """Deviation sqrt(2.5) on both sides, as printed to nine decimals: a variance of (1/5 + 1/4) 2.5 = 1.125 each."""
    one = agreement(cell("52.0", "1.581138830"))
    assert half_width(one) == pytest.approx(1.8595 * 1.5 + HALF_DIGIT, abs=1e-3)  # the table's t of 8 at 95 %


def test_unequal_folds_and_deviations_are_joined_by_welchs_rule():
    """Ours 1.125 with 4 degrees of freedom; theirs (1/3 + 1/2) 1.2^2 = 1.2 with 2."""
    df = 2.325**2 / (1.125**2 / 4 + 1.2**2 / 2)
    assert df == pytest.approx(5.2158, abs=1e-4)
    one = agreement(cell("52.0", "1.2"), paper_folds=3)
    assert half_width(one) == pytest.approx(stats.t.ppf(0.95, df) * math.sqrt(2.325) + HALF_DIGIT)


def test_two_folds_are_enough_on_either_side():
    """Ours (1/2 + 1/1) 2 = 3 and theirs 1.5 x 2^2 = 6, a degree of freedom each: 81 / (9 + 36) = 1.8."""
    one = agreement(cell("52.0", "2.0"), [0.51, 0.53], paper_folds=2)
    assert half_width(one) == pytest.approx(stats.t.ppf(0.95, 1.8) * 3 + HALF_DIGIT)


@pytest.mark.parametrize(("theirs", "std", "folds"), [("51.3", "0.6", 5), ("55.0", "2.4", 3), ("47.5", "1.0", 10)])
def test_each_end_is_where_scipys_one_sided_welch_test_reaches_five_percent(theirs, std, folds):
    """A margin at either end, less half a digit: scipy's test against it, with the corrected variances as its own."""
    one = agreement(cell(theirs, std), paper_folds=folds)
    ours = math.sqrt(2.5) * math.sqrt(1 + 5 / 4)
    printed = float(std) * math.sqrt(1 + folds / (folds - 1))
    for end, alternative in ((one.low + HALF_DIGIT, "greater"), (one.high - HALF_DIGIT, "less")):
        test = stats.ttest_ind_from_stats(
            52.0 - end, ours, 5, float(theirs), printed, folds, equal_var=False, alternative=alternative
        )
        assert test.pvalue == pytest.approx(0.05)


@pytest.mark.parametrize(("value", "half"), [("50", 0.5), ("50.0", 0.05), ("50.00", 0.005), ("50.000", 0.0005)])
def test_with_no_spread_at_all_half_the_last_printed_digit_remains(value, half):
    one = agreement(cell(value, "0.0"), [0.5, 0.5])
    assert (one.low, one.high) == (pytest.approx(-half), pytest.approx(half))


def test_without_a_printed_deviation_the_binomial_stands_in_where_it_is_larger():
    """Of 90 % of 100 nodules it is 3 points: (1/5 + 1/4) 9 = 4.05 beside our 1.125, four degrees of freedom each."""
    one = agreement(cell("90.0"), nodules=100.0)
    df = 5.175**2 / ((1.125**2 + 4.05**2) / 4)
    assert half_width(one) == pytest.approx(stats.t.ppf(0.95, df) * math.sqrt(5.175) + HALF_DIGIT)


def test_without_a_printed_deviation_ours_stands_in_where_it_is_larger():
    """Of 90 % of 10,000 nodules it is 0.3 points, below our 1.58: both are 1.125, so t has 8 degrees of freedom."""
    assert half_width(agreement(cell("90.0"))) == pytest.approx(1.8595 * 1.5 + HALF_DIGIT, abs=1e-3)


@pytest.mark.parametrize("std", [None, "0.6"])
def test_a_single_test_set_has_one_degree_of_freedom_and_a_stand_in_even_for_a_printed_deviation(std):
    """4.05 as above with one degree of freedom."""
    one = agreement(cell("90.0", std), paper_folds=1, nodules=100.0)
    df = 5.175**2 / (1.125**2 / 4 + 4.05**2)
    assert half_width(one) == pytest.approx(stats.t.ppf(0.95, df) * math.sqrt(5.175) + HALF_DIGIT)


def test_every_number_that_both_have_is_compared_in_the_papers_order_and_no_other():
    shared = [
        cell("50.0", method="mine"),
        cell("60.0"),
        cell("70.0", protocol="C"),
        cell("40.0", metric="recall_unsure"),
    ]
    not_run = cell("50.0", method="other")
    without_margin = cell("50.0", metric="auc_ovr")
    untested = cell("50.0", metric="recall_benign")
    elsewhere = cell("50.0", protocol="D")
    scores = {
        ("mine", "A-open", "accuracy"): STEPS,
        ("ce", "A-open", "accuracy"): STEPS,
        ("ce", "C-open", "accuracy"): STEPS,
        ("ce", "A-open", "recall_unsure"): STEPS,
        ("ce", "A-open", "auc_ovr"): STEPS,
        ("ce", "A-open", "recall_benign"): (0.5, math.nan),
        ("ours alone", "A-open", "accuracy"): STEPS,
    }
    cells = (not_run, shared[0], without_margin, shared[1], untested, shared[2], elsewhere, shared[3])
    found = list(agreements(paper(*cells), measured(scores), MARGINS))
    assert [one.published for one in found] == shared
    assert [one.section for one in found] == ["A-open", "A-open", "C-open", "A-open"]


def test_the_margin_is_that_of_the_kind_of_score():
    assert agreement(cell("52.0", "0.1")).margin == 2.0
    assert agreement(cell("52.0", "0.1", metric="recall_benign")).margin == 4.0


@pytest.mark.parametrize(("first", "ours"), [("restricted", 80.0), ("open", 60.0)])
def test_of_two_decisions_the_first_is_compared_as_in_the_table(first, ours):
    second = "open" if first == "restricted" else "restricted"
    scores = {("ce", "B-restricted", "accuracy"): (0.79, 0.81), ("ce", "B-open", "accuracy"): (0.59, 0.61)}
    run = measured(scores, sections=(Section(B, first), Section(B, second)))
    (one,) = agreements(paper(cell("70.0", protocol="B")), run, MARGINS)
    assert one.section == f"B-{first}" and one.ours == pytest.approx(ours)


def test_the_binomial_rests_on_the_nodules_of_its_own_score():
    """Two scores of one row: 400 nodules give 2 points at 20 %, 100 give 4; without spread of ours nothing else."""
    run = measured({("ce", "A-open", metric): (0.2, 0.2) for metric in ("accuracy", "recall_benign")})
    run.nodules[ScoreKey("ce", "A-open", "accuracy")] = 400.0  # type: ignore[index]
    found = agreements(paper(cell("20.0"), cell("20.0", metric="recall_benign"), folds=2), run, MARGINS)
    narrow, wide = (half_width(one) - HALF_DIGIT for one in found)
    assert wide == pytest.approx(math.tan(0.45 * math.pi) * math.sqrt(1.5) * 4)  # t of one degree: a Cauchy variate
    assert narrow == pytest.approx(wide / 2)


@pytest.fixture
def margins(tmp_path):
    def write(points: str, reason: str = "a word") -> Path:
        path = tmp_path / "margins.toml"
        path.write_text(f'# In points.\n\n[accuracy]\nreason = "{reason}"\npoints = {points}\n')
        return path

    return write


@pytest.mark.parametrize("points", ["0.1", "0.5", "2.0", "99.5"])
def test_a_margin_is_read_in_points(margins, points):
    assert load_margins(margins(points)) == {"accuracy": float(points)}


def test_margins_that_are_not_there_are_named(tmp_path):
    with pytest.raises(InputError, match=rf"^{re.escape(str(tmp_path / 'margins.toml'))} is missing, the margins"):
        load_margins(tmp_path / "margins.toml")


def test_every_kind_of_score_has_its_own_margin(margins):
    path = margins("2.0")
    path.write_text(path.read_text() + '[f1]\npoints = 4.5\nreason = "another"\n')
    assert load_margins(path) == {"accuracy": 2.0, "f1": 4.5}


@pytest.mark.parametrize("points", ["0.0", "-0.5", "-3.0", "100.0", "100.5"])
def test_a_margin_that_allows_nothing_or_everything_is_refused(margins, points):
    path = margins(points)
    problem = f"must lie between 0 and 100 and have its reason, not {points}"
    with pytest.raises(InputError, match=f"^{re.escape(f'{path}, line 5, key accuracy.points: {problem}')}$"):
        load_margins(path)


@pytest.mark.parametrize("reason", ["", "  "])
def test_a_margin_without_a_reason_is_refused(margins, reason):
    with pytest.raises(InputError, match=r"line 5, key accuracy\.points: .* and have its reason, not 2\.0$"):
        load_margins(margins("2.0", reason))


def test_a_margin_names_its_line_whatever_is_wrong(margins):
    path = margins("2")
    with pytest.raises(InputError, match=r"line 5, key accuracy\.points: must be of type Decimal, not 2$"):
        load_margins(path)
    path.write_text("[f1]\npoints = 2.0\n")
    with pytest.raises(InputError, match=r"line 1, key f1\.reason: is missing$"):
        load_margins(path)
    path.write_text('[f1]\npoints = 2.0\nreason = "a word"\nwhy = "another"\n')
    with pytest.raises(InputError, match=r"line 4, key f1\.why: is unknown; allowed here: points, reason$"):
        load_margins(path)


def test_on_lidc_b_folds_share_less_than_they_train_on():
    """Three in five nodules are tested there: a mean's variance is (1/5 + 0.6/4) s^2 and not (1/5 + 1/4) s^2."""
    cells = {section: cell("50.0", "0.0", protocol=section[0]) for section in ("A-open", "B-restricted")}
    run = measured({("ce", section, "accuracy"): STEPS for section in cells})
    run = replace(run, shares={"A-open": 1.0, "B-restricted": 0.6, "B-open": 0.6, "C-open": 1.0})
    on_a, on_b = (agreements(paper(printed), run, MARGINS) for printed in cells.values())
    widths = [half_width(one) - HALF_DIGIT for (one,) in (on_a, on_b)]
    assert widths[1] / widths[0] == pytest.approx(math.sqrt((1 / 5 + 0.6 / 4) / (1 / 5 + 1 / 4)))
