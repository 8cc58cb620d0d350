import math
from dataclasses import replace

import numpy as np
import pytest

from benchmark import references
from benchmark.against_base import Compared, compare, differences, p_value, points, size
from benchmark.contracts import Protocol, Row
from benchmark.planning import Spread
from benchmark.records import FitRecord, FitSpec
from benchmark.report import verdict
from benchmark.report.gather import Gathered
from benchmark.report.parts import Heading, More, Points, Prose
from benchmark.report.verdict import in_short, less_base, nodule_by_nodule, sentence
from benchmark.scores import Section
from benchmark.tables import Line, Table, block_of
from fakes import A, B, C, Linear, record
from gathered import make_gathered
from methods import ROWS

ALL = ROWS | references.ROWS
RESTRICTED = Section(B, "restricted")
SURE = np.eye(3).tolist()


def fits(key: str, hits: dict[int, int], label_set: str = "three", kind: str = "paper") -> list[FitRecord]:
    """Fold f decides `hits[f]` of ten benign and ten malignant nodules rightly, the rest wrongly."""
    records, last = [], {"three": 2, "two": 1}[label_set]
    for fold, right in hits.items():
        labels = [0] * 10 + [last] * 10
        decided = [0] * right + [last] * (10 - right) + [last] * right + [0] * (10 - right)
        proba = [SURE[d][: last + 1] for d in decided]
        records.append(record(FitSpec(label_set, key, fold, 0), labels, proba, kind=kind))
    return records


def line(key: str, hits: list[int], missing: int | None = None) -> Line:
    made = fits(key, {fold: right for fold, right in enumerate(hits) if fold != missing})
    return Line(Row(key, key.upper(), "paper", Linear), key.upper(), {"three": made})


def table(*lines: Line) -> Table:
    return Table("Table 9", lines, (block_of(RESTRICTED),), 5)


BASE = line("ce", [1, 2, 3, 4, 5])


def test_a_difference_is_a_number_with_its_sign_and_no_p_value_is_zero():
    assert [points(value) for value in (-0.04, 0.04, 1.25, -1.31, math.nan)] == ["+0.0", "+0.0", "+1.2", "-1.3", "-"]
    assert [size(value) for value in (1.31, math.nan)] == ["1.3", "-"]
    assert [p_value(p) for p in (0.0361, 0.0005, 0.00049, math.nan)] == ["0.036", "0.001", "<0.001", "-"]


def test_a_row_of_two_folds_is_compared_over_them_in_holms_family():
    # 10 and 20 points: mean 15, deviation 7.071. On one degree of freedom t is 12.706 at 0.05, and 25.452 at half of
    # it, Holm's first step of two rows.
    three, two = (
        Line(Row(key, key.upper(), "paper", Linear), key.upper(), {"three": fits(key, hits)})
        for key, hits in (("ce", {0: 1, 1: 2, 2: 3}), ("nsb", {1: 3, 2: 5}))
    )
    other = line("udm", [1, 3, 2])
    made = Table("Table 9", (three, two, other), (block_of(RESTRICTED),), 3)
    (one, _), left = compare(made, RESTRICTED)
    assert (one.line, one.mean, one.folds, one.complete, left) == (two, pytest.approx(15), 2, False, [])
    ratio = 0.5  # a third of the nodules is tested, two thirds are trained on
    error = math.sqrt(1 / 2 + ratio) * 7.0711
    assert one.needed == pytest.approx(25.452 * error, rel=1e-3)
    assert one.interval == pytest.approx((15 - 12.706 * error, 15 + 12.706 * error), rel=1e-3)


def test_a_difference_is_one_only_below_the_level_and_over_every_fold():
    assert of(1.0, 0.049).differs and not of(1.0, 0.05).differs
    assert not replace(of(1.0, 0.01), complete=False).differs


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
    assert sentence(one, "CE", "LIDC-B").startswith("NSB has the accuracy of CE in every fold of LIDC-B, which")
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
    assert said.endswith("given the readers' diameter of each test nodule, has the accuracy of CE in every fold.")
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


def judged(hits: dict[str, list[int]], *protocols: Protocol, missing: str = "", label_set: str = "three") -> Gathered:
    """Return a run of rows with so many hits in each fold; the first fold of one row may be missing."""
    records = [
        one
        for key, of_folds in hits.items()
        for one in fits(key, dict(enumerate(of_folds)), label_set, ALL[key].kind)
        if (key, one.spec.fold) != (missing, 0)
    ]
    return make_gathered(records, protocols=protocols, folds=5)


def sentences(run: Gathered) -> list[str]:
    return [said for part in verdict.chapter(run).parts if isinstance(part, Points) for said in part.sentences]


# Against CE Loss, which comes first: 30 to 40 points in every fold; none on the mean, three times; 40 to 90 points.
HITS = {
    "ce": [1, 2, 3, 4, 5],
    "poisson": [4, 6, 6, 7, 8],
    "clip_lung": [1, 2, 3, 5, 4],
    "udm": [1, 3, 3, 4, 4],
    "binomial": [1, 2, 4, 3, 5],
    "nsb": [10, 10, 10, 10, 9],
}


def test_a_protocol_is_judged_in_short_then_row_by_row_and_the_rest_on_a_click():
    hits = {key: HITS[key] for key in ("ce", "poisson", "clip_lung", "udm", "nsb")}
    top, points, more, how = verdict.chapter(judged(hits, A, missing="nsb")).parts
    assert top == Heading("LIDC-A (phantom)") and isinstance(points, Points) and isinstance(how, Prose)
    short, differs, papers, left, means = points.sentences
    assert short == "Of 3 rows on LIDC-A, 1 is better than CE Loss; 2 cannot be told apart from it."
    assert differs.startswith("Poisson is better than CE Loss on LIDC-A: +32.0 points")
    assert papers.startswith("CLIP-Lung and CE Loss cannot be told apart on LIDC-A: +0.0 points")
    assert left == "Not judged, since folds are missing there or in CE Loss: NSB."
    assert means == "The highest mean accuracy of a method is 62.0 % (Poisson)."  # NSB's is over four folds
    assert more.summary == "The other row on LIDC-A"
    ((said,),) = [part.sentences for part in more.parts]
    assert said.startswith("UDM and CE Loss cannot be told apart on LIDC-A")


def test_several_rows_on_a_click_are_counted_and_none_are_announced_where_there_are_none():
    def summaries(*keys: str) -> list[str]:
        parts = verdict.chapter(judged({key: HITS[key] for key in keys}, A)).parts
        return [part.summary for part in parts if isinstance(part, More)]

    assert summaries("ce", "udm", "binomial") == ["The other 2 rows on LIDC-A"]
    assert summaries("ce", "clip_lung") == summaries("ce") == []


def test_a_row_that_differs_nodule_by_nodule_is_told_of_without_a_click(monkeypatch):
    run = judged({key: HITS[key] for key in ("ce", "udm")}, A)
    for p, kinds in ((0.049, [Heading, Points, Prose]), (0.05, [Heading, Points, More, Prose])):
        monkeypatch.setattr(verdict, "_by_nodule", lambda *_, p=p: {"udm": p})
        assert [type(part) for part in verdict.chapter(run).parts] == kinds
        assert sentences(run)[1].startswith("Nodule by nodule, of these fitted models alone, ")


def test_the_other_decision_of_a_protocol_is_told_in_short_with_the_rows_that_differ_under_it():
    said = sentences(judged({key: HITS[key] for key in ("ce", "poisson", "clip_lung", "nsb")}, B, C, missing="nsb"))
    assert [one.partition(":")[0] for one in said[:5]] == [
        "Of 2 rows on LIDC-B (decision among benign or malignant), 1 is better than CE Loss; "
        "1 cannot be told apart from it.",
        "Of 2 rows on LIDC-B (decision among all classes), 1 is better than CE Loss; 1 cannot be told apart from it.",
        "Poisson is better than CE Loss on LIDC-B (decision among all classes)",
        "Poisson is better than CE Loss on LIDC-B (decision among benign or malignant)",
        "CLIP-Lung and CE Loss cannot be told apart on LIDC-B (decision among benign or malignant)",
    ]
    on_c = said[said.index("No row can be compared with CE Loss on LIDC-C: it needs two rows with every fold.") :]
    assert not any("LIDC-B" in one for one in on_c)


def test_rows_that_are_one_model_on_two_classes_are_said_to_be_and_counted_each():
    hits = {key: HITS[key] for key in ("ce", "nsb", "poisson")}
    counted = [one for one in sentences(judged(hits, B, C, label_set="two")) if "are one model" in one]
    assert [one.partition(":")[0] for one in counted] == ["On LIDC-C, CE Loss and NSB are one model"]
    assert counted[0].endswith("; the counts above take each for a row.")


def test_one_method_and_references_alone_are_said_to_be_so_and_no_protocol_is_no_chapter():
    assert sentences(judged({"ce": HITS["ce"]}, A)) == [
        "CE Loss is the only method of this run.",
        "The highest mean accuracy of a method is 30.0 % (CE Loss).",
    ]
    top, alone, _ = verdict.chapter(judged({"majority": HITS["ce"]}, A)).parts
    assert top == Heading("LIDC-A (phantom)") and alone == Prose(
        "Only references were made: there is no method to judge."
    )
    assert verdict.chapter(judged({"ce": HITS["ce"]})).parts == ()


def test_means_are_those_over_all_folds_with_given_diameters_and_references_apart():
    # Of the references, 6 and 5 of 10 in every fold: 50, 40, 30, 20 and 10 points above CE Loss, deviation 15.81, half
    # an interval 2.7764 * sqrt(1/5 + 1/4) * 15.81 = 29.45; the other ten points lower.
    hits = {"ce": HITS["ce"], "poisson": HITS["poisson"], "ce_diameter": [7, 7, 7, 7, 7]}
    beside = {"majority": [5] * 5, "log_diameter": [6] * 5, "number_of_readers": [9] * 5}
    said = sentences(judged(hits | beside, A, missing="number_of_readers"))
    first, second = (ALL[key].title for key in ("log_diameter", "majority"))
    assert said[-3:] == [
        "The highest mean accuracy of a row that sees only the crop is 62.0 % (Poisson); CE + log diameter, given the "
        "readers' diameter of each test nodule, has 70.0 %.",
        f"Beside it the references: {first} 60.0 %, {second} 50.0 %.",
        "Less CE Loss, in points on the folds, not adjusted for how many there are: "
        f"{first} +30.0 (+0.6 to +59.4), {second} +20.0 (-9.4 to +49.4).",
    ]


def test_without_a_mean_over_all_folds_none_is_the_highest():
    assert sentences(judged({"ce": HITS["ce"]}, A, missing="ce")) == ["CE Loss is the only method of this run."]


def test_rows_that_only_lose_are_counted_and_one_crop_beside_a_given_diameter_is_the_one():
    worse = [of(-0.5, 0.01), of(-0.9, 0.02), of(0.5, 0.3)]
    assert in_short("CE", "A", worse) == "Of 3 rows on A, 2 are worse than CE; 1 cannot be told apart from it."
    for mean, how in ((0.5, "better"), (-0.5, "worse")):
        said = in_short("CE", "A", [of(mean, 0.01), of(mean, 0.3)])
        assert said == f"Of 2 rows on A, 1 is {how} than CE; 1 cannot be told apart from it."
    one = in_short("CE", "A", [of(0.5, 0.3), told(1.0, 0.3)])
    assert one.startswith("The one row that sees only the crop cannot be told apart from CE on A; CE + log diameter")


def test_a_p_value_below_all_print_is_no_equation():
    (said,) = nodule_by_nodule("CE", [of(1.0, 0.2), told(1.0, 0.2)], {"ce": 0.0001, "ce_diameter": 0.06})
    assert said.endswith("these differ from CE: CE (p <0.001).")
    assert "Holm's p <0.001 on the folds, 0.010 nodule by nodule;" in sentence(of(1.0, 0.0001), "CE", "A", {"ce": 0.01})


def test_a_reference_has_its_difference_and_unadjusted_interval():
    made = table(BASE, line("nsb", [2, 4, 4, 5, 6]))  # 12 points, 8.329 to either side: see above
    base, other = made.lines
    assert less_base(other, base, made, RESTRICTED) == "NSB +12.0 (+3.7 to +20.3)"
    assert less_base(line("nsb", [2, 4, 4, 5, 6], missing=0), base, made, RESTRICTED) == ""
    two = Table("Table 9", (line("ce", [1, 2]), line("nsb", [2, 4])), (block_of(RESTRICTED),), 2)
    assert less_base(two.lines[1], two.lines[0], two, RESTRICTED).startswith("NSB +15.0 (")
    one = Table("Table 9", (line("ce", [1]), line("nsb", [2])), (block_of(RESTRICTED),), 1)
    assert less_base(one.lines[1], one.lines[0], one, RESTRICTED) == ""


def test_a_true_difference_of_the_smallest_significant_size_is_missed_about_half_the_time():
    # Half an interval at a typical spread: t(0.025, 4) = 2.776 times sqrt(1/5 + 1/4) of the spread between folds.
    wanted = 2.776 * np.sqrt(0.45) * 0.02
    assert 0.4 < Spread(test_over_train=0.25, fold_std=0.02).power(wanted, 5, 1) < 0.6
