from dataclasses import replace

import numpy as np
import pytest

from benchmark.contracts import InputError
from benchmark.predictions import pooled
from benchmark.records import FitSpec
from fakes import B, record
from nodule_tables import make_table

LABELS = np.array([0, 2, 1, 2, -1, 0])
FOLDS = np.array([0, 1, 0, 2, 0, 1])


@pytest.fixture
def table():
    return make_table(len(LABELS), labels={"three": LABELS}, fold=FOLDS)


def fit(fold, seed, **changes):
    """A fit that gives nodule i the probability i / 10 + seed / 100 of the first class, nodules in falling order."""
    rows = np.flatnonzero((LABELS >= 0) & (FOLDS == fold))[::-1]
    first = rows / 10 + seed / 100
    told = {"nodule_ids": tuple(f"n{row}" for row in rows)} | changes
    proba = np.stack([first, 1 - first, 0 * first], axis=1).tolist()
    return record(FitSpec("three", "ce", fold, seed), LABELS[rows].tolist(), proba, **told)


def failed(fold, seed, reason="It broke."):
    return record(FitSpec("three", "ce", fold, seed), [], [], status="failed", reason=reason)


def test_every_nodule_gets_the_probabilities_of_the_fold_that_tested_it(table):
    found = pooled([fit(fold, seed) for fold in (2, 0, 1) for seed in (1, 0)], table)
    assert found.nodules.tolist() == [0, 1, 2, 3, 5] and found.labels.tolist() == [0, 2, 1, 2, 0]
    assert found.seeds == (0, 1) and found.missing == () and found.fold.tolist() == [0, 1, 0, 2, 1]
    np.testing.assert_allclose(found.proba[:, :, 0], [[0, 0.1, 0.2, 0.3, 0.5], [0.01, 0.11, 0.21, 0.31, 0.51]])
    ends = found.tested(B)
    assert (
        ends.nodules.tolist() == [0, 1, 3, 5] and ends.fold.tolist() == [0, 1, 2, 1] and ends.proba.shape == (2, 4, 3)
    )
    np.testing.assert_array_equal(ends.proba, found.proba[:, [0, 1, 3, 4]])


def test_a_fold_that_no_seed_has_is_left_out_and_named(table):
    found = pooled([fit(0, 0), fit(2, 0), fit(0, 1), fit(2, 1), failed(1, 0)], table)
    assert found.nodules.tolist() == [0, 2, 3] and found.seeds == (0, 1)
    assert found.missing == ("Fold 1 is left out: no finished fit (It broke).",)


def test_one_fold_alone_is_enough(table):
    found = pooled([fit(2, 0)], table)
    assert found.nodules.tolist() == [3] and found.decoder == "argmax" and found.proba.shape == (1, 1, 3)
    assert found.missing == tuple(f"Fold {fold} is left out: no record." for fold in (0, 1))


def test_a_seed_that_lacks_a_fold_is_left_out_and_named(table):
    found = pooled([*(fit(fold, 1) for fold in range(3)), fit(0, 0), fit(1, 0), failed(0, 2), fit(1, 2)], table)
    assert found.seeds == (1,) and found.nodules.tolist() == [0, 1, 2, 3, 5]
    np.testing.assert_allclose(found.proba[0, :, 0], [0.01, 0.11, 0.21, 0.31, 0.51])
    assert found.missing == (
        "Seed 0 is left out: of fold 2 there is no record.",
        "Seed 2 is left out: of fold 0 there is no finished fit (It broke).",
    )


def test_two_seeds_that_share_no_whole_set_of_folds_leave_the_first(table):
    found = pooled([fit(0, 0), fit(1, 0), fit(1, 1), fit(2, 1)], table)
    assert found.seeds == (0,) and found.nodules.tolist() == [0, 1, 2, 5]
    assert len(found.missing) == 2 and np.isfinite(found.proba).all()


def test_without_a_finished_fit_there_are_no_predictions(table):
    assert pooled([], table) is None and pooled([failed(0, 0)], table) is None


@pytest.mark.parametrize(
    "changes",
    [
        {"nodule_ids": ("n2", "n4")},  # of the fold, but left out of the label set
        {"nodule_ids": ("n2", "n9")},
        {"labels": np.array([1, 1])},
    ],
)
def test_a_record_of_other_nodules_or_classes_is_refused(table, changes):
    with pytest.raises(InputError, match=r"fits/three/ce/fold0-seed0\.json does not test"):
        pooled([replace(fit(0, 0), **changes)], table)


def test_a_fold_that_the_table_does_not_know_is_refused(table):
    with pytest.raises(InputError, match="does not test"):
        pooled([record(FitSpec("three", "ce", 7, 0), [0], [[1, 0, 0]])], table)
    with pytest.raises(InputError, match="does not test"):
        pooled([record(FitSpec("four", "ce", 0, 0), [0], [[1, 0, 0]])], table)
    ids = tuple(f"n{row}" for row in np.flatnonzero(FOLDS == 0))
    with pytest.raises(InputError, match="does not test"):  # all of the fold, and one class as good as another
        pooled([record(FitSpec("four", "ce", 0, 0), [1] * 3, [[0, 1, 0]] * 3, nodule_ids=ids)], table)


def test_a_fold_without_a_nodule_of_the_label_set_is_not_missed(table):
    apart = replace(table, fold=np.where(LABELS < 0, 3, FOLDS))
    assert pooled([fit(fold, 0) for fold in range(3)], apart).missing == ()


def test_records_that_contradict_each_other_are_refused(table):
    with pytest.raises(InputError, match="row ce differ in classes or decoder"):
        pooled([fit(0, 0), fit(1, 0, decoder="median")], table)
