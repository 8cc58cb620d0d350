"""Chapters that look at single nodules: pooled predictions, quality, and the labels' limit."""

import re
import shutil
from dataclasses import replace
from functools import partial
from pathlib import Path

import numpy as np
import pytest

import datasets
import methods
from benchmark import fault, references
from benchmark.against_base import p_value
from benchmark.bootstrap import paired_bootstrap
from benchmark.identity import ROOT
from benchmark.limit import Reads, against_others
from benchmark.nodules import read_nodules
from benchmark.planning import Spread
from benchmark.ranks import ranking
from benchmark.records import FitSpec
from benchmark.report import Known, figures, limits, missing, page, pooled, quality, repeat, results, rows, verdict
from benchmark.report.gather import gather
from benchmark.report.judged import judged
from benchmark.report.parts import Grid, Heading, More, Points
from benchmark.run import Run
from benchmark.strata import OWN
from benchmark.tables import cells
from datasets.protocols import LABEL_RULES, classify
from pages import Page
from runs import write_whole_run

KNOWN = Known.of(methods.ROWS | references.ROWS, LABEL_RULES, datasets.SOURCES, classify)
TESTED = 60


@pytest.fixture(scope="module")
def folder(tmp_path_factory) -> Path:
    return write_whole_run(tmp_path_factory.mktemp("nodules") / "run", TESTED)


@pytest.fixture(scope="module")
def run(folder):
    return gather(folder, KNOWN)


def grids(chapter) -> dict[str, Grid]:
    return {part.caption: part for part in chapter.parts if isinstance(part, Grid)}


def right(run, key: str, label_set: str = "three") -> np.ndarray:
    (row,) = [one for one in judged(run, label_set)[0] if one.line.row.key == key]
    return row.predictions.proba.argmax(axis=2) == row.predictions.labels


def test_the_run_is_read_whole(run):
    assert not run.faults and len(run.nodules) == 2 * 5 * TESTED
    found, left_out = judged(run, "three")
    assert [row.line.row.key for row in found] == ["ce", "poisson", "clip_lung", "majority"] and not left_out


def test_pooled_rows_are_set_against_the_first_as_the_bootstrap_does(run):
    base, found = pooled.compared(run, run.tables["table1"], run.first_sections[0])
    assert base.row.key == "ce" and [line.row.key for line, _, _ in found] == ["poisson", "clip_lung"]
    table, rows = run.nodules, judged(run, "three")[0]
    patients = [table.patient_ids[row] for row in rows[0].predictions.nodules]
    expected = paired_bootstrap(right(run, "clip_lung"), right(run, "ce"), patients, comparisons=2)
    assert found[1][1] == expected and found[1][2] == 2 * expected.p_value
    (grid,) = [grid for caption, grid in grids(pooled.chapter(run)).items() if caption.startswith("LIDC-A")]
    assert grid.body[1][1].text == f"{100 * expected.difference:+.1f}" and grid.body[1][0].is_best


def test_what_a_wanted_difference_takes_is_that_of_the_plan():
    spread = Spread(test_over_train=0.25, fold_std=0.01, seed_std=0.02)
    one, many = pooled.needs(spread, 5, 3, 10)
    needed = spread.repeats_needed(0.02, 5, 3)
    assert one.startswith(f"To find 2 points in one row alone, with 3 seeds a fold, it takes {needed} repeats of the 5")
    assert f"{100 * spread.smallest_ever(0.005):.1f} points" in many and "over 10 rows" in many
    (never,) = pooled.needs(Spread(test_over_train=0.25, fold_std=0.1), 5, 1, 1)
    assert "no number of repeats suffices" in never
    (still,) = pooled.needs(Spread(test_over_train=0.25, fold_std=0.0, seed_std=0.01), 5, 1, 1)
    assert "no number of folds and seeds" not in still and "below" not in still  # no difference is out of reach


def test_numbers_beyond_accuracy_are_those_of_every_row_and_protocol(run):
    found = grids(quality.chapter(run))
    assert len(found) == 3 and all(len(grid.body) == 4 for grid in found.values())
    grid = next(iter(found.values()))
    assert grid.body[2][1].value == pytest.approx(right(run, "clip_lung").mean())


def test_one_radiologist_stands_above_the_rows_on_the_same_reads(run):
    found = grids(limits.chapter(run))
    grid = found["LIDC-A: one radiologist and the rows, on the same reads, in percent"]
    assert not any("LIDC-B" in caption for caption in found)  # it does not test every class that the readers name
    table = run.nodules
    reads = against_others(table.reader_malignancy, partial(classify, label_set="three", rule="published"), 3)
    decided_right = reads.decided[np.arange(len(reads)), reads.labels].mean()
    assert grid.body[0][1].text == f"{len(reads):,}" and grid.body[0][2].text.startswith(f"{100 * decided_right:.1f} ")
    assert [line[0].text for line in grid.body[2:]] == ["CE Loss", "Poisson", "CLIP-Lung", "Majority"]
    sentences = [part for part in verdict.chapter(run).parts if isinstance(part, Points)]
    assert any(f"reaches {100 * decided_right:.1f} (" in said for points in sentences for said in points.sentences)


def test_a_cohort_without_single_scores_says_that_they_are_missing(folder, tmp_path):
    copy = Path(shutil.copytree(folder, tmp_path / "copy"))
    lines = [line.split(",") for line in (copy / "cohort.csv").read_text().splitlines()]
    place = lines[0].index("malignancy_scores")
    (copy / "cohort.csv").write_text("\n".join(",".join(c for i, c in enumerate(one) if i != place) for one in lines))
    chapter = limits.chapter(gather(copy, KNOWN))
    assert len(chapter.parts) == 1 and "does not hold the readers' single scores" in chapter.parts[0].text


def test_a_record_of_other_nodules_than_cohort_csv_is_left_out_and_named(folder, tmp_path):
    copy = Path(shutil.copytree(folder, tmp_path / "copy"))
    run = Run.open(copy)
    spec = FitSpec("three", "poisson", 0, 0)
    found = run.read(spec)
    run.write(replace(found, nodule_ids=("stranger", *found.nodule_ids[1:])))
    text = Page(page.page(gather(copy, KNOWN))).text
    assert "Poisson: the record fits/three/poisson/fold0-seed0.json does not test the nodules" in text
    found, left_out = judged(gather(copy, KNOWN), "three")
    assert "poisson" not in [row.line.row.key for row in found] and len(left_out) == 1
    assert read_nodules(copy) is not None


def test_the_figure_of_ranks_has_the_critical_difference_of_these_folds(run):
    table, section = run.tables["table1"], run.first_sections[0]
    figure = figures.rank_figure(table, section, "a tag")
    scores = np.array([cells(line, section)["accuracy"].folds for line in table.lines if line.is_trained])
    assert f"Ranks less than {ranking(scores.T, 0.25).critical_difference:.1f} apart" in figure.caption


def test_the_plan_goes_by_the_spread_of_all_rows_and_the_size_of_their_folds(run):
    table, section = run.tables["table1"], run.first_sections[0]
    base, *others = [cells(line, section)["accuracy"] for line in table.lines if line.is_trained]
    seed_std = float(np.sqrt(np.mean([one.seed_std**2 + base.seed_std**2 for one in others])))
    spread = Spread.of(np.array([one.folds - base.folds for one in others]), 0.25, seed_std, 2)
    (points,) = [part for part in pooled.chapter(run).parts if isinstance(part, Points)][:1]
    assert points.sentences == tuple(pooled.needs(spread, 5, 2, 2))


def test_a_damaged_cohort_csv_is_named_without_the_folder_that_it_lies_in(folder, tmp_path):
    copy = Path(shutil.copytree(folder, tmp_path / "copy"))
    (copy / "cohort.csv").write_text("nodule_id\n")
    found = gather(copy, KNOWN)
    assert found.faults["cohort.csv"].startswith("cohort.csv is damaged") and found.nodules is None
    assert str(tmp_path) not in page.page(found)


def test_a_score_that_names_neither_class_counts_half_and_is_said():
    # Four reads labelled benign: two right, a 3, one wrong. Of the three that name a class two are right, of four two.
    decided = np.array([[1, 0], [1, 0], [0.5, 0.5], [0, 1]])
    reads = Reads(np.array([0, 0, 0, 1]), np.array([0, 0, 0, 0]), decided)
    assert limits.halves(reads) == (
        ", where a score of 3 (1 reads) counts as half right; of the 3 reads that name a class 66.7 % are right, "
        "which is 50.0 % of all"
    )
    assert limits.halves(replace(reads, decided=np.eye(2)[[0, 0, 0, 1]])) == ""
    assert limits.halves(replace(reads, decided=np.full((4, 3), 1 / 3))) == ""


def test_a_row_and_one_radiologist_stand_side_by_side_on_the_same_reads_alone():
    # Nodule 1 was not tested, so its read (a wrong one) counts for neither side. On nodule 0 the reader is right in
    # two of three reads, the row's two seeds say benign and malignant: right in half of each.
    reads = Reads(np.array([0, 0, 0, 1]), np.zeros(4, dtype=int), np.eye(2)[[0, 0, 1, 1]])
    number, row, reader = limits.like_for_like(reads, np.array([[0, -1], [1, -1]]))
    assert (number, row, reader) == (3, pytest.approx(50), pytest.approx(200 / 3))


def test_numbers_of_reads_that_differ_are_explained():
    (said,) = limits.why(3135, 3023, 2569)
    assert "on 3,135 the mean of the other readers" in said and "on 3,023 the mean of all" in said
    assert "on 2,569 both do" in said and list(limits.why(7, 7, 7)) == []


def test_the_verdict_has_both_sides_of_the_same_reads_and_both_p_values(run):
    said = [s for part in verdict.chapter(run).parts if isinstance(part, Points) for s in part.sentences]
    grid = grids(limits.chapter(run))["LIDC-A: one radiologist and the rows, on the same reads, in percent"]
    row, reader = (grid.body[2][column].text.partition(" ")[0] for column in (2, -2))
    assert any(f"same reads: CE Loss {row} %, one radiologist {reader} %, on " in one for one in said)
    _, found = pooled.compared(run, run.tables["table1"], run.first_sections[0])
    assert any(s.startswith("CLIP-Lung is") and f"{p_value(found[1][2])} nodule by nodule" in s for s in said)


def test_every_decision_of_lidc_b_is_named_and_judged_in_the_verdict(run):
    said = [s for part in verdict.chapter(run).parts if isinstance(part, Points) for s in part.sentences]
    assert any("on LIDC-B (decision among benign or malignant)" in one for one in said)
    assert any("on LIDC-B (decision among all classes)" in one for one in said)
    assert any(part.text.startswith("LIDC-B (decision among benign or malignant) (phantom") for part in headings(run))


def headings(run) -> list[Heading]:
    return [part for part in verdict.chapter(run).parts if isinstance(part, Heading)]


def test_a_scan_of_the_first_release_is_named_and_its_nodules_are_counted():
    about = fault.about(1234, 5)
    assert "over 1,234 nodules in marked scans, and over 5 elsewhere" in about and "399 cases" in about
    assert OWN["is_from_initial"] == "scan of LIDC's first release"


def test_ratings_at_fault_are_told_of_as_many_nodules_as_each_kind_of_scan_has(run):
    table = run.nodules
    assert np.isfinite(table.malignancy).all()
    marked = tuple("yes" if number < 70 else "no" for number in range(len(table)))
    ones = np.ones((len(table), 1))
    rated = {
        "attribute_names": ("margin",),
        "ratings": ones,
        "trusted": ones == 1,
        "strata": {"is_from_initial": marked},
    }
    chapter = limits.chapter(replace(run, nodules=replace(table, **rated)))
    said = " ".join(getattr(part, "text", "") for part in chapter.parts)
    assert f"over 70 nodules in marked scans, and over {len(table) - 70:,} elsewhere" in said


def test_the_row_that_is_right_most_often_stands_beside_the_radiologist_on_the_same_reads(run, monkeypatch):
    """Each row's reads, its share that is right, and the radiologist's: the second decides, not the first."""
    shares = iter([(100, 40.0, 45.0), (90, 60.0, 45.0), (80, 50.0, 45.0)])
    monkeypatch.setattr(limits, "like_for_like", lambda *_: next(shares))
    (said,) = [one for one in limits.in_short(run, run.file.protocols[0]) if one.startswith("Like for like")]
    assert "CE Loss" in said and "Poisson" in said and "CLIP-Lung" not in said and "60.0" in said


def test_a_critical_difference_as_wide_as_the_ranks_is_said_to_show_almost_nothing(run):
    figure = figures.rank_figure(run.tables["table1"], run.first_sections[0], "a tag")
    apart = float(re.search(r"Ranks less than ([\d.]+) apart", figure.caption)[1])
    assert "ranks can be 2 apart at most" in figure.caption  # three methods
    assert ("almost nothing" in figure.caption) == (apart > 1.5)


def test_rows_are_described_and_what_a_forest_on_ratings_is_no_human(run):
    (more,) = [part for part in rows.chapter(run).parts if isinstance(part, More)]
    lines = {line[0].text: [cell.text for cell in line] for line in more.parts[0].body}
    assert list(lines) == ["CE Loss", "Poisson", "CLIP-Lung", "Majority"]
    assert lines["CE Loss"][1:3] == ["of the paper", "the crop"] and "one linear layer" in lines["CE Loss"][3]
    assert lines["Majority"][2] == "no image"
    assert rows.reads(methods.ROWS["ce_diameter"]) == "the crop and the readers' diameter"
    with_forest = replace(run, rows={**run.rows, "ratings_forest": references.ROWS["ratings_forest"]})
    assert any("no human performance" in getattr(part, "text", "") for part in rows.chapter(with_forest).parts)


def test_default_rows_that_a_run_lacks_are_named_and_rows_made_only_when_asked_for_are_not(run):
    absent = missing.not_made(run)
    assert {"NSB", "Number of readers", "CLIP-Lung (IC)", "CE + log diameter"} <= set(absent)
    assert not {"CE Loss", "CORAL", "NSB (smoothed labels)"} & set(absent)


def test_the_papers_own_edges_and_number_of_nodules_are_those_of_its_audit():
    said = results.rule_note("published", 2651)
    assert "lower than 2.5" in said and "has 2,026 nodules; this run has 2,651." in said
    assert "2,026 nodules" in (ROOT / "results" / "published" / "AUDIT.md").read_text()
    assert results.rule_note("text", 7) == "The paper has 2,026 nodules; this run has 7."


def test_commands_are_shown_without_the_folders_of_their_machine():
    command = "python run_all.py --datasets A --work '/a b/c' --out=/x --dicom-root /y --seeds 3"
    expected = "python run_all.py --datasets A --work FOLDER --out=FOLDER --dicom-root FOLDER --seeds 3"
    assert repeat.without_places(command) == expected
