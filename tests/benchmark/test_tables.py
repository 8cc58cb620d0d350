import csv
import io

import numpy as np
import pytest

from benchmark.records import FitSpec
from benchmark.render import csv_text, latex, markdown
from benchmark.tables import Cell, Row, Section, Table, accuracies_of, block_of, cells, differences, footnotes, printed
from fakes import A, B, record

SURE = np.eye(3).tolist()
OPEN_A, RESTRICTED_B, OPEN_B = Section(A, "open"), Section(B, "restricted"), Section(B, "open")


def row(key: str, hits: list[int], kind: str = "method", seeds: int = 1) -> Row:
    """A row whose fold f decides `hits[f]` of ten benign and ten malignant nodules rightly, the rest wrongly."""
    records = []
    for fold, right in enumerate(hits):
        labels = [0] * 10 + [2] * 10
        decided = [0] * right + [2] * (10 - right) + [2] * right + [0] * (10 - right)
        for seed in range(seeds):
            records.append(record(FitSpec("three", key, fold, seed), labels, [SURE[d] for d in decided], title=key))
    return Row(key, key.upper(), kind, {"three": records})


def table(rows: list[Row], sections: list[Section]) -> Table:
    return Table("Table 9", tuple(rows), tuple(map(block_of, sections)), 5)


def test_columns_stand_in_the_papers_order():
    assert OPEN_A.metrics == [
        "accuracy",
        *("recall_benign", "f1_benign", "recall_malignant", "f1_malignant", "recall_unsure", "f1_unsure"),
    ]
    assert RESTRICTED_B.metrics == ["accuracy", "recall_benign", "f1_benign", "recall_malignant", "f1_malignant"]


def test_a_cell_is_the_mean_and_the_sample_standard_deviation_over_folds():
    accuracy = cells(row("ce", [5, 6, 7, 8, 9]), RESTRICTED_B)["accuracy"]
    assert accuracy.values.tolist() == pytest.approx([0.5, 0.6, 0.7, 0.8, 0.9])
    assert printed(accuracy, 5) == "70.0 ± 15.8"  # sqrt(0.025) with ddof=1; ddof=0 would give 14.1


def test_seeds_of_a_fold_are_averaged_before_folds_are_spread():
    assert len(cells(row("ce", [5, 6, 7], seeds=4), RESTRICTED_B)["accuracy"].values) == 3


def test_a_missing_fold_shows_its_count():
    assert printed(Cell(np.array([0.5, 0.6, 0.7, 0.8])), 5) == "65.0 ± 12.9 (n=4)"
    assert printed(Cell(np.array([0.5])), 5) == "50.0 (n=1)"
    assert printed(None, 5) == "-"


def test_the_best_method_is_bold_and_a_reference_never():
    rows = [row("ce", [6] * 5), row("best", [7] * 5), row("prior", [9] * 5, kind="reference")]
    text = markdown(table(rows, [RESTRICTED_B]), ["a note"])
    assert "**70.0 ± 0.0**" in text and "**90" not in text and "**60" not in text
    assert "(reference) PRIOR" in text and "- a note" in text
    assert r"\textbf{70.0 $\pm$ 0.0}" in latex(table(rows, [RESTRICTED_B]), [])


def test_b_shows_the_restricted_and_the_open_decision():
    text = markdown(table([row("ce", [6] * 5)], [RESTRICTED_B, OPEN_B]), [])
    assert text.index("decision among benign or malignant") < text.index("decision among all classes")


def test_differences_are_paired_by_fold_and_carry_the_detectable_difference():
    rows = [row("ce", [5, 6, 7, 8, 9]), row("worse", [4, 5, 6, 7, 8]), row("mixed", [6, 5, 8, 7, 9])]
    worse, mixed = differences(table(rows, [RESTRICTED_B]), RESTRICTED_B)
    assert worse[:3] == ["WORSE", "-10.0", "0.0"] and worse[3] == "0.000"
    assert mixed[1] == "+0.0" and mixed[3] == "1.000"


def test_failed_and_unsupported_fits_are_footnotes():
    good = row("ce", [6] * 4)
    good.records["three"].append(record(FitSpec("three", "ce", 4, 0), [], [], status="failed", reason="it is nan"))
    gap = Row(
        "gap",
        "Gap",
        "method",
        {"three": [record(FitSpec("three", "gap", 0, 0), [], [], status="unsupported", reason="no text")]},
    )
    notes = footnotes(table([good, gap], [RESTRICTED_B]))
    assert notes == ["CE on LIDC-B failed on fold 4: it is nan", "Gap on LIDC-B does not apply: no text"]
    text = markdown(table([good, gap], [RESTRICTED_B]), [])
    assert "(n=4)" in text and "it is nan" in text


def test_a_table_without_any_finished_fit_is_still_a_table():
    text = markdown(table([Row("ce", "CE", "method", {})], [OPEN_A]), [])
    assert "| CE" in text and " nan " not in text


def test_every_csv_line_says_where_its_number_comes_from():
    text = csv_text(table([row("ce", [6] * 5)], [RESTRICTED_B, OPEN_B]), {"source": "phantom"})
    lines = list(csv.DictReader(io.StringIO(text)))
    assert all(line["source"] == "phantom" for line in lines)
    accuracy = next(line for line in lines if line["metric"] == "accuracy" and line["decision"] == "restricted")
    assert (accuracy["dataset"], accuracy["mean"], accuracy["std"], accuracy["n"]) == ("B", "0.600000", "0.000000", "5")


def test_latex_escapes_what_latex_reads():
    text = latex(table([row("ce", [6] * 5)], [RESTRICTED_B]), ["50% of a_b & c"])
    assert r"50\% of a\_b \& c" in text and r"\begin{tabular}" in text


def test_accuracies_of_several_datasets_stand_side_by_side():
    rows = [row("ic", [6] * 5), row("full", [7] * 5)]
    text = markdown(Table("Table 3", tuple(rows), (accuracies_of([OPEN_A, RESTRICTED_B]),), 5), [])
    assert "| Method   | LIDC-A         | LIDC-B         |" in text
    assert "LIDC-A, accuracy against IC" in text and "LIDC-B (decision among benign or malignant), accuracy" in text


def test_a_row_that_the_paper_does_not_have_is_marked():
    text = markdown(table([row("ce", [6] * 5), row("coral", [5] * 5, kind="added")], [RESTRICTED_B]), [])
    assert "(added) CORAL" in text
