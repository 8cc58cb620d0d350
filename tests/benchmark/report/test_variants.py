from dataclasses import replace

import numpy as np
import pytest

import datasets
import methods
from benchmark import references
from benchmark.bootstrap import paired_bootstrap
from benchmark.records import FitSpec
from benchmark.report import Known, variants
from benchmark.report.gather import gather
from benchmark.report.judged import judged
from benchmark.statistics import corrected_interval
from benchmark.tables import Line, fold_ratio
from datasets.protocols import LABEL_RULES, classify
from runs import write_whole_run

KNOWN = Known.of(methods.ROWS | references.ROWS, LABEL_RULES, datasets.SOURCES, classify)
ROWS = {"ce": 0.55, "clip_lung": 0.8, "clip_lung_ic": 0.6, "clip_lung_trusted": 0.7, "sord_squared": 0.6}


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    return gather(write_whole_run(tmp_path_factory.mktemp("variants") / "run", 60, rows=ROWS), KNOWN)


def lines_of(*keys: str) -> list[Line]:
    return [Line(methods.ROWS[key], key, {}) for key in keys]


def pairs(*keys: str) -> list[tuple[str, str]]:
    return [(line.row.key, base.row.key) for line, base in variants.varied(lines_of(*keys))]


def test_a_variant_is_set_against_the_row_that_has_all_its_settings_but_one():
    assert pairs("clip_lung", "clip_lung_ic", "clip_lung_trusted") == [("clip_lung_trusted", "clip_lung")]
    assert pairs("ce", "coral", "coral_zero_biases", "clip_lung_released", "clip_lung_released_cold") == [
        ("coral_zero_biases", "coral"),
        ("clip_lung_released_cold", "clip_lung_released"),
    ]
    assert pairs("ce", "sord_squared", "clip_lung_sums", "clip_lung_trusted") == []  # their own rows were not made


def test_the_difference_is_that_of_folds_and_that_of_pooled_predictions(run):
    grids = variants.chapter(run).parts[1:]
    assert [grid.caption[:6] for grid in grids] == ["LIDC-A", "LIDC-B", "LIDC-C"]
    (line,) = grids[0].body
    assert line[0].text == "CLIP-Lung (trusted ratings alone)"
    assert line[1].text == "trusted_only = True (against CLIP-Lung)"
    right = {}
    for row in judged(run, "three")[0]:
        right[row.line.row.key] = row.predictions.proba.argmax(axis=2) == row.predictions.labels
        patients = [run.nodules.patient_ids[one] for one in row.predictions.nodules]
        fold = row.predictions.fold
    gain = (right["clip_lung_trusted"].astype(float) - right["clip_lung"]).mean(axis=0)  # over seeds
    delta = 100 * np.array([gain[fold == number].mean() for number in range(5)])
    table = run.tables["table1"]
    on_folds = (delta.mean(), *corrected_interval(delta, fold_ratio(table, run.first_sections[0]), 0.05))
    found = paired_bootstrap(right["clip_lung_trusted"], right["clip_lung"], patients)
    pooled = (100 * found.difference, 100 * found.low, 100 * found.high)
    assert [cell.value for cell in line[2:]] == pytest.approx([*on_folds, *pooled])
    assert line[2].text == f"{delta.mean():+.1f}" and gain.mean() < 0


def test_where_all_folds_have_the_same_difference_no_interval_is_shown(run):
    table = run.tables["table1"]
    (base,) = (line for line in table.lines if line.row.key == "clip_lung")
    alike = replace(base, row=methods.ROWS["clip_lung_trusted"])
    cells = variants._line(run, table, run.first_sections[0], alike, base)
    assert [cell.text for cell in cells[2:5]] == ["+0.0", "-", "-"]


def test_a_run_without_variants_has_no_such_chapter(tmp_path):
    rows = {key: chance for key, chance in ROWS.items() if key != "clip_lung_trusted"}
    assert not variants.chapter(gather(write_whole_run(tmp_path / "run", 30, rows=rows), KNOWN)).parts


def test_a_variant_with_one_fold_shows_no_interval_and_is_not_pooled_with_other_nodules(tmp_path):
    folder = write_whole_run(tmp_path / "run", 30, rows=ROWS)
    for label_set in ("three", "two"):
        for fold in range(1, 5):
            for seed in range(2):
                (folder / "fits" / FitSpec(label_set, "clip_lung_trusted", fold, seed).path()).unlink()
    (line,) = variants.chapter(gather(folder, KNOWN)).parts[1].body
    assert [cell.text for cell in line[2:]] == ["-"] * 6
