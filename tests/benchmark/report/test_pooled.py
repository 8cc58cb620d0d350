"""The chapter on pooled predictions, on a dozen nodules whose every decision is known."""

import math
from dataclasses import replace

import numpy as np
import pytest

from benchmark.bootstrap import PairedBootstrap, paired_bootstrap
from benchmark.contracts import Row
from benchmark.planning import Spread
from benchmark.records import FitSpec
from benchmark.report import pooled
from benchmark.report.parts import Cell, Grid, Heading, Points, Prose
from benchmark.scores import Section
from benchmark.tables import Line, Table, block_of
from fakes import A, B, Linear, record
from gathered import fits_on, make_gathered
from nodule_tables import make_table

TABLE = make_table(12, fold=np.arange(12) // 6)
LABELS = TABLE.labels["three"]
OPEN_A, RESTRICTED_B = Section(A, "open"), Section(B, "restricted")
SURE = np.eye(3).tolist()


def decided(wrong: int) -> list[int]:
    """Decide wrongly on every nodule below a number."""
    return [(label + (row < wrong)) % 3 for row, label in enumerate(LABELS)]


CE, POISSON, CLIP = (
    fits_on(TABLE, *one) for one in (("ce", decided(6)), ("poisson", decided(4)), ("clip_lung", decided(2)))
)
MAJORITY = fits_on(TABLE, "majority", [0] * 12)
RUN = make_gathered([*CE, *POISSON, *CLIP, *MAJORITY], TABLE, (A, B))


def line(key: str, hits: list[list[int]], folds: tuple[int, ...] = (0, 1, 2, 3, 4)) -> Line:
    """Decide rightly on so many of ten benign and of ten malignant nodules, by fold and seed."""
    labels, made = [0] * 10 + [2] * 10, []
    for fold, of_seeds in zip(folds, hits, strict=True):
        for seed, right in enumerate(of_seeds):
            said = [0] * right + [2] * (10 - right) + [2] * right + [0] * (10 - right)
            made.append(record(FitSpec("three", key, fold, seed), labels, [SURE[one] for one in said]))
    return Line(Row(key, key.upper(), "paper", Linear), key.upper(), {"three": made})


def alone(*hits: int) -> list[list[int]]:
    return [[right] for right in hits]


def table(*lines: Line, folds: int = 5) -> Table:
    return Table("Table 9", lines, (block_of(RESTRICTED_B),), folds)


BASE = line("ce", alone(5, 6, 7, 8, 9))


def planned(monkeypatch, *lines: Line, folds: int = 5) -> list[tuple]:
    """Return what a plan is made of: the spread, and how many folds, seeds and other rows there are."""
    seen = []
    monkeypatch.setattr(pooled, "needs", lambda *given: seen.append(given) or iter(["said"]))
    said = list(pooled._plan(table(*lines, folds=folds), RESTRICTED_B))
    assert said == [Points(("said",))] * len(seen)
    return seen


def test_a_row_has_its_difference_interval_smallest_significant_difference_and_p_value(monkeypatch):
    lines = RUN.tables["table1"].lines
    found = [
        (lines[1], PairedBootstrap(0.05, 0.0125, 0.0875, 0.004, 0.31), 0.012),
        (lines[2], PairedBootstrap(-0.02, -0.07, 0.03, 0.05, 0.042), 0.05),  # no p below 0.05
    ]
    monkeypatch.setattr(pooled, "compared", lambda *_: (lines[0], found))
    (grid,) = pooled._compared(RUN, RUN.tables["table1"], OPEN_A)
    assert grid == Grid(
        "LIDC-A: pooled accuracy against CE Loss, in points",
        ("Method", "Difference", "95 % from", "to", "Smallest significant", "p (Holm)"),
        (
            (
                Cell("Poisson", is_best=True),
                *(Cell("+5.0", 0.05), Cell("+1.2", 0.0125), Cell("+8.8", 0.0875)),
                *(Cell("31.0", 0.31), Cell("0.012", 0.012)),
            ),
            (
                Cell("CLIP-Lung"),
                *(Cell("-2.0", -0.02), Cell("-7.0", -0.07), Cell("+3.0", 0.03)),
                *(Cell("4.2", 0.042), Cell("0.050", 0.05)),
            ),
        ),
    )


@pytest.mark.parametrize(("p", "best"), [(0.049, True), (0.05, False), (0.051, False)])
def test_a_row_stands_out_where_its_p_value_is_below_the_level(monkeypatch, p, best):
    lines = RUN.tables["table1"].lines
    found = PairedBootstrap(0.05, 0.01, 0.09, p, 0.04)
    monkeypatch.setattr(pooled, "compared", lambda *_: (lines[0], [(lines[1], found, p)]))
    (grid,) = pooled._compared(RUN, RUN.tables["table1"], OPEN_A)
    assert grid.body[0][0].is_best == best


def test_only_rows_tested_on_the_same_nodules_as_the_first_are_compared_and_count_for_holm():
    run = make_gathered([*CE, POISSON[0], *CLIP, *MAJORITY], TABLE)  # Poisson lacks a fold
    base, found = pooled.compared(run, run.tables["table1"], OPEN_A)
    assert base.title == "CE Loss" and [(line.title, one.difference) for line, one, _ in found] == [
        ("CLIP-Lung", 1 / 3)
    ]
    right = [np.array(decided(wrong)) == LABELS for wrong in (2, 6)]
    assert found[0][1] == paired_bootstrap(*right, TABLE.patient_ids, comparisons=1)
    assert found[0][2] == found[0][1].p_value
    _, both = pooled.compared(RUN, RUN.tables["table1"], OPEN_A)
    assert [one.difference for _, one, _ in both] == pytest.approx([1 / 6, 1 / 3])
    assert both[1][1] == paired_bootstrap(*right, TABLE.patient_ids, comparisons=2)


def test_only_the_nodules_of_a_protocols_classes_count():
    # Benign and malignant are 8 of 12 nodules: CE takes 0, 2, 3 and 5 for each other, CLIP-Lung 0 alone.
    swapped = ([2 - label if row < wrong else label for row, label in enumerate(LABELS)] for wrong in (6, 2))
    records = [one for key, said in zip(("ce", "clip_lung"), swapped, strict=True) for one in fits_on(TABLE, key, said)]
    run = make_gathered(records, TABLE, (B,))
    ((_, one, _),) = pooled.compared(run, run.tables["table2"], RESTRICTED_B)[1]
    assert one.difference == 3 / 8


def test_nothing_is_compared_where_the_first_row_or_every_row_lacks_predictions():
    broken = [replace(one, status="failed", reason="it diverged") for one in CE]
    for records in ([*broken, *POISSON, *CLIP], MAJORITY):
        run = make_gathered(records, TABLE)
        assert pooled.compared(run, run.tables["table1"], OPEN_A) == (None, [])
    run = make_gathered([*CE, *POISSON])  # without cohort.csv
    assert pooled.compared(run, run.tables["table1"], OPEN_A) == (None, [])


def test_the_rows_of_a_table_are_compared_once_for_all_chapters():
    given = RUN, RUN.tables["table1"], OPEN_A
    assert pooled.compared(*given) is pooled.compared(*given)


def test_the_chapter_has_a_heading_and_a_comparison_for_every_protocol_under_its_first_decision():
    chapter = pooled.chapter(RUN)
    titles = ["LIDC-A", "LIDC-B (decision among benign or malignant)"]
    assert [part.text for part in chapter.parts if isinstance(part, Heading)] == titles
    assert [part.caption.partition(":")[0] for part in chapter.parts if isinstance(part, Grid)] == titles
    assert "a true difference of 2 points four times in five" in chapter.parts[1].text
    assert [type(part) for part in chapter.parts[:4]] == [Prose, Prose, Heading, Grid]


def test_a_run_of_one_method_or_of_none_has_no_such_chapter():
    for records in (CE, MAJORITY, []):
        assert pooled.chapter(make_gathered(records, TABLE)).parts == ()
    only = make_gathered([*CE, *MAJORITY], TABLE)
    assert list(pooled._compared(only, only.tables["table1"], OPEN_A)) == []


def test_a_plan_goes_by_the_folds_of_the_rows_that_have_them_all(monkeypatch):
    # Differences of -1, 0, -1, 0, 0 and of -1, 0, 1, 0, 0 tenths: variances 0.003 and 0.005, 0.004 on the mean. Of 100
    # nodules all are tested by B, in five folds: a test fold is a quarter of its training set.
    rows = [line("nsb", alone(4, 6, 6, 8, 9)), line("udm", alone(4, 6, 8, 8, 9))]
    ((spread, *rest),) = planned(monkeypatch, BASE, *rows, line("corf", alone(0, 9, 0, 9), (0, 1, 2, 3)))
    assert spread.fold_std == pytest.approx(math.sqrt(0.004)) and spread.test_over_train == 0.25
    assert spread.seed_std == 0 and rest == [5, 1, 2]


@pytest.mark.parametrize("seeds", [2, 3])
def test_what_seeds_explain_of_the_folds_spread_is_taken_out_of_it(monkeypatch, seeds):
    base = line("ce", [[5] * seeds] * 5)
    restless = line("nsb", [[4, 6] if seeds == 2 else [4, 5, 6]] * 4 + [[8] * seeds])
    steady = line("udm", [[5] * seeds] * 4 + [[8] * seeds])
    ((spread, *rest),) = planned(monkeypatch, base, restless, steady)
    # The seeds of four folds of five are 0.1 and 0.1 off their mean: squares of 0.02 over one degree of freedom a fold,
    # or two. The other two rows have none of it; what counts is the mean over the rows that are set against the first.
    of_seeds = 4 * 0.02 / (5 * (seeds - 1)) / 2
    assert spread.seed_std == pytest.approx(math.sqrt(of_seeds)) and rest == [5, seeds, 2]
    # Both rows differ by 0, 0, 0, 0 and 0.3: squares of 0.24^2 + 4 * 0.06^2 = 0.072 over four degrees of freedom.
    assert spread.fold_std == pytest.approx(math.sqrt(0.072 / 4 - of_seeds / seeds))


def test_nothing_is_planned_without_two_rows_and_two_folds_or_where_the_first_row_lacks_one(monkeypatch):
    assert planned(monkeypatch, BASE) == []
    assert planned(monkeypatch, line("ce", [[5]], (0,)), line("nsb", [[6]], (0,)), folds=1) == []
    rows = line("nsb", alone(4, 6, 6, 8, 9)), line("udm", alone(4, 6, 8, 8, 9))
    assert planned(monkeypatch, line("ce", alone(5, 6, 7, 8), (0, 1, 2, 3)), *rows) == []
    two = line("ce", alone(5, 6), (0, 1)), line("nsb", alone(5, 7), (0, 1))
    assert [given[1:] for given in planned(monkeypatch, *two, folds=2)] == [(2, 1, 1)]


def test_a_reference_is_no_row_of_a_plan(monkeypatch):
    reference = replace(line("majority", alone(0, 9, 0, 9, 0)), row=Row("majority", "MAJORITY", "reference", Linear))
    assert planned(monkeypatch, BASE, reference) == []


def test_what_two_points_take_is_not_said_of_rows_that_differ_by_the_same_in_every_fold():
    def said(*hits: int) -> list:
        return list(pooled._plan(table(BASE, line("nsb", alone(*hits))), RESTRICTED_B))

    assert said(4, 5, 6, 7, 8) == [] and len(said(4, 6, 6, 8, 8)) == 1


def test_the_words_of_a_plan_go_by_its_numbers():
    # sqrt(1/4) * 0.02 * (1.960 + 0.842) = 2.8 points are never found; with 2.241 for half of 0.05, 3.1.
    one, both = pooled.needs(Spread(test_over_train=0.25, fold_std=0.02), 5, 1, 2)
    never = "no number of repeats suffices; below {} points no number of folds and seeds would do."
    assert one == f"To find 2 points in one row alone, with 1 seed a fold, {never.format('2.8')}"
    assert both == f"To find 2 points in Holm's first step over 2 rows, with 1 seed a fold, {never.format('3.1')}"
    (easy,) = pooled.needs(Spread(test_over_train=0.25, fold_std=0.001), 5, 2, 1)
    assert easy == (
        "To find 2 points in one row alone, with 2 seeds a fold, it takes 1 repeat of the 5 folds; "
        "below 0.1 points no number of folds and seeds would do."
    )
    (large,) = pooled.needs(Spread(test_over_train=0.25, fold_std=0.5), 5, 2, 1)
    assert "; below 70.0 points no number" in large  # 0.5 * 0.5 * 2.8016: a hundred times, not a hundred and one
