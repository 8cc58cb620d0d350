import csv
import io
import shutil
import subprocess
from dataclasses import replace

import numpy as np
import pytest

import methods
from benchmark import tables
from benchmark.against_base import COMPARISON, differences
from benchmark.contracts import Row
from benchmark.footnotes import MEETS_NARROW, footnotes, same_models
from benchmark.records import FitRecord, FitSpec
from benchmark.render import csv_text, latex, markdown
from benchmark.scores import Score, Section
from benchmark.statistics import corrected_t_test, smallest_detectable_difference
from benchmark.tables import (
    Line,
    Table,
    accuracy_table,
    best,
    block_of,
    cells,
    comparison_table,
    grid,
    line_of,
    printed,
    tables_of,
)
from fakes import A, B, C, Linear, record

PDFLATEX = shutil.which("pdflatex")
SURE = np.eye(3).tolist()
OPEN_A, RESTRICTED_B, OPEN_B = Section(A, "open"), Section(B, "restricted"), Section(B, "open")


def row_of(key: str, kind: str = "paper", losses: str = "") -> Row:
    make = Linear if kind != "reference" else lambda train, test, labels, num_classes, seed: np.empty((0, 3))
    return Row(key, key.upper(), kind, make, losses=losses)


def fits(key: str, hits: list[int], seeds: int = 1) -> list[FitRecord]:
    """Fold f decides `hits[f]` of ten benign and ten malignant nodules rightly, the rest wrongly."""
    records = []
    for fold, right in enumerate(hits):
        labels = [0] * 10 + [2] * 10
        decided = [0] * right + [2] * (10 - right) + [2] * right + [0] * (10 - right)
        for seed in range(seeds):
            records.append(record(FitSpec("three", key, fold, seed), labels, [SURE[d] for d in decided]))
    return records


def line(key: str, hits: list[int], kind: str = "paper", seeds: int = 1) -> Line:
    return Line(row_of(key, kind), key.upper(), {"three": fits(key, hits, seeds)})


def table(lines: list[Line], sections: list[Section], folds: int = 5) -> Table:
    return Table("Table 9", tuple(lines), tuple(map(block_of, sections)), folds)


def test_a_cell_is_the_mean_and_the_sample_standard_deviation_over_folds():
    accuracy = cells(line("ce", [5, 6, 7, 8, 9]), RESTRICTED_B)["accuracy"]
    assert accuracy.folds.tolist() == pytest.approx([0.5, 0.6, 0.7, 0.8, 0.9])
    assert printed(accuracy, 5) == "70.0 ± 15.8"  # sqrt(0.025) with ddof=1; ddof=0 would give 14.1


def test_seeds_are_repeats_and_no_further_folds():
    assert printed(cells(line("ce", [5, 6, 7, 8, 9], seeds=4), RESTRICTED_B)["accuracy"], 5) == "70.0 ± 15.8"


def test_rows_of_unequal_seeds_say_so_below_the_table_and_rows_of_equal_ones_say_nothing():
    def notes(*lines: Line) -> list[str]:
        return [note for note in footnotes(table([*lines], [OPEN_A])) if "Seeds" in note]

    one, two = line("ce", [5] * 5), line("poisson", [5] * 5, seeds=2)
    reference = line("majority", [5] * 5, "reference", seeds=3)
    assert notes(one, line("nsb", [5] * 5), reference) == []
    said = "Seeds of a fold differ: 1 seed: CE, NSB; 2 seeds: POISSON. A mean over more of them is steadier"
    assert notes(one, two, line("nsb", [5] * 5), reference) == [said]
    records = two.records["three"]
    uneven = replace(one, records={"three": records[:-1]})
    assert notes(uneven) == ["Seeds of a fold differ: 1 to 2 seeds: CE. A mean over more of them is steadier"]


def test_nothing_is_the_best_where_all_have_zero():
    lines = [line("ce", [0] * 5), line("poisson", [0] * 5)]
    zero = table(lines, [OPEN_A])
    assert all(np.isnan(best(zero, column)) for column in block_of(OPEN_A).columns if column.metric == "accuracy")


def test_a_missing_fold_shows_its_count():
    assert printed(Score(np.array([0.5, 0.6, 0.7, 0.8]), (0, 1, 2, 3)), 5) == "65.0 ± 12.9 (n=4)"
    assert printed(Score(np.array([0.5]), (0,)), 5) == "50.0 (n=1)"
    assert printed(Score(np.array([0.5]), (0,)), 1) == "50.0"
    assert printed(Score(np.array([0.5, 0.6]), (0, 1)), 2) == "55.0 ± 7.1"
    assert printed(Score(np.array([0.5, 0.6]), (0, 1)), 1) == "55.0 ± 7.1 (n=2)"
    assert printed(None, 5) == "-" == printed(Score(np.array([np.nan, 1.0]), (0, 1)), 5)


def test_a_cell_reads_the_label_set_of_its_own_protocol():
    two = record(FitSpec("two", "ce", 0, 0), [0, 1], [[1.0, 0.0], [0.0, 1.0]])
    found = Line(row_of("ce"), "CE", {"three": fits("ce", [5] * 5), "two": [two]})
    assert cells(found, Section(C, "open"))["accuracy"].mean == 1.0
    assert cells(found, RESTRICTED_B)["accuracy"].mean == 0.5
    assert cells(Line(row_of("ce"), "CE", {}), OPEN_A) == {}


def test_the_best_method_is_bold_and_a_reference_never():
    lines = [line("ce", [6] * 5), line("best", [7] * 5), line("prior", [9] * 5, kind="reference")]
    text = markdown(table(lines, [RESTRICTED_B]), ["a note"])
    assert "**70.0 ± 0.0**" in text and "**90" not in text and "**60" not in text
    assert "(reference) PRIOR" in text and "- a note" in text
    assert r"\textbf{70.0 $\pm$ 0.0}" in latex(table(lines, [RESTRICTED_B]), [])


def test_rows_that_print_the_same_are_best_together():
    lines = [line("ce", [7] * 5), line("also", [5, 6, 7, 8, 9]), line("worse", [6] * 5)]
    column = block_of(RESTRICTED_B).columns[0]
    assert best(table(lines, [RESTRICTED_B]), column) == 70.0
    body = grid(table(lines, [RESTRICTED_B]), block_of(RESTRICTED_B), ("<", ">"))
    assert [texts[0] for texts in body] == ["<70.0 ± 0.0>", "<70.0 ± 15.8>", "60.0 ± 0.0"]


@pytest.mark.parametrize(("other", "bold"), [(0.70042, True), (0.69961, True), (0.69942, False), (0.69, False)])
def test_the_best_is_told_by_what_is_printed_to_one_decimal(monkeypatch, other, bold):
    means = {"BEST": 0.70012, "OTHER": other}
    monkeypatch.setattr(tables, "cells", lambda line, _: {"accuracy": Score(np.array([means[line.title]]), (0,))})
    lines = [line("best", [5]), line("other", [5])]
    column = block_of(RESTRICTED_B).columns[0]
    block = replace(block_of(RESTRICTED_B), columns=(column,))
    assert best(table(lines, [RESTRICTED_B], 1), column) == 70.0
    assert [texts[0].startswith("<") for texts in grid(table(lines, [RESTRICTED_B], 1), block, ("<", ">"))] == [
        True,
        bold,
    ]


def test_nothing_is_best_where_nothing_is_known():
    unknown = Line(row_of("ce"), "CE", {})
    assert np.isnan(best(table([unknown], [OPEN_A]), block_of(OPEN_A).columns[0]))
    one_class = [record(FitSpec("three", "ce", fold, 0), [0], [SURE[0]]) for fold in range(5)]
    benign_only = Line(row_of("ce"), "CE", {"three": one_class})
    at = {column.metric: column for column in block_of(RESTRICTED_B).columns}
    assert np.isnan(best(table([benign_only], [RESTRICTED_B]), at["recall_malignant"]))  # no malignant one was tested
    assert best(table([benign_only, line("ce", [7] * 5)], [RESTRICTED_B]), at["recall_malignant"]) == 70.0


@pytest.mark.parametrize("folds", [1, 4])
def test_a_mean_over_fewer_folds_is_never_bold(folds):
    lines = [line("short", [9] * folds), line("whole", [6] * 5), line("worse", [5] * 5)]
    assert best(table(lines, [RESTRICTED_B]), block_of(RESTRICTED_B).columns[0]) == 60.0
    text = markdown(table(lines, [RESTRICTED_B]), [])
    assert f"(n={folds})" in text and "**60.0 ± 0.0**" in text and "**90.0" not in text
    assert "**" not in markdown(table(lines[:1], [RESTRICTED_B]), []).replace("## ", "")


def test_b_shows_the_restricted_and_the_open_decision():
    found = comparison_table("Table 2", [B, C], [line("ce", [6] * 5)], 5)
    assert [block.title for block in found.blocks] == [
        "LIDC-B (decision among benign or malignant)",
        "LIDC-C",
        "LIDC-B (decision among all classes)",
    ]
    assert found.title == "Table 2: LIDC-B, LIDC-C" and found.folds == 5
    assert list(found.sections) == [RESTRICTED_B, Section(C, "open"), OPEN_B]


def test_a_block_compares_its_own_section():
    block = block_of(RESTRICTED_B)
    assert block.compared == (RESTRICTED_B,) and block.columns[1].heading == "Benign recall"
    assert {column.section for column in block.columns} == {RESTRICTED_B}


def test_differences_are_paired_by_fold_and_carry_the_detectable_difference():
    lines = [line("ce", [5, 6, 7, 8, 9]), line("mixed", [6, 5, 8, 7, 9])]
    (mixed,) = differences(table(lines, [RESTRICTED_B]), RESTRICTED_B)
    assert mixed == ["MIXED", "+0.0", "18.6", "1.000"]  # 1.8624 times a deviation of 10 points
    lines.insert(1, line("worse", [4, 5, 6, 7, 8]))
    worse, _ = differences(table(lines, [RESTRICTED_B]), RESTRICTED_B)
    assert worse == ["WORSE", "-10.0", "-", "-"]  # the same in every fold: no test says anything of others


def test_the_detectable_difference_and_the_p_value_speak_of_one_test():
    """t of 4 degrees of freedom passes 4.6041 with 1 % on both sides: five rows share 5 %."""
    names = [f"row{n}" for n in range(5)]
    lines = [line("ce", [5] * 5), *(line(name, [4, 5, 6, 5, 5]) for name in names)]
    found = differences(table(lines, [RESTRICTED_B]), RESTRICTED_B)
    deviation = np.std([-10, 0, 10, 0, 0], ddof=1)
    assert {least for _, _, least, _ in found} == {f"{4.6041 * np.sqrt(1 / 5 + 1 / 4) * deviation:.1f}"} == {"21.8"}


@pytest.mark.parametrize("shift", range(1, 6))
def test_the_smallest_p_value_is_below_alpha_just_where_its_difference_is_detectable(shift):
    changes = [[0, 1, 0, 0, 1], [0, 0, 0, 1, -1], [-1, 0, 1, 0, 0]]
    lines = [line("ce", [3] * 5), line("one", [3 + shift + d for d in changes[0]])]
    lines += [line(f"row{n}", [3 + d for d in change]) for n, change in enumerate(changes[1:])]
    one = differences(table(lines, [RESTRICTED_B]), RESTRICTED_B)[0]
    assert (abs(float(one[1])) > float(one[2])) == (float(one[3].lstrip("<")) < 0.05)


def test_p_values_are_nadeau_and_bengios_for_this_number_of_folds_and_holm_adjusted():
    first, second = [1, 0, 2, 1, 0], [0, 1, 0, 1, 1]
    lines = [line("ce", [5] * 5), line("one", [5 + d for d in first]), line("two", [5 + d for d in second])]
    p = [corrected_t_test(np.array(d) / 10, 1 / 4) for d in (first, second)]
    one, two = differences(table(lines, [RESTRICTED_B]), RESTRICTED_B)
    smaller, larger = sorted(p)
    holm = {smaller: 2 * smaller, larger: max(2 * smaller, larger)}
    assert [one[3], two[3]] == [f"{holm[value]:.3f}" for value in p]
    least = smallest_detectable_difference(np.array(first) / 10, 1 / 4, 0.05 / 2)
    assert one[:3] == ["ONE", "+8.0", f"{100 * least:.1f}"]


def test_a_protocol_that_tests_two_of_three_classes_is_corrected_by_what_it_tests():
    """Two in three nodules are tested on LIDC-B: 2/3 of a fold over the four folds that train is 1/6, not 1/4."""
    changes = [1, 0, 2, 1, 0]

    def of(key: str, rights: list[int]) -> Line:
        labels = [0] * 10 + [1] * 5
        decided = [[SURE[0]] * right + [SURE[2]] * (15 - right) for right in rights]
        made = [record(FitSpec("three", key, fold, 0), labels, proba) for fold, proba in enumerate(decided)]
        return Line(row_of(key), key.upper(), {"three": made})

    lines = [of("ce", [5] * 5), of("one", [5 + d for d in changes])]
    for section, tested in ((RESTRICTED_B, 2 / 3), (OPEN_B, 2 / 3), (OPEN_A, 1)):
        delta = np.array(changes) / (10 if section is not OPEN_A else 15)
        ((_, _, least, p),) = differences(table(lines, [section]), section)
        assert p == f"{corrected_t_test(delta, tested / 4):.3f}"
        assert least == f"{100 * smallest_detectable_difference(delta, tested / 4):.1f}"


def test_ten_folds_share_more_of_their_training_data():
    lines = [line("ce", [5] * 10), line("one", [5, 6] * 5)]
    ((_, _, least, p),) = differences(table(lines, [RESTRICTED_B], folds=10), RESTRICTED_B)
    delta = np.array([0, 0.1] * 5)
    assert p == f"{corrected_t_test(delta, 1 / 9):.3f}"
    assert least == f"{100 * smallest_detectable_difference(delta, 1 / 9):.1f}"


def test_only_folds_that_both_have_are_compared():
    short = Line(row_of("short"), "SHORT", {"three": fits("short", [9, 9, 5, 6, 7])[2:]})
    one = Line(row_of("one"), "ONE", {"three": fits("one", [9])})
    lines = [line("ce", [5, 5, 5, 5]), one, short]
    (found,) = differences(table(lines, [RESTRICTED_B]), RESTRICTED_B)
    assert found[:2] == ["SHORT", "+5.0"]  # folds 2 and 3; a single common fold says nothing


def test_references_are_not_compared_and_no_method_means_no_comparison():
    prior = line("prior", [9] * 5, kind="reference")
    assert differences(table([line("ce", [6] * 5), prior], [RESTRICTED_B]), RESTRICTED_B) == []
    assert differences(table([prior], [RESTRICTED_B]), RESTRICTED_B) == []
    assert len(COMPARISON) == 4


def test_failed_and_unsupported_fits_are_footnotes():
    good = line("ce", [6] * 4)
    good.records["three"].append(record(FitSpec("three", "ce", 4, 0), [], [], status="failed", reason="it is nan"))
    gone = record(FitSpec("three", "gap", 0, 0), [], [], status="unsupported", reason="no text")
    gap = Line(row_of("gap"), "Gap", {"three": [gone]})
    notes = footnotes(table([good, gap], [RESTRICTED_B]))
    assert notes == [
        "CE on LIDC-B failed on fold 4: it is nan",
        "Gap on LIDC-B: folds 1, 2, 3, 4 still to be made",
        "Gap on LIDC-B does not apply: no text",
    ]
    text = markdown(table([good, gap], [RESTRICTED_B]), [])
    assert "(n=4)" in text and "it is nan" in text


def test_a_footnote_names_all_folds_of_a_reason_once_and_all_tables_that_it_spoils():
    failed = [
        record(FitSpec("three", "ce", fold, seed), [], [], status="failed", reason=reason)
        for fold, seed, reason in ((3, 0, "nan"), (1, 0, "nan"), (1, 1, "nan"), (2, 0, "memory"))
    ]
    two = record(FitSpec("two", "ce", 0, 0), [], [], status="failed", reason="nan")
    spoilt = Line(row_of("ce"), "CE", {"three": failed, "two": [two]})
    notes = footnotes(table([spoilt], [OPEN_A, RESTRICTED_B, OPEN_B, Section(C, "open")]))
    assert [note for note in notes if "still" not in note] == [
        "CE on LIDC-A, LIDC-B failed on folds 1, 3: nan",
        "CE on LIDC-A, LIDC-B failed on fold 2: memory",
        "CE on LIDC-C failed on fold 0: nan",
    ]


def test_folds_that_were_trained_with_fewer_nodules_at_once_are_a_footnote():
    short = line("ce", [6] * 5)
    for fold, size in ((3, 16), (1, 16), (2, 8)):
        one = short.records["three"][fold]
        short.records["three"][fold] = replace(one, metadata=replace(one.metadata, micro_batch=size))
    gone = replace(short.records["three"][4], status="failed", reason="nan")
    short.records["three"][4] = replace(gone, metadata=replace(gone.metadata, micro_batch=4))  # in no number
    notes = [note for note in footnotes(table([short], [OPEN_A])) if "failed" not in note]
    assert [note.partition(", since")[0] for note in notes] == [
        "CE on LIDC-A: folds 1, 3 trained with 16 nodules at once",
        "CE on LIDC-A: fold 2 trained with 8 nodules at once",
    ]
    assert all("batch normalisation" in note and "no plain mean over a batch" in note for note in notes)


def test_a_dash_and_a_smaller_n_are_explained():
    part = Line(row_of("part"), "Part", {"three": fits("part", [6, 6, 6])})
    none = Line(row_of("none"), "None", {})
    found = table([line("ce", [6] * 5), part, none], [OPEN_A, RESTRICTED_B, Section(C, "open")])
    assert footnotes(found) == [
        "CE on LIDC-C: every fold still to be made",
        "Part on LIDC-A, LIDC-B: folds 3, 4 still to be made",
        "Part on LIDC-C: every fold still to be made",
        "None on LIDC-A, LIDC-B: every fold still to be made",
        "None on LIDC-C: every fold still to be made",
    ]
    lonely = Line(row_of("ce"), "CE", {"three": fits("ce", [6] * 4)})
    assert footnotes(table([lonely], [OPEN_A])) == ["CE on LIDC-A: fold 4 still to be made"]


def test_a_table_without_any_finished_fit_is_still_a_table():
    text = markdown(table([Line(row_of("ce"), "CE", {})], [OPEN_A]), [])
    assert "| CE" in text and " nan " not in text


def test_every_csv_line_says_where_its_number_comes_from():
    text = csv_text(table([line("ce", [6] * 5)], [RESTRICTED_B, OPEN_B]), {"source": "phantom"})
    lines = list(csv.DictReader(io.StringIO(text)))
    assert all(line["source"] == "phantom" for line in lines)
    accuracy = next(line for line in lines if line["metric"] == "accuracy" and line["decision"] == "restricted")
    assert (accuracy["dataset"], accuracy["mean"], accuracy["std"], accuracy["n"]) == ("B", "0.600000", "0.000000", "5")
    assert (accuracy["method"], accuracy["title"], accuracy["kind"]) == ("ce", "CE", "paper")


@pytest.mark.skipif(PDFLATEX is None, reason="needs pdflatex, which is not here")
def test_latex_compiles_whatever_a_title_holds(tmp_path):
    title = "".join(map(chr, range(1, 0x180))) + "\\input{x} \N{GREEK SMALL LETTER BETA} \N{GRINNING FACE}"
    strange = replace(line("ce", [6, 5, 4, 6, 5]), title=title)
    text = latex(table([strange, line("poisson", [5] * 5)], [RESTRICTED_B, OPEN_B]), ["a note: " + title])
    assert "[U+03B2]" in text and "[U+1F600]" in text and "[U+0007]" in text
    document = f"\\documentclass{{article}}\n\\begin{{document}}\n{text}\\end{{document}}\n"
    (tmp_path / "table.tex").write_text(document, "utf-8")
    command = [PDFLATEX, "-halt-on-error", "-interaction=nonstopmode", "-no-shell-escape", "table.tex"]
    made = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, errors="replace")
    assert made.returncode == 0, made.stdout[-1500:]
    assert "Missing character" not in (tmp_path / "table.log").read_text("utf-8", "replace")


def test_latex_escapes_what_latex_reads():
    text = latex(table([line("ce", [6] * 5)], [RESTRICTED_B]), ["50% of a_b & c"])
    assert r"50\% of a\_b \& c" in text and r"\begin{tabular}" in text


def test_accuracies_of_several_datasets_stand_side_by_side():
    text = markdown(accuracy_table("Table 3", [A, B], [line("ic", [6] * 5), line("full", [7] * 5)], 5), [])
    assert "| Method   | LIDC-A         | LIDC-B         |" in text
    assert "LIDC-A, accuracy against IC" in text and "LIDC-B (decision among benign or malignant), accuracy" in text


@pytest.mark.parametrize(
    ("kind", "marked"),
    [
        ("paper", "CORAL"),
        ("ablation", "CORAL"),
        ("control", "(control) CORAL"),
        ("added", "(added) CORAL"),
        ("variant", "(variant) CORAL"),
        ("plugin", "(plugin) CORAL"),
        ("reference", "(reference) CORAL"),
    ],
)
def test_a_row_that_the_paper_does_not_have_is_marked(kind, marked):
    found = line("coral", [5] * 5, kind=kind)
    assert found.marked == marked and found.is_trained == (kind != "reference")


ROWS = {
    row.key: row
    for row in [
        row_of("ce"),
        row_of("full", losses="IC + IA"),
        row_of("plain", "control"),
        row_of("coral", "added"),
        row_of("ic", "ablation", losses="IC"),
        row_of("mine", "plugin"),
        row_of("prior", "reference"),
    ]
}


def titles(found: Table) -> list[str]:
    return [line.title for line in found.lines]


def test_below_a_table_stands_which_rows_read_diameters():
    sized = Row("sized", "Sized", "control", type("Sized", (Linear,), {"reads_diameter": True}))
    lines = [line("ce", [5] * 5), Line(sized, "Sized", {"three": fits("sized", [5] * 5)})]
    sentence = "Sized reads the diameter that the radiologists' outlines give, of the test nodules too"
    assert footnotes(table(lines, [RESTRICTED_B])) == [sentence] and sentence in markdown(
        table(lines, [RESTRICTED_B]), []
    )
    assert footnotes(table(lines[:1], [RESTRICTED_B])) == []


def test_tables_1_and_2_have_every_row_but_the_ablations_and_references_below():
    found = tables_of([A, B, C], ROWS, {}, 5)
    assert list(found) == ["table1", "table2", "table3"]
    assert titles(found["table1"]) == titles(found["table2"]) == ["CE", "FULL", "PLAIN", "CORAL", "MINE", "PRIOR"]
    assert found["table1"].title == "Table 1: LIDC-A" and found["table2"].title == "Table 2: LIDC-B, LIDC-C"


def test_table_3_has_the_sums_of_losses_the_whole_one_last_and_references_below():
    found = tables_of([A, C], ROWS, {}, 7)["table3"]
    assert titles(found) == ["IC", "IC + IA", "PRIOR"] and found.folds == 7
    assert [column.heading for column in found.blocks[0].columns] == ["LIDC-A", "LIDC-C"]
    assert found.blocks[0].compared == (OPEN_A, Section(C, "open"))
    assert found.title.startswith("Table 3: losses of CLIP-Lung (cross-entropy is in every row)")


def test_tables_are_made_of_what_was_chosen():
    assert list(tables_of([C], {key: ROWS[key] for key in ("ce", "full", "coral")}, {}, 5)) == ["table2"]
    assert list(tables_of([A], {"full": ROWS["full"]}, {}, 5)) == ["table1"]  # the whole sum alone makes no Table 3


def test_a_line_gathers_its_own_rows_records_by_label_set():
    own, other = fits("ce", [5, 6]), [*fits("udm", [5]), *fits("aaa", [5])]
    two = record(FitSpec("two", "ce", 0, 0), [0, 1], [[1.0, 0.0], [0.0, 1.0]])
    found = {r.spec: r for r in [*own, *other, two]} | {FitSpec("three", "ce", 4, 0): None}
    line = line_of(row_of("ce"), "As printed", found)
    assert line.records == {"three": own, "two": [two]} and line.title == "As printed"


def test_two_lines_of_one_row_keep_their_own_scores():
    first, second = line("ce", [5] * 5), line("ce", [6] * 5)
    assert cells(first, RESTRICTED_B)["accuracy"].mean != cells(second, RESTRICTED_B)["accuracy"].mean
    assert replace(first).row is first.row


def test_rows_that_are_one_model_on_two_classes_are_named_there_and_nowhere_else():
    class Logistic(Linear):
        on_two_classes = "a logistic regression"

    rows = [Row(key, key.upper(), "paper", Logistic) for key in ("ce", "nsb", "corn")]
    rows.append(Row("smoothed", "SMOOTHED", "variant", Logistic, {"spoil": "x"}))
    lines = [Line(row, row.title, {"two": [], "three": []}) for row in (*rows, row_of("udm"))]
    assert same_models(table(lines, [Section(C, "open"), OPEN_A])) == [
        "On LIDC-C, CE, NSB and CORN are one model: a logistic regression"
    ]
    assert same_models(table(lines, [OPEN_A])) == [] == same_models(table(lines[2:], [Section(C, "open")]))
    assert "are one model" in markdown(table(lines, [Section(C, "open")]), [])


def test_what_a_user_wrote_stays_in_its_cell():
    row = Row("ce", "CE a|b\nc $x^2$ \\foo {z}", "paper", Linear)
    found = table([Line(row, row.title, {"three": fits("ce", [6] * 5)}), line("udm", [5] * 5)], [RESTRICTED_B])
    text = markdown(found, ["a|b\nc"])
    lines = [one for one in text.splitlines() if one.startswith("| CE")]
    assert len(lines) == 1 and r"CE a\|b c $x^2$ \\foo {z}" in lines[0] and r"- a\|b c" in text
    latexed = latex(found, [])
    assert r"CE a$|$b c \$x\textasciicircum{}2\$ \textbackslash{}foo \{z\}" in latexed


WORDS = {
    "HTML": ("<img src=//192.0.2.1/x>", r"\<img src=//192.0.2.1/x\>"),
    "a character reference": ("A & B &lt;b&gt; &#60;", r"A & B \&lt;b\&gt; \&#60;"),
    "a link": ("[CE](http://192.0.2.1)", r"\[CE\](http:\//192.0.2.1)"),
    "a remote picture": ("![x](https://192.0.2.1/x.png)", r"\!\[x\](https:\//192.0.2.1/x.png)"),
    "a bare address": ("http://192.0.2.1 www.example.org", r"http:\//192.0.2.1 www\.example.org"),
    "somebody's name": ("by @somebody", r"by \@somebody"),
    "code": ("`x` ~~y~~", r"\`x\` \~\~y\~\~"),
    "bold": ("**best** _so_ a_b", r"\*\*best\*\* \_so\_ a_b"),
    "a heading": ("# x", r"\# x"),
    "a cell": ("a|b \\| c", r"a\|b \\\| c"),
    "plain words": ("CE (0.5-1.0), p! & q: 3/4 ± 1", "CE (0.5-1.0), p! & q: 3/4 ± 1"),
}


@pytest.mark.parametrize("name", WORDS)
def test_no_word_in_a_markdown_table_is_markup(name):
    written, escaped = WORDS[name]
    text = markdown(table([Line(row_of("ce"), written, {})], [OPEN_A]), [written, f"a note\n{written}"])
    cells = [line.split("  ")[0] for line in text.splitlines() if line.startswith(f"| {escaped} ")]
    assert len(cells) == 1 and f"\n- {escaped}\n" in text
    inside = escaped.removeprefix("\\") if name == "a heading" else escaped
    assert f"\n- a note {inside}\n" in text


def test_the_names_of_classes_are_words_too():
    protocol = replace(A, title="A*", class_names=("<b>", "x|y", "`z`"))
    text = markdown(table([line("ce", [6] * 5)], [Section(protocol, "open")]), [])
    assert r"\<b\>" in text and r"A\*" in text and "<b>" not in text and "A*" not in text


@pytest.mark.parametrize(
    ("written", "shown"),
    [
        ("=1+1", "'=1+1"),
        ("a\r=1", "a =1"),
        ("a\n@x\t=2", "a @x =2"),
        ("\r\n-A1", "'-A1"),
        ("\uff1d1", "'\uff1d1"),
        ("a;\uff0b1;-1;=x", "a;'\uff0b1;-1;'=x"),
        ("-1.5", "-1.5"),
        ("a=b; c", "a=b; c"),
    ],
    ids=["a sign", "a return", "a line and a tab", "a return first", "full-width", "semicolons", "a number", "words"],
)
def test_a_title_in_a_csv_is_one_cell_that_no_spreadsheet_runs(written, shown):
    made = table([Line(row_of("ce"), written, {"three": fits("ce", [6] * 5)})], [OPEN_A])
    text = csv_text(made, {"note": written})
    assert "\r" not in text and {len(cells) for cells in csv.reader(io.StringIO(text, newline=""))} == {10}
    assert {(row["title"], row["note"]) for row in csv.DictReader(io.StringIO(text))} == {(shown, shown)}


def test_what_is_unknown_is_empty_in_the_csv():
    text = csv_text(table([line("ce", [6])], [RESTRICTED_B]), {})
    assert ",nan" not in text and ",0.600000,,1" in text


def test_a_row_whose_encoders_are_narrower_says_so_and_that_its_texts_are_projected():
    def notes(key: str) -> list[str]:
        return [note for note in footnotes(table([Line(methods.ROWS[key], key, {})], [OPEN_A])) if "encoder" in note]

    said = (
        "trains 9 image encoders, each 3 times narrower than the shared one, "
        "which together multiply about as often as that does"
    )
    assert notes("mv_dar") == [f"mv_dar {said}"] and notes("ce") == notes("mv_dar_wide") == []
    assert notes("mv_dar_text") == [f"mv_dar_text {said}; {MEETS_NARROW}"]
