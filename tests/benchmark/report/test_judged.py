"""Every row's pooled predictions: which rows have some, and the samples of patients that they share."""

from dataclasses import replace

import numpy as np

from benchmark.records import FitRecord
from benchmark.report.judged import judged
from gathered import fits_on, make_gathered
from nodule_tables import make_table

TABLE = make_table(6, fold=np.arange(6) // 3)
LABELS = TABLE.labels["three"].tolist()
CE, POISSON, CLIP = (fits_on(TABLE, key, LABELS) for key in ("ce", "poisson", "clip_lung"))


def titles(records: list[FitRecord]) -> tuple[list[str], list[str]]:
    found, left_out = judged(make_gathered(records, TABLE), "three")
    return [row.line.title for row in found], list(left_out)


def failed(records: list[FitRecord]) -> list[FitRecord]:
    return [replace(one, status="failed", reason="it diverged") for one in records]


def test_rows_of_the_same_nodules_share_their_samples_and_others_have_their_own():
    run = make_gathered([*CE, *POISSON, CLIP[0]], TABLE)
    (ce, poisson, clip), left_out = judged(run, "three")
    assert ce.weights is poisson.weights and ce.weights.shape == (1001, 6)
    assert clip.predictions.nodules.tolist() == [0, 1, 2] and clip.weights.shape == (1001, 3)
    assert left_out == ("CLIP-Lung: Fold 1 is left out: no record.",)
    assert replace(ce) != ce, "two are the same only where they are one: arrays have no truth"


def test_all_chapters_share_what_was_made_of_the_last_four_label_sets_and_no_more_are_kept():
    runs = [make_gathered(CE, TABLE) for _ in range(5)]
    first = judged(runs[0], "three")
    for run in runs[1:4]:
        judged(run, "three")
    assert judged(runs[0], "three") is first
    for run in runs[1:]:
        judged(run, "three")
    assert judged(runs[0], "three") is not first


def test_a_row_without_predictions_is_passed_over_and_the_next_is_not():
    assert titles([*failed(CE), *POISSON]) == (["Poisson"], [])


def test_a_row_whose_records_are_of_other_nodules_is_named_and_the_next_is_judged():
    strange = [replace(CE[0], nodule_ids=("stranger", *CE[0].nodule_ids[1:])), CE[1]]
    found, (said,) = titles([*strange, *POISSON])
    assert found == ["Poisson"] and said.startswith("CE Loss: the record fits/three/ce/fold0-seed0.json does not test")


def test_without_cohort_csv_and_on_a_label_set_without_records_nothing_is_judged():
    run = make_gathered(CE)
    assert judged(run, "three") == ((), ()) and judged(make_gathered(CE, TABLE), "two") == ((), ())
