import math
from dataclasses import replace

import numpy as np
import pytest

from benchmark.against_base import Compared, compare, differences
from benchmark.contracts import Row
from benchmark.planning import Spread
from benchmark.records import FitRecord, FitSpec
from benchmark.report import pooled
from benchmark.report.verdict import in_short, less_base, nodule_by_nodule, sentence
from benchmark.scores import Section
from benchmark.tables import Line, Table, block_of
from fakes import B, Linear, record
from methods import ROWS

RESTRICTED = Section(B, "restricted")
SURE = np.eye(3).tolist()


def fits(key: str, hits: dict[int, int]) -> list[FitRecord]:
    """Fold f decides `hits[f]` of ten benign and ten malignant nodules rightly, the rest wrongly."""
    records = []
    for fold, right in hits.items():
        labels = [0] * 10 + [2] * 10
        decided = [0] * right + [2] * (10 - right) + [2] * right + [0] * (10 - right)
        records.append(record(FitSpec("three", key, fold, 0), labels, [SURE[d] for d in decided]))
    return records


def line(key: str, hits: list[int], missing: int | None = None) -> Line:
    made = fits(key, {fold: right for fold, right in enumerate(hits) if fold != missing})
    return Line(Row(key, key.upper(), "paper", Linear), key.upper(), {"three": made})


def table(*lines: Line) -> Table:
    return Table("Table 9", lines, (block_of(RESTRICTED),), 5)


BASE = line("ce", [1, 2, 3, 4, 5])


def test_a_sentence_has_the_numbers_of_the_corrected_test():
    # Differences of 10, 20, 10, 10, 10 points: mean 12, deviation 4.472, standard error sqrt(1/5 + 1/4) of it = 3,
    # t = 4 on four degrees of freedom (p 0.0161), half an interval 2.7764 * 3 = 8.33.
    (one,), _ = compare(table(BASE, line("nsb", [2, 4, 4, 5, 6])), RESTRICTED)
    assert (one.mean, *one.interval, one.p) == pytest.approx((12.0, 12 - 8.329, 12 + 8.329, 0.01613), abs=1e-3)
    assert sentence(one, "CE", "LIDC-B") == (
        "NSB is better than CE on LIDC-B: +12.0 points (95 % interval +3.7 to +20.3, unadjusted), Holm's p = 0.016 on "
        "the folds; 8.3 points are the least that would be significant."
    )


def test_the_same_difference_the_other_way_is_worse():
    (one,), _ = compare(table(line("nsb", [2, 4, 4, 5, 6]), BASE), RESTRICTED)
    assert sentence(one, "NSB", "LIDC-B").startswith("CE is worse than NSB on LIDC-B: -12.0 points")


def test_an_interval_without_zero_is_no_verdict_where_holm_finds_none():
    # 10, 20, 10, 20, 10 points: t = 14 / 3.674 = 3.81, p = 0.0190 alone, 0.0569 as one of three.
    rows = [line(key, [2, 4, 4, 6, 6]) for key in ("nsb", "udm", "corf")]
    compared, _ = compare(table(BASE, *rows), RESTRICTED)
    assert all(one.interval[0] > 0 and one.p == pytest.approx(0.0569, abs=2e-4) for one in compared)
    said = [sentence(one, "CE", "LIDC-B") for one in compared]
    assert all("cannot be told apart" in words and "better" not in words for words in said)
    assert in_short("CE", "LIDC-B", compared) == "None of the 3 other rows can be told apart from CE on LIDC-B."


def test_where_every_fold_has_the_same_difference_no_number_of_a_test_is_given():
    ((one,), _) = compare(table(line("ce", [5, 6, 7, 8, 9]), line("nsb", [4, 5, 6, 7, 8])), RESTRICTED)
    assert np.isnan([one.p, one.needed, *one.interval]).all() and not one.differs
    assert sentence(one, "CE", "LIDC-B") == (
        "NSB is -10.0 points from CE in every fold of LIDC-B, which says nothing of other folds."
    )
    made = table(BASE, line("nsb", [1, 2, 3, 4, 5]))
    ((one,), _) = compare(made, RESTRICTED)
    assert sentence(one, "CE", "LIDC-B").startswith("NSB equals CE in every fold of LIDC-B, which says nothing")
    assert less_base(made.lines[1], BASE, made, RESTRICTED) == "NSB +0.0 in every fold"


def test_numbers_are_those_of_the_tables_comparison():
    made = table(BASE, line("nsb", [2, 4, 4, 5, 6]), line("udm", [1, 2, 5, 4, 4]))
    ours = [[f"{one.mean:+.1f}", f"{one.needed:.1f}", f"{one.p:.3f}"] for one in compare(made, RESTRICTED)[0]]
    assert ours == [texts[1:] for texts in differences(made, RESTRICTED)]


def test_a_row_that_lacks_a_fold_never_differs():
    (one,), left = compare(table(BASE, line("nsb", [9, 10, 10, 10, 10], missing=0)), RESTRICTED)
    assert one.p < 0.05 and one.folds == 4 and not one.complete and not one.differs and not left
    assert "cannot be told apart" in sentence(one, "CE", "LIDC-B")


def test_a_row_without_two_folds_is_left_out_and_named():
    alone = Line(Row("nsb", "NSB", "paper", Linear), "NSB", {"three": fits("nsb", {0: 5})})
    assert compare(table(BASE, alone), RESTRICTED) == ([], [alone])


def of(mean: float, p: float) -> Compared:
    return Compared(BASE, mean, (mean - 1, mean + 1), 1.0, p, 5, True)


def test_rows_are_counted_in_the_short_sentence():
    compared = [of(1.0, 0.01), of(2.0, 0.04), of(-1.0, 0.01), of(3.0, 0.05), of(-3.0, 0.9)]
    assert in_short("CE", "LIDC-A", compared) == (
        "Of 5 rows on LIDC-A, 2 are better than CE and 1 is worse than CE; 2 cannot be told apart from it."
    )
    assert in_short("CE", "LIDC-A", [of(9.0, 0.2)]) == "The one other row cannot be told apart from CE on LIDC-A."
    assert "No row can be compared" in in_short("CE", "LIDC-A", [])


def told(mean: float, p: float) -> Compared:
    """Return CE + log diameter, whose predictions read the readers' diameter."""
    row = ROWS["ce_diameter"]
    return Compared(Line(row, row.title, {}), mean, (mean - 1, mean + 1), 1.0, p, 5, True)


def test_a_row_that_is_given_a_diameter_is_counted_apart_in_the_same_sentence():
    compared = [of(1.0, 0.2), of(-2.0, 0.3), told(2.0, 0.036)]
    assert in_short("CE", "LIDC-A", compared, {"ce_diameter": 0.339}) == (
        "None of the 2 rows that see only the crop can be told apart from CE on LIDC-A; CE + log diameter, given the "
        "readers' diameter of each test nodule, is better than CE (p = 0.036 on the folds, 0.339 nodule by nodule)."
    )
    said = in_short("CE", "LIDC-A", [of(1.0, 0.01), of(2.0, 0.5), told(2.0, 0.2)])
    assert said.startswith("Of 2 rows that see only the crop on LIDC-A, 1 is better than CE; 1 cannot be told apart")
    assert "nodule, cannot be told apart from CE (p = 0.200 on the folds)" in said
    assert sentence(told(2.0, 0.036), "CE", "LIDC-A").startswith(
        "CE + log diameter (given the readers' diameter of each test nodule) is better than CE on LIDC-A"
    )


def test_a_row_that_is_given_a_diameter_and_has_no_p_value_is_given_none():
    constant = replace(told(0.0, math.nan), interval=(math.nan, math.nan))
    said = in_short("CE", "LIDC-A", [of(1.0, 0.2), constant])
    assert said.endswith("given the readers' diameter of each test nodule, equals CE in every fold.")
    assert in_short("CE", "C", [constant], {"ce_diameter": 0.0001}).endswith("on C (p <0.001 nodule by nodule).")


def test_both_p_values_stand_in_the_sentence_and_rows_that_differ_by_nodule_are_named():
    row = told(2.4, 0.139)
    assert "p = 0.139 on the folds, 0.009 nodule by nodule; 1.0 points" in sentence(
        row, "CE", "C", {"ce_diameter": 0.009}
    )
    (said,) = nodule_by_nodule("CE", [row, of(1.0, 0.01)], {"ce_diameter": 0.009, "ce": 0.05})
    assert said.endswith(
        "differ from CE: CE + log diameter (given the readers' diameter of each test nodule) (p = 0.009)."
    )
    (said,) = nodule_by_nodule("CE", [row], {"ce_diameter": 0.05})
    assert said.endswith("no row differs from CE.") and nodule_by_nodule("CE", [row], {}) == []


def test_a_reference_has_its_difference_and_unadjusted_interval():
    made = table(BASE, line("nsb", [2, 4, 4, 5, 6]))  # 12 points, 8.329 to either side: see above
    base, other = made.lines
    assert less_base(other, base, made, RESTRICTED) == "NSB +12.0 (+3.7 to +20.3)"
    assert less_base(line("nsb", [2, 4, 4, 5, 6], missing=0), base, made, RESTRICTED) == ""


def test_a_true_difference_of_the_smallest_significant_size_is_missed_about_half_the_time():
    # Half an interval at a typical spread: t(0.025, 4) = 2.776 times sqrt(1/5 + 1/4) of the spread between folds.
    wanted = 2.776 * np.sqrt(0.45) * 0.02
    assert 0.4 < Spread(test_over_train=0.25, fold_std=0.02).power(wanted, 5, 1) < 0.6


def test_what_two_points_take_is_not_said_of_rows_that_differ_by_the_same_in_every_fold():
    def said(*hits: int) -> list:
        return list(pooled._plan(table(line("ce", [5, 6, 7, 8, 9]), line("nsb", [*hits])), RESTRICTED))

    assert said(4, 5, 6, 7, 8) == [] and len(said(4, 6, 6, 8, 8)) == 1
