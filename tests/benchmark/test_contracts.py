from dataclasses import replace

import numpy as np
import pytest
import torch
from torch import nn

from benchmark.contracts import Batch, InputError, Method, Row, Task
from benchmark.references import majority
from fakes import LINEAR, TASK, Linear, Opened, fold_data, make_batch, make_cohort


class Scaled(Method):
    title = "Scaled"
    no_weight_decay = ("scale", "frozen")

    def __init__(self, task: Task, alpha: float = 1.0, beta: int = 2) -> None:
        super().__init__()
        self.head = nn.Linear(2, 2)
        self.inner = nn.Module()
        self.inner.scale = nn.Parameter(torch.ones(()))
        self.frozen = nn.Parameter(torch.ones(()), requires_grad=False)


def test_every_trainable_parameter_is_in_one_group_and_scales_are_spared():
    method = Scaled(TASK)
    decayed, spared = method.param_groups()
    assert [id(p) for p in decayed["params"]] == [id(method.head.weight), id(method.head.bias)]
    assert [id(p) for p in spared["params"]] == [id(method.inner.scale)] and spared["weight_decay"] == 0.0
    assert "weight_decay" not in decayed


def test_a_method_without_scales_has_one_group():
    assert len(Linear(TASK).param_groups()) == 1


def test_a_misspelt_no_weight_decay_name_is_refused():
    class Misspelt(Scaled):
        no_weight_decay = ("scale", "scales")

    with pytest.raises(ValueError, match="no_weight_decay names 'scales', and Misspelt has no such parameter"):
        Misspelt(TASK).param_groups()


def test_a_rows_settings_are_the_defaults_and_what_differs():
    row = Row("scaled", "Scaled", "paper", Scaled, {"beta": 5})
    assert row.defaults == {"alpha": 1.0, "beta": 2} and row.settings == {"alpha": 1.0, "beta": 5}
    assert row.method is Scaled and row.reference is None and row.decoder == "argmax" and not row.reads_text


def test_a_reference_is_a_function_and_builds_nothing():
    row = Row("majority", "Majority", "reference", majority)
    assert row.reference is majority and row.method is None and row.settings == {} and row.decoder == "argmax"
    with pytest.raises(ValueError, match="the row majority is a reference, which nothing builds"):
        row.build(TASK)


def test_a_row_builds_its_method_with_its_hyperparameters():
    assert LINEAR.build(TASK).spoil == "" and replace(LINEAR, hyperparameters={"spoil": "x"}).build(TASK).spoil == "x"


@pytest.mark.parametrize("key", ["Upper", "with blank", "1st", "grün", "a-b", "", "../x"])
def test_a_key_that_could_not_name_a_folder_is_refused(key):
    with pytest.raises(ValueError, match="must be lower-case letters, digits and underscores"):
        replace(LINEAR, key=key)


def numbered(n: int) -> Batch:
    batch = make_batch(torch.rand(n, 4, 4, 4), torch.arange(n))
    return replace(batch, diameter_mm=torch.arange(n).float())


def test_rows_of_a_batch_keep_their_columns_together():
    batch = numbered(5)[torch.tensor([3, 0])]
    assert len(batch) == 2 and batch.labels.tolist() == batch.diameter_mm.tolist() == [3, 0]
    assert batch.images.shape == (2, 4, 4, 4) and batch.malignancy.shape == (2, 4) and batch.trusted.shape == (2, 8)


def test_a_batch_is_cut_into_consecutive_parts():
    assert [part.labels.tolist() for part in numbered(5).split(2)] == [[0, 1], [2, 3], [4]]


def test_fold_data_open_their_cohort_and_refuse_another():
    data = fold_data(make_cohort())
    assert data.cohort() is data.open.cohort
    with pytest.raises(InputError, match="has changed since this run was planned: run the command again"):
        replace(data, open=Opened(make_cohort(content_hash="xyz"))).cohort()


def test_columns_are_the_rows_own_and_hold_no_malignancy_and_no_label():
    cohort = make_cohort()
    found = fold_data(cohort).columns(np.array([4, 2]))
    for name in ("ratings", "trusted", "diameter_mm", "n_readers"):
        assert getattr(found, name).tolist() == getattr(cohort, name)[[4, 2]].tolist()
    assert found.attribute_names == cohort.attribute_names and len(found) == 2
    assert vars(found).keys() == {"ratings", "trusted", "diameter_mm", "n_readers", "attribute_names"}


@pytest.mark.parametrize(
    "change",
    [
        {"cohort_hash": "xyz"},
        {"label_set": "two"},
        {"class_names": ("a", "b", "c")},
        {"train": np.arange(1, 21)},
        {"test": np.arange(19, 29)},
        {"train_labels": np.zeros(20, dtype=np.int64)},
        {"test_labels": np.zeros(10, dtype=np.int64)},
        {"test_ids": ("other",) * 10},
    ],
    ids=lambda change: next(iter(change)),
)
def test_all_that_a_fit_is_given_is_in_the_digest(change):
    data = fold_data(make_cohort())
    assert replace(data, **change).digest != data.digest == replace(data).digest
    assert replace(data, train=data.train.astype(np.int32)).digest == data.digest


@pytest.mark.parametrize(("num_classes", "names"), [(1, ("a",)), (3, ("a", "b"))])
def test_a_task_that_no_method_can_work_on_is_refused(num_classes, names):
    with pytest.raises(ValueError, match="classes"):
        replace(TASK, num_classes=num_classes, class_names=names)
