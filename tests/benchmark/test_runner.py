import numpy as np
import pytest
import torch

from benchmark.records import FitSpec
from benchmark.references import REFERENCES
from benchmark.runner import hyperparameters, run_fit, run_reference, seed_of
from fakes import RECIPE, TASK, Linear

SPEC = FitSpec("three", "linear", 0, 0)


@pytest.fixture
def train(run, cohort, fold, labels):
    def train(**given):
        return run_fit(run, SPEC, Linear, given, TASK, RECIPE, cohort, fold, labels, torch.device("cpu"))

    return train


def test_a_fit_leaves_the_test_folds_probabilities_and_every_setting_on_disk(run, train, fold, labels):
    train()
    record = run.read(SPEC)
    assert record is not None and record.status == "done"
    assert record.nodule_ids == tuple(f"n{i}" for i in fold.test)
    assert record.labels.tolist() == labels[fold.test].tolist()
    np.testing.assert_allclose(record.proba.sum(axis=1), 1, atol=1e-6)
    assert record.hyperparameters == {"spoil": ""}
    assert len(record.facts["history"]) == RECIPE.epochs
    assert {"versions", "device", "recipe", "seconds"} <= record.facts.keys()


def test_a_finished_fit_is_not_trained_again(run, train):
    train()
    before = run.path(SPEC).stat().st_mtime_ns
    assert train(spoil="raise").status == "done"
    assert run.path(SPEC).stat().st_mtime_ns == before


def test_the_same_fit_gives_the_same_probabilities(run, train):
    first = train().proba
    run.path(SPEC).unlink()
    assert np.array_equal(first, train().proba)


def test_the_test_fold_does_not_touch_the_training(run, train, cohort, fold):
    train()
    history = run.read(SPEC).facts["history"]
    run.path(SPEC).unlink()
    cohort.volumes[fold.test] = 0
    assert train().facts["history"] == history


@pytest.mark.parametrize(
    ("spoil", "reason"), [("nan", "'ce' is nan in epoch 1"), ("raise", "RuntimeError: out of"), ("build", "KeyError")]
)
def test_a_broken_fit_is_recorded_with_its_reason_and_tried_again(run, train, spoil, reason):
    record = train(spoil=spoil)
    assert record.status == "failed" and reason in record.reason and "\n" not in record.reason
    assert "Traceback" in record.facts["traceback"] and len(record.labels) == 0
    assert run.read(SPEC).status == "failed"
    assert train().status == "done"


def test_a_method_that_cannot_do_the_task_is_unsupported_not_failed(run, train):
    record = train(spoil="task")
    assert (record.status, record.reason) == ("unsupported", "it cannot work on this task")
    assert train().status == "done"  # once it is mended


def test_hyperparameters_are_the_defaults_and_what_was_given():
    assert hyperparameters(Linear, {}) == {"spoil": ""}
    assert hyperparameters(Linear, {"spoil": "nan"}) == {"spoil": "nan"}


def test_every_method_of_a_fold_has_the_same_seed_and_every_fold_another():
    seeds = {(fold, seed): seed_of(FitSpec("three", "a", fold, seed)) for fold in range(5) for seed in range(3)}
    assert len(set(seeds.values())) == 15
    assert seed_of(FitSpec("two", "b", 1, 2)) == seeds[1, 2]


@pytest.mark.parametrize("key", REFERENCES)
def test_references_give_probabilities_of_the_test_fold(run, cohort, fold, labels, key):
    record = run_reference(run, FitSpec("three", key, 0, 0), cohort, fold, labels)
    assert record.proba.shape == (10, 3)
    np.testing.assert_allclose(record.proba.sum(axis=1), 1)


def test_the_majority_reference_says_the_commonest_training_class(run, cohort, fold):
    labels = np.array([1] * 12 + [0] * 8 + [2] * 10)
    record = run_reference(run, FitSpec("three", "majority", 0, 0), cohort, fold, labels)
    assert record.proba[0].tolist() == [0.4, 0.6]
