"""What the labels allow, on a few nodules whose every score is known."""

import math
from dataclasses import replace

import numpy as np
import pytest

from benchmark.bootstrap import patient_weights
from benchmark.footnotes import READS_DIAMETER
from benchmark.limit import Reads
from benchmark.nodules import NEWER
from benchmark.report import limits
from benchmark.report.gather import Gathered
from benchmark.report.parts import Cell, Chapter, Grid, Heading, Points, Prose
from fakes import A, B, C
from gathered import fits_on, make_gathered
from nodule_tables import make_table

NAN = np.nan
# The first two nodules' readers agree. Of the third's, whoever says 1 stands against a mean of 3, who says 5 against 1.
SCORES = [[1, 1, 1], [5, 5, 5], [1, 1, 5], [1, 1, NAN]]
TABLE = make_table(
    4,
    reader_malignancy=SCORES,
    fold=np.array([0, 0, 1, 1]),
    labels={"three": np.array([0, 2, 0, 0]), "two": np.array([0, 1, 0, 0])},
)
CE, POISSON, DIAMETER, MAJORITY = (
    fits_on(TABLE, key, said)
    for key, said in (
        ("ce", [0, 0, 1, 0]),
        ("poisson", [0, 2, 2, 0]),
        ("ce_diameter", [0, 2, 0, 0]),
        ("majority", [0] * 4),
    )
)


def in_short(run: Gathered) -> list[str]:
    return list(limits.in_short(run, run.file.protocols[0]))


def test_one_radiologist_and_the_first_and_best_row_are_told_of_the_same_reads():
    # Nine reads: six agree, three do not. Their classes on the third nodule are unsure, unsure and benign: CE, which
    # says unsure, is right on 3 + 0 + 2 of 9, Poisson on 3 + 3 + 0.
    first, beside = in_short(make_gathered([*CE, *POISSON, *MAJORITY], TABLE))
    assert first.startswith("One radiologist, judged by the mean of the others, reaches 66.7 (")
    assert first.endswith(" % of 9 reads. Its limits stand under What the labels allow.")
    assert beside == (
        "Like for like, on the same reads: CE Loss 55.6 %, one radiologist 66.7 %, on 9 reads; "
        "Poisson 66.7 %, one radiologist 66.7 %, on 9 reads."
    )


def test_a_first_row_that_is_the_best_stands_alone():
    _, beside = in_short(make_gathered([*POISSON, *fits_on(TABLE, "clip_lung", [2] * 4)], TABLE))
    assert beside == "Like for like, on the same reads: Poisson 66.7 %, one radiologist 66.7 %, on 9 reads."


def test_a_row_that_reads_a_diameter_says_so_beside_the_radiologist():
    _, beside = in_short(make_gathered([*POISSON, *DIAMETER], TABLE))  # the latter right on 3 + 3 + 1
    assert beside.endswith(f"; CE + log diameter ({READS_DIAMETER}) 77.8 %, one radiologist 66.7 %, on 9 reads.")


def test_a_run_of_references_has_no_row_beside_the_radiologist():
    assert len(in_short(make_gathered(MAJORITY, TABLE))) == 1


def test_the_numbers_of_reads_are_explained_by_the_first_row():
    # On two classes a mean of 3 has none, so the third nodule has one read by the mean of the others, and three by
    # that of all, 7/3. CE was tested on the first fold alone.
    fits = [
        fits_on(TABLE, key, said, label_set="two", classes=2) for key, said in (("ce", [0] * 4), ("poisson", [0] * 4))
    ]
    said = in_short(make_gathered([fits[0][0], *fits[1]], TABLE, (C,)))
    assert said[0].startswith("One radiologist, judged by the mean of the others, reaches 85.7 (")
    assert "CE Loss 50.0 %, one radiologist 100.0 %, on 6 reads" in said[1]
    assert said[2].startswith(
        "Why the numbers of reads differ: on 7 the mean of the other readers names a class, on 9 the"
    )
    assert ", and on 6 both do" in said[2]


@pytest.mark.parametrize("lacking", ["cohort", "rule", "scores", "classes", "reads"])
def test_nothing_is_said_in_short_where_it_cannot_be_known(lacking):
    run = make_gathered(CE, TABLE, (B,) if lacking == "classes" else (A,))
    match lacking:
        case "cohort":
            run = replace(run, nodules=None)
        case "rule":
            run = replace(run, known=replace(run.known, classify=None))
        case "scores":
            run = replace(run, nodules=replace(TABLE, missing=NEWER))
        case "reads":
            two = [[*scores[:2], NAN] for scores in SCORES]
            run = replace(run, nodules=make_table(4, reader_malignancy=two, fold=TABLE.fold, labels=TABLE.labels))
    assert in_short(run) == []


def test_there_is_no_chapter_without_a_cohort_and_without_a_rule():
    run = make_gathered(CE, TABLE)
    without = replace(run, nodules=None), replace(run, known=replace(run.known, classify=None))
    assert [limits.chapter(one) for one in without] == [Chapter("limits", "What the labels allow")] * 2


def test_every_label_set_has_a_heading_and_two_tables():
    two = fits_on(TABLE, "ce", [0, 1, 1, 0], label_set="two", classes=2)
    chapter = limits.chapter(make_gathered([*CE, *two, *MAJORITY], TABLE, (A, B, C)))
    assert [type(part) for part in chapter.parts] == [Prose, *[Heading, Grid, Grid] * 2, Points]
    assert [part.text for part in chapter.parts if isinstance(part, Heading)] == ["LIDC-A", "LIDC-C"]
    reads = chapter.parts[2]
    assert [line[0].text for line in reads.body[2:]] == ["CE Loss", "Majority"]
    assert reads.body[0][1:3] == (Cell("9", 9.0), Cell(reads.body[0][2].text, 66.7))


def rated(source: str = "phantom", **changes) -> Gathered:
    """Return a run of four rated nodules of which the first two lie in marked scans, the others elsewhere."""
    values = {
        "attribute_names": ("margin",),
        "ratings": np.array([[1.0], [2.0], [3.0], [5.0]]),
        "trusted": np.ones((4, 1), dtype=bool),
        "strata": {"is_from_initial": ("yes", "yes", "", "")},
    }
    return make_gathered(CE, replace(TABLE, **values | changes), source=source)


def ratings(run: Gathered) -> list:
    parts = limits.chapter(run).parts
    places = [place for place, part in enumerate(parts) if part == Heading("Ratings at fault")]
    return list(parts[places[0] + 1 :]) if places else []


def test_ratings_at_fault_are_told_of_where_scans_are_marked_and_attributes_rated():
    about, grid, _ = ratings(rated())
    assert "over 2 nodules in marked scans, and over 2 elsewhere" in about.text
    assert [line[0].text for line in grid.body] == ["margin"] and len(grid.body[0]) == len(grid.headings)
    assert ratings(rated(strata={})) == []
    assert ratings(rated(attribute_names=(), ratings=np.empty((4, 0)), trusted=np.ones((4, 0), dtype=bool))) == []


def test_nodules_without_a_mean_score_count_neither_in_marked_scans_nor_elsewhere():
    about, *_ = ratings(rated(malignancy=np.array([1.0, NAN, NAN, NAN])))
    assert "over 1 nodules in marked scans, and over 0 elsewhere" in about.text


def test_only_of_the_phantom_it_is_said_that_the_fault_is_in_its_images():
    said = [ratings(rated(source))[0].text for source in ("phantom", "idc", "site")]
    assert ["The phantom's images are drawn from these ratings" in text for text in said] == [True, False, False]


def test_intervals_draw_the_patients_a_thousand_times_the_same_for_every_chapter():
    weights = limits.weights_of(TABLE)
    assert np.array_equal(weights, patient_weights(TABLE.patient_ids, 1000, seed=0)) and len(weights) == 1000
    assert limits.weights_of(TABLE) is weights


def test_a_cell_sorts_by_the_number_that_it_begins_with():
    texts = ["1,234", "66.7 (50.0 to 80.0)", "+1.5 (-)", "-", "", "CE Loss"]
    assert [limits._cell(text) for text in texts] == [
        Cell(text, value) for text, value in zip(texts, [1234.0, 66.7, 1.5, None, None, None], strict=True)
    ]


def test_shares_of_the_reads_that_name_a_class_are_of_those_alone():
    halves = Reads(np.zeros(2, dtype=int), np.zeros(2, dtype=int), np.full((2, 2), 0.5))
    assert "of the 0 reads that name a class 0.0 % are right, which is 0.0 % of all" in limits.halves(halves)
    one = replace(halves, decided=np.array([[1, 0], [0.5, 0.5]]))
    assert "of the 1 reads that name a class 100.0 % are right, which is 50.0 % of all" in limits.halves(one)
    three = Reads(np.zeros(3, dtype=int), np.zeros(3, dtype=int), np.array([[1, 0], [1, 0], [0.5, 0.5]]))
    assert "of the 2 reads that name a class 100.0 % are right, which is 66.7 % of all" in limits.halves(three)


def test_a_row_that_decided_on_no_read_has_no_share():
    reads = Reads(np.zeros(3, dtype=int), np.zeros(3, dtype=int), np.eye(2)[[0, 0, 1]])
    number, *shares = limits.like_for_like(reads, np.array([[-1, 0]]))
    assert number == 0 and all(map(math.isnan, shares))
    assert limits.like_for_like(reads, np.array([[0, -1]])) == (3, 100, pytest.approx(200 / 3))


def test_two_numbers_of_reads_are_explained_as_three_are():
    assert len(list(limits.why(7, 7, 6))) == len(list(limits.why(7, 6, 6))) == len(list(limits.why(8, 7, 6))) == 1
