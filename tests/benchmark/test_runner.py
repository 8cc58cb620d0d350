import os
from dataclasses import replace

import numpy as np
import pytest
import torch
from torch import nn

from benchmark import runner
from benchmark.contracts import Batch, FoldData, InputError, Method, Row, Task, Unsupported, central
from benchmark.extras import Extras
from benchmark.identity import fit_key
from benchmark.records import FitRecord, FitSpec
from benchmark.runner import Setup, deterministic, run_fit, seed_of, task_of, to_device
from benchmark.trainer import fit
from fakes import LINEAR, PRESET, Linear, Opened, make_batch

SPEC = FitSpec("three", "linear", 0, 0)
CPU = torch.device("cpu")


@pytest.fixture
def train(run, data):
    def train(data: FoldData = data, spec: FitSpec = SPEC, preset=PRESET, **given: str) -> FitRecord:
        row = replace(LINEAR, hyperparameters=given)
        return run_fit(run, spec, row, data, Setup(preset, CPU, fit_key(run.identity, row)))

    return train


def test_a_fit_leaves_the_test_folds_probabilities_and_every_setting_on_disk(run, train, data):
    assert train().status == "done"
    record = run.read(SPEC, fit_key(run.identity, LINEAR), data.digest)
    assert (record.status, record.reason, record.kind, record.decoder) == ("done", "", "paper", "argmax")
    assert record.nodule_ids == data.test_ids and record.labels.tolist() == data.test_labels.tolist()
    assert record.proba.shape == (10, 3)
    np.testing.assert_allclose(record.proba.sum(axis=1), 1, atol=1e-6)
    assert record.settings == {"spoil": ""} and record.identity == run.identity
    metadata = record.metadata
    assert len(metadata.history) == PRESET.recipe.epochs and metadata.method == {"spoil": ""}
    assert metadata.device == "cpu" and "torch" in metadata.versions and metadata.traceback == ""
    assert 0 < metadata.seconds < 60


def test_a_fit_is_the_trainers_on_the_training_rows_and_predicts_the_test_rows(train, data, cohort):
    def images(rows: np.ndarray) -> torch.Tensor:
        return torch.from_numpy((cohort.volumes[rows].astype(np.float32) + 1000) / 1400).clamp(0, 1)

    torch.manual_seed(seed_of(SPEC))
    task = Task(3, data.class_names, cohort.attribute_names, (4, 4, 4), PRESET.encoder, PRESET.text_tower)
    method = Linear(task)
    fit(method, make_batch(images(data.train), torch.from_numpy(data.train_labels)), PRESET.recipe, seed_of(SPEC))
    with torch.no_grad():
        expected = method.eval().predict_proba(images(data.test))
    np.testing.assert_allclose(train().proba, expected, atol=1e-6)


def test_a_method_is_told_its_task(run, data, cohort):
    told = []

    class Asking(Linear):
        def __init__(self, task: Task) -> None:
            super().__init__(task)
            told.append(task)

    run_fit(run, SPEC, Row("linear", "Asking", "plugin", Asking), data, Setup(PRESET, CPU, "key"))
    assert told == [Task(3, data.class_names, cohort.attribute_names, (4, 4, 4), PRESET.encoder, PRESET.text_tower)]


def test_a_row_is_given_the_slices_that_the_encoder_reads_and_one_that_says_so_whole_crops(run, data):
    """Both read the central slice: the results have the same bits."""
    told, proba = [], []

    class Central(Method):
        title = "Central"

        def __init__(self, task: Task) -> None:
            super().__init__()
            told.append(task.image_shape)
            self.head = torch.nn.Linear(16, task.num_classes)

        def logits(self, images: torch.Tensor) -> torch.Tensor:
            told.append(tuple(images.shape[1:]))
            return self.head(central(images, 1).flatten(1))

        def loss(self, batch: Batch) -> dict[str, torch.Tensor]:
            return {"ce": torch.nn.functional.cross_entropy(self.logits(batch.images), batch.labels)}

        def predict_proba(self, images: torch.Tensor) -> torch.Tensor:
            return self.logits(images).softmax(1)

    class Whole(Central):
        reads_whole_crop = True

    preset = replace(PRESET, encoder=replace(PRESET.encoder, slices=1))
    for kind, slices in ((Central, 1), (Whole, 4)):
        record = run_fit(run, SPEC, Row("linear", "Mine", "plugin", kind), data, Setup(preset, CPU, kind.__name__))
        proba.append(record.proba)
        assert record.status == "done" and set(told) == {(slices, 4, 4)}
        told.clear()
    assert np.array_equal(*proba)


def test_a_finished_fit_is_not_made_again(run, train, data):
    train()
    before = run.path(SPEC).stat().st_mtime_ns
    assert train().status == "done" and run.path(SPEC).stat().st_mtime_ns == before


def test_a_record_that_cannot_be_used_is_made_anew(run, train):
    train()
    run.path(SPEC).write_bytes(b"damaged")
    assert train().status == "done" and run.read(SPEC).status == "done"


def test_a_record_of_other_settings_is_made_anew(run, train, data):
    class Other(Linear):
        def __init__(self, task: Task, spoil: str = "", width: int = 1) -> None:
            super().__init__(task, spoil)

    train()
    run_fit(run, SPEC, replace(LINEAR, make=Other), data, Setup(PRESET, CPU, "another"))
    assert run.read(SPEC).settings == {"spoil": "", "width": 1}


def test_a_record_of_other_fold_data_is_made_anew(run, train, data):
    train()
    flipped = replace(data, test_labels=data.test_labels[::-1].copy())
    assert train(flipped).labels.tolist() == data.test_labels[::-1].tolist() == run.read(SPEC).labels.tolist()


def test_the_same_fit_gives_the_same_probabilities_and_another_seed_or_fold_others(run, train):
    first = train().proba
    run.path(SPEC).unlink()
    torch.rand(1)
    assert np.array_equal(first, train().proba)
    for other in (replace(SPEC, seed=1), replace(SPEC, fold=1)):
        assert not np.array_equal(first, train(spec=other).proba)


def test_the_test_fold_does_not_touch_the_training(run, train, data, cohort):
    history = train().metadata.history
    run.path(SPEC).unlink()
    cohort.volumes[data.test] = 0
    assert train(replace(data, open=Opened(cohort))).metadata.history == history


class Sized(Linear):
    """Predicts each nodule's diameter as the probability of class 0."""

    reads_diameter = True

    def predict_proba(self, images: torch.Tensor, diameter_mm: torch.Tensor) -> torch.Tensor:
        share = diameter_mm[:, None] / 100
        return torch.cat([share, 1 - share, 0 * share], dim=1)


SIZED = Row("linear", "Sized", "plugin", Sized)


def test_a_row_that_declares_it_reads_the_test_nodules_diameters(run, data, cohort):
    record = run_fit(run, SPEC, SIZED, data, Setup(PRESET, CPU, "key"))
    np.testing.assert_allclose(record.proba[:, 0], cohort.diameter_mm[data.test] / 100, atol=1e-6)


@pytest.mark.parametrize("where", ["train", "test"])
def test_a_missing_diameter_is_seen_before_anything_is_trained(run, data, cohort, monkeypatch, where):
    monkeypatch.setattr(runner, "fit", lambda *_: pytest.fail("it trained"))
    cohort.diameter_mm[getattr(data, where)[3]] = np.nan
    record = run_fit(run, SPEC, SIZED, replace(data, open=Opened(cohort)), Setup(PRESET, CPU, "key"))
    assert (record.status, record.reason) == ("unsupported", "the collection does not give every nodule's diameter")


def test_a_missing_diameter_is_nothing_to_a_row_that_does_not_read_it(run, data, cohort):
    cohort.diameter_mm[:] = np.nan
    assert run_fit(run, SPEC, LINEAR, replace(data, open=Opened(cohort)), Setup(PRESET, CPU, "key")).status == "done"


def test_a_missing_diameter_of_a_nodule_of_neither_part_does_not_matter(run, data, cohort):
    cohort.diameter_mm[data.train[0]] = np.nan
    fewer = replace(data, open=Opened(cohort), train=data.train[1:], train_labels=data.train_labels[1:])
    assert run_fit(run, SPEC, SIZED, fewer, Setup(PRESET, CPU, "key")).status == "done"


@pytest.mark.parametrize("row", [LINEAR, SIZED])
def test_labels_ratings_and_scores_of_the_test_nodules_reach_no_prediction(run, data, cohort, row):
    before = run_fit(run, SPEC, row, data, Setup(PRESET, CPU, "key")).proba
    run.path(SPEC).unlink()
    others = [cohort.ratings, cohort.reader_malignancy, cohort.malignancy, cohort.n_readers, cohort.trusted]
    if row is LINEAR:
        others.append(cohort.diameter_mm)
    for column in others:
        column[data.test] = 1
    flipped = replace(data, open=Opened(cohort), test_labels=2 - data.test_labels)
    assert np.array_equal(run_fit(run, SPEC, row, flipped, Setup(PRESET, CPU, "key")).proba, before)


@pytest.mark.parametrize(
    ("spoil", "reason"),
    [
        ("nan", "TrainingFailed: the loss term 'ce' is nan in epoch 1"),
        ("raise", "RuntimeError: out of patience"),
        ("build", "KeyError: 'a bug'"),
        ("value", "ValueError: a plain bug"),
    ],
)
def test_a_broken_fit_is_recorded_with_its_reason_and_tried_again(run, train, spoil, reason):
    record = train(spoil=spoil)
    assert (record.status, record.reason) == ("failed", reason)
    assert "Traceback" in record.metadata.traceback and len(record.labels) == len(record.nodule_ids) == 0
    assert run.read(SPEC).status == "failed"
    assert train().status == "done"


@pytest.mark.parametrize("error", [RuntimeError("out of memory"), Unsupported("not yet")])
def test_what_was_not_done_is_tried_again_with_the_same_settings(run, train, monkeypatch, error):
    def fail(*_):
        raise error

    with monkeypatch.context() as patch:
        patch.setattr(runner, "fit", fail)
        assert train().status in ("failed", "unsupported")
    assert train().status == "done"


def test_the_time_is_that_of_the_fit(train, monkeypatch):
    ticks = iter([100.0, 350.1234567])
    monkeypatch.setattr(runner.time, "perf_counter", lambda: next(ticks))
    assert train().metadata.seconds == 250.123


def test_a_card_is_named_by_its_maker_and_other_devices_by_their_kind(monkeypatch):
    monkeypatch.setattr(torch.cuda, "get_device_name", lambda device: f"Card {device.index}")
    assert runner._device_name(torch.device("cuda:1")) == "Card 1"
    assert [runner._device_name(torch.device(kind)) for kind in ("cpu", "mps")] == ["cpu", "mps"]


def test_a_method_that_cannot_do_the_task_is_unsupported_not_failed(run, train):
    record = train(spoil="task")
    assert (record.status, record.reason) == ("unsupported", "it cannot work on this task")
    assert record.metadata.traceback == "" and len(record.proba) == 0
    assert train().status == "done"  # once it is mended


def test_bad_input_ends_the_run_and_leaves_no_record(run, train, data):
    with pytest.raises(InputError, match="the weights are gone"):
        train(spoil="input")
    with pytest.raises(InputError, match="has changed since this run was planned"):
        train(replace(data, cohort_hash="other"))
    assert run.read(SPEC) is None


def test_a_reference_reads_columns_and_training_labels_and_its_seed(run, data, cohort):
    seen = {}

    def reference(train, test, labels, num_classes, seed):
        seen.update(train=train, test=test, labels=labels, num_classes=num_classes, seed=seed)
        return np.tile([0.5, 0.25, 0.25], (len(test), 1))

    row = Row("linear", "Constant", "reference", reference)
    record = run_fit(run, SPEC, row, data, Setup(PRESET, CPU, "key"))
    assert record.key == "key" and record.data == data.digest
    assert (record.status, record.kind, record.decoder, record.settings) == ("done", "reference", "argmax", {})
    assert record.proba.tolist() == [[0.5, 0.25, 0.25]] * 10 and record.metadata.history == []
    assert seen["labels"].tolist() == data.train_labels.tolist() and seen["seed"] == seed_of(SPEC)
    assert seen["num_classes"] == 3
    for part, rows in (("train", data.train), ("test", data.test)):
        assert seen[part].diameter_mm.tolist() == cohort.diameter_mm[rows].tolist()


@pytest.mark.parametrize(
    ("given", "reason"),
    [
        ([[0.5, 0.5]] * 10, "the predicted probabilities have the shape (10, 2), not (10, 3)"),
        ([[0.5, 0.25, 0.25]] * 9, "the predicted probabilities have the shape (9, 3), not (10, 3)"),
        ([[np.nan, 0.5, 0.5]] * 10, "a predicted probability is not finite"),
        ([[0.5, 0.5, 0.5]] * 10, "the predicted probabilities are negative or do not sum to one"),
    ],
)
def test_a_reference_is_guarded_like_a_method(run, data, given, reason):
    row = Row("linear", "Odd", "reference", lambda *_: np.array(given))
    record = run_fit(run, SPEC, row, data, Setup(PRESET, CPU, "key"))
    assert record.status == "failed" and record.reason == f"TrainingFailed: {reason}"


def test_every_row_of_a_fold_has_the_same_seed_and_every_fold_another():
    seeds = {(fold, seed): seed_of(FitSpec("three", "a", fold, seed)) for fold in range(5) for seed in range(3)}
    assert len(set(seeds.values())) == 15
    assert seed_of(FitSpec("two", "b", 1, 2)) == seeds[1, 2]
    assert seeds[0, 0] == np.random.SeedSequence([0, 0]).generate_state(1)[0]


def test_a_process_repeats_itself(monkeypatch):
    monkeypatch.delenv("CUBLAS_WORKSPACE_CONFIG", raising=False)
    threads = torch.get_num_threads()
    torch.backends.cudnn.benchmark, torch.backends.cudnn.deterministic = True, False
    torch.backends.cudnn.allow_tf32 = torch.backends.cuda.matmul.allow_tf32 = True
    try:
        deterministic()
        assert torch.get_num_threads() == 1 and os.environ["CUBLAS_WORKSPACE_CONFIG"] == ":4096:8"
        assert torch.backends.cudnn.deterministic and not torch.backends.cudnn.benchmark
        assert not torch.backends.cudnn.allow_tf32 and not torch.backends.cuda.matmul.allow_tf32
    finally:
        torch.set_num_threads(threads)


def test_what_the_user_set_for_cublas_stays(monkeypatch):
    monkeypatch.setenv("CUBLAS_WORKSPACE_CONFIG", ":16:8")
    threads = torch.get_num_threads()
    deterministic()
    torch.set_num_threads(threads)
    assert os.environ["CUBLAS_WORKSPACE_CONFIG"] == ":16:8"


def test_training_is_deterministic_before_anything_is_drawn(train, monkeypatch):
    order = []
    monkeypatch.setattr(runner, "deterministic", lambda: order.append("deterministic"))
    monkeypatch.setattr(nn.Linear, "reset_parameters", lambda self: order.append("drawn"))
    train()
    assert order == ["deterministic", "drawn"]


class Large(Linear):
    """Needs memory for every nodule that it meets at once, and has it for three."""

    holds = 3

    def loss(self, batch: Batch) -> dict[str, torch.Tensor]:
        if len(batch) > self.holds:
            raise torch.OutOfMemoryError(f"CUDA out of memory. Tried to allocate {len(batch)}.00 GiB.")
        return super().loss(batch)

    def predict_proba(self, images: torch.Tensor) -> torch.Tensor:
        if len(images) > self.holds:
            raise torch.OutOfMemoryError("CUDA out of memory.")
        return super().predict_proba(images)


class TooLarge(Large):
    holds = 1


def test_a_fit_that_memory_does_not_hold_is_made_with_fewer_nodules_at_once_and_says_so(run, train, data):
    large = run_fit(run, SPEC, replace(LINEAR, make=Large), data, Setup(PRESET, CPU, "large"))
    assert (large.status, large.metadata.micro_batch) == ("done", 2) and run.read(SPEC).metadata.micro_batch == 2
    run.path(SPEC).unlink()
    whole = train()
    assert whole.metadata.micro_batch is None and whole.metadata.step == "eager"
    np.testing.assert_allclose(large.proba, whole.proba, atol=1e-6)  # its start and its batches are the same


def test_a_fit_that_memory_does_not_hold_at_all_fails_with_what_it_needed(run, data):
    record = run_fit(run, SPEC, replace(LINEAR, make=TooLarge), data, Setup(PRESET, CPU, "large"))
    needed = "out of memory even with 2 nodules at once: CUDA out of memory. Tried to allocate 2.00 GiB."
    assert (record.status, record.reason) == ("failed", f"TrainingFailed: {needed}")


def test_a_device_that_disappears_fails_its_fit_with_the_reason(run, train, data, monkeypatch):
    def lost(*_):
        raise torch.AcceleratorError("CUDA error: unspecified launch failure\nCUDA kernel errors might be ...")

    monkeypatch.setattr(runner, "fit", lost)
    assert train().reason == run.read(SPEC).reason == "AcceleratorError: CUDA error: unspecified launch failure"


@pytest.mark.parametrize(
    ("device", "layout"),
    [("cpu", torch.contiguous_format), pytest.param("cuda", torch.channels_last, marks=pytest.mark.gpu)],
)
def test_on_a_card_alone_convolutions_have_their_channels_last(data, device, layout):
    method = Linear(task_of(data, PRESET))
    method.convolution = nn.Conv2d(4, 8, 3)
    weight = to_device(method, torch.device(device)).convolution.weight
    assert weight.device.type == device and weight.is_contiguous(memory_format=layout)


class Dropping(Linear):
    """Draws from torch's generator in training and, as a plugin may, in prediction."""

    def loss(self, batch: Batch) -> dict[str, torch.Tensor]:
        logits = self.head(nn.functional.dropout(batch.images.flatten(1)))
        return {"ce": nn.functional.cross_entropy(logits, batch.labels)}

    def predict_proba(self, images: torch.Tensor) -> torch.Tensor:
        assert not self.training
        torch.rand(3)
        return super().predict_proba(images)


CURVE = Setup(PRESET, CPU, "key", Extras(weights=True, test_curve=True))


def test_a_test_curve_changes_no_bit_of_what_is_trained_and_predicted(run, data):
    row = replace(LINEAR, make=Dropping)
    plain = run_fit(run, SPEC, row, data, replace(CURVE, extras=Extras(weights=True)))
    run.path(SPEC).unlink()
    looked = run_fit(run, SPEC, row, data, CURVE)
    assert looked.metadata.weights == plain.metadata.weights != ""
    assert np.array_equal(looked.proba, plain.proba) and looked.metadata.history == plain.metadata.history
    assert plain.metadata.test_curve == [] and len(looked.metadata.test_curve) == PRESET.recipe.epochs


def test_a_test_curve_is_the_test_accuracy_after_each_epoch_and_ends_with_what_predicts(run, data, monkeypatch):
    """With a constant rate, a training of fewer epochs is the beginning of one of more."""
    monkeypatch.setattr("benchmark.trainer.learning_rate_factor", lambda *_: 1.0)
    monkeypatch.setattr("benchmark.runner.seed_of", lambda _: 5)
    curves, last = [], []
    for epochs in (1, 2, 3, 4):
        preset = replace(PRESET, recipe=replace(PRESET.recipe, epochs=epochs, lr=0.5))
        record = run_fit(run, replace(SPEC, fold=epochs), LINEAR, data, replace(CURVE, preset=preset))
        curves.append(record.metadata.test_curve)
        last.append(float((record.proba.argmax(axis=1) == record.labels).mean()))
    assert curves[-1] == last and [curve[-1] for curve in curves] == last
    assert len(set(last)) > 1


def test_a_curve_is_in_the_record_on_disk(run, data):
    made = run_fit(run, SPEC, LINEAR, data, CURVE)
    assert run.read(SPEC).metadata.test_curve == made.metadata.test_curve
