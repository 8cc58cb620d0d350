from dataclasses import replace

import numpy as np
import pytest
import torch
from safetensors import safe_open
from torch import Tensor, nn

from benchmark import weights
from benchmark.batches import part_of
from benchmark.contracts import Row, Task
from benchmark.extras import Extras
from benchmark.records import FitRecord, FitSpec, Unusable
from benchmark.runner import Setup, run_fit
from benchmark.trainer import predict
from benchmark.voxels import place
from fakes import PRESET, TASK, Linear

SPEC = FitSpec("three", "seen", 0, 0)
CPU = torch.device("cpu")


class Pooling(nn.Module):
    """Averages an image over its slices, and learns a factor."""

    def __init__(self) -> None:
        super().__init__()
        self.factor = nn.Parameter(torch.ones(()))

    def pooled(self, images: Tensor) -> Tensor:
        return self.factor * images.mean(dim=1).flatten(1)


class Seen(Linear):
    """With an encoder, a counter that training moves, and something frozen that every build makes anew."""

    title = "Seen"

    def __init__(self, task: Task) -> None:
        super().__init__(task)
        self.encoder, self.head = Pooling(), nn.Linear(16, task.num_classes)
        self.register_buffer("epochs", torch.tensor(0))
        self.register_buffer("frozen", torch.ones(1000), persistent=False)

    def loss(self, batch):
        return {"ce": nn.functional.cross_entropy(self.head(self.encoder.pooled(batch.images)), batch.labels)}

    def predict_proba(self, images: Tensor) -> Tensor:
        return (self.head(self.encoder.pooled(images)) * self.epochs).softmax(1)

    def after_epoch(self, batches) -> None:
        self.epochs += 1


ROW = Row("seen", "Seen", "plugin", Seen)
KEPT = Setup(PRESET, CPU, "key", Extras(weights=True))


@pytest.fixture
def record(run, data) -> FitRecord:
    return run_fit(run, SPEC, ROW, data, KEPT)


def images_of(data) -> Tensor:
    cohort = data.cohort()
    unlabelled = np.full(len(data.test), -1)
    return part_of(cohort, place(cohort.volumes, CPU, PRESET.recipe.window_hu), data.test, unlabelled)[:].images


def test_a_method_built_anew_predicts_with_kept_weights_what_the_record_says(run, data, record):
    kept = weights.read(run, record)
    assert kept.about.spec == SPEC and kept.about.key == "key"
    assert kept.about.task == replace(TASK, class_names=data.class_names)
    torch.manual_seed(99)
    method = kept.into(ROW.build(kept.about.task))
    assert not method.training and method.epochs == PRESET.recipe.epochs
    assert np.array_equal(predict(method, images_of(data), 3), record.proba)
    np.testing.assert_array_equal(kept.features, method.encoder.pooled(images_of(data)).detach())


def test_what_is_rebuilt_with_the_method_is_not_kept(run, record):
    kept = weights.read(run, record)
    assert kept.state.keys() == {"encoder.factor", "epochs", "head.weight", "head.bias"}


def test_a_method_without_one_image_encoder_has_weights_and_no_features(run, data):
    record = run_fit(run, SPEC, replace(ROW, make=Linear), data, KEPT)
    kept = weights.read(run, record)
    assert kept.features is None and kept.state.keys() == {"head.weight", "head.bias"}


def test_keeping_weights_changes_no_probability_and_no_key(run, data, record):
    run.path(SPEC).unlink()
    without = run_fit(run, SPEC, ROW, data, Setup(PRESET, CPU, "key"))
    assert np.array_equal(without.proba, record.proba) and without.key == record.key
    assert without.metadata.history == record.metadata.history
    assert without.metadata.weights == "" and not run.weights_path(SPEC).exists()  # nor does another training's stay


def test_the_same_training_leaves_the_same_bytes(run, data, record):
    path = run.weights_path(SPEC)
    before = path.read_bytes()
    run.path(SPEC).unlink()
    run_fit(run, SPEC, ROW, data, KEPT)
    assert path.read_bytes() == before
    with safe_open(path, "pt") as file:
        assert list(file.metadata()) == ["fit"]  # the order of several would be another in each process


def test_weights_stand_before_the_record_that_names_them(run, data, monkeypatch):
    monkeypatch.setattr(FitRecord, "to_bytes", lambda _: (_ for _ in ()).throw(KeyboardInterrupt))
    with pytest.raises(KeyboardInterrupt):
        run_fit(run, SPEC, ROW, data, KEPT)
    assert run.weights_path(SPEC).is_file() and run.read(SPEC) is None


def test_weights_that_were_not_kept_are_not_read(run, data, record):
    with pytest.raises(Unusable, match="its weights were not kept"):
        weights.read(run, replace(record, metadata=replace(record.metadata, weights="")))


def test_missing_weights_are_said_to_be(run, record):
    run.weights_path(SPEC).unlink()
    with pytest.raises(Unusable, match=r"missing: there is no .*fold0-seed0\.safetensors"):
        weights.read(run, record)


def test_weights_of_another_fit_or_of_other_code_are_never_used(run, data, record):
    other = run_fit(run, replace(SPEC, fold=1), ROW, data, KEPT)
    run.weights_path(SPEC).write_bytes(run.weights_path(other.spec).read_bytes())
    with pytest.raises(Unusable, match="holds the weights of another fit, three/seen/fold1-seed0"):
        weights.read(run, record)
    run.path(SPEC).unlink()
    run_fit(run, SPEC, ROW, data, replace(KEPT, key="old"))
    with pytest.raises(Unusable, match="holds weights that other code or settings made"):
        weights.read(run, record)


DEEP = (100_005).to_bytes(8, "little") + b'{"a":' + b"[" * 100_000


@pytest.mark.parametrize(
    "spoil",
    [lambda b: b[:-1], lambda b: b[:-2] + b"zz", lambda b: b"", lambda b: b"\xff" * 99, lambda b: DEEP],
    ids=["cut", "changed", "empty", "no header", "deep"],
)
def test_damaged_weights_are_never_used(run, record, spoil):
    path = run.weights_path(SPEC)
    path.write_bytes(spoil(path.read_bytes()))
    with pytest.raises(Unusable, match="is damaged, or of another training"):
        weights.read(run, record)


def test_weights_go_into_no_method_with_other_parts(run, record):
    with pytest.raises(Unusable, match="not those of the row as this checkout builds it"):
        weights.read(run, record).into(Linear(TASK))


def test_a_record_set_aside_takes_its_weights_along(run, record):
    kept = run.set_aside(SPEC)
    assert kept.with_suffix(".safetensors").is_file() and not run.weights_path(SPEC).exists()
    assert run.specs() == []


def test_what_holds_weights_is_no_record(run, record):
    assert run.specs() == [SPEC]
