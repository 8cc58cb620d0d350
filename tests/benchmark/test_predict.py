import csv
import io
import math
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace

import numpy as np
import pytest
import torch

import methods
from benchmark.commands.predict import DEVICE, KNOWN, main, tower_of
from benchmark.contracts import InputError, Provenance, Row, Task
from benchmark.extras import Extras
from benchmark.identity import as_set, fit_key
from benchmark.prediction import Crops, csv_text, predict_each, read_crops, usable
from benchmark.recipe import PRESETS
from benchmark.records import FitSpec
from benchmark.run import Run
from benchmark.runfile import RunMetadata
from benchmark.runner import Setup, run_fit
from fakes import IDENTITY, A, Linear, Opened, fold_data, make_cohort

CPU = torch.device("cpu")
PRESET = replace(PRESETS["smoke"], recipe=replace(PRESETS["smoke"].recipe, batch_size=8), folds=2)
KEYS = ("ce", "ce_diameter", "cocoop", "poisson")


@pytest.fixture(scope="module")
def cohort():
    hu = np.random.default_rng(1).integers(-1000, 400, (15, 32, 32, 32)).astype(np.int16)
    return make_cohort(15, volumes=hu)


@pytest.fixture(scope="module")
def run(tmp_path_factory, cohort) -> Run:
    identity = replace(
        IDENTITY,
        folds=2,
        encoder=PRESET.encoder,
        text_tower=PRESET.text_tower,
        recipe=PRESET.recipe,
    )
    made = Run(tmp_path_factory.mktemp("runs") / "run", identity)
    made.start("python run_all.py", RunMetadata({}, "cpu", "", Provenance(200, "", None)), [A])
    for key in KEYS:
        for fold in (0, 1):
            setup = Setup(PRESET, CPU, fit_key(identity, methods.ROWS[key]), Extras(weights=key != "poisson"))
            test = np.arange(fold * 5, fold * 5 + 5)
            train = np.setdiff1d(np.arange(15), test)
            data = fold_data(
                cohort,
                open=Opened(cohort),
                train=train,
                test=test,
                train_labels=train % 3,
                test_labels=test % 3,
                test_ids=tuple(f"n{i}" for i in test),
            )
            assert run_fit(made, FitSpec("three", key, fold, 0), methods.ROWS[key], data, setup).status == "done"
    return made


def crops_of(cohort, rows=slice(None)) -> Crops:
    return Crops(tuple(np.array(cohort.nodule_ids)[rows]), cohort.volumes[rows], cohort.diameter_mm[rows])


def save(path, cohort, **arrays):
    np.savez(path, volumes=cohort.volumes[:4], **arrays)
    return path


def call(capsys, run: Run, *arguments) -> tuple[int, str, str]:
    capsys.readouterr()
    status = main([str(run.folder), *map(str, arguments)])
    return status, *capsys.readouterr()


def table(text: str) -> list[dict[str, str]]:
    return list(csv.DictReader(line for line in io.StringIO(text) if not line.startswith("#")))


@pytest.mark.parametrize("key", ["ce", "ce_diameter", "cocoop"])
def test_each_fit_says_of_its_test_nodules_what_its_record_says(run, cohort, key):
    fits = usable(run, methods.ROWS[key], "three")
    each = predict_each(run, methods.ROWS[key], fits, crops_of(cohort), PRESET.text_tower, CPU)
    assert each.shape == (2, 15, 3)
    for fold, record in enumerate(fits):
        np.testing.assert_allclose(each[fold, fold * 5 : fold * 5 + 5], record.proba, atol=1e-6)
    assert not np.allclose(each[0], each[1])


class Flat(Linear):
    """Reads every voxel of what it is given."""

    def __init__(self, task: Task) -> None:
        super().__init__(task)
        self.head = torch.nn.Linear(math.prod(task.image_shape), task.num_classes)


def test_a_prediction_is_given_the_slices_that_the_fit_saw(run, cohort):
    row = Row("flat", "Flat", "plugin", Flat)
    data = fold_data(cohort, open=Opened(cohort))
    record = run_fit(run, FitSpec("three", "flat", 0, 0), row, data, Setup(PRESET, CPU, "key", Extras(weights=True)))
    assert record.status == "done"
    (proba,) = predict_each(run, row, [record], crops_of(cohort, data.test), PRESET.text_tower, CPU)
    np.testing.assert_allclose(proba, record.proba, atol=1e-6)


def test_the_mean_decides_and_the_spread_stands_beside_it():
    each = np.array([[[0.8, 0.2, 0.0], [0.5, 0.1, 0.4]], [[0.4, 0.2, 0.4], [0.3, 0.1, 0.6]]])
    crops = Crops(("a,b", "c"), np.zeros((2, 1, 1, 1), np.int16), np.full(2, np.nan))
    median = replace(methods.ROWS["ce"], make=type("Median", (methods.ROWS["ce"].method,), {"decoder": "median"}))
    names = ("benign", "unsure", "malignant")
    text = csv_text(crops, each, methods.ROWS["ce"], names, ["no\ndevice", "a phantom"])
    assert text.splitlines() == [
        "# no device",
        "# a phantom",
        "nodule_id,decision,p_benign,p_unsure,p_malignant,std_benign,std_unsure,std_malignant",
        '"a,b",benign,0.600000,0.200000,0.200000,0.282843,0.000000,0.282843',
        "c,malignant,0.400000,0.100000,0.500000,0.141421,0.000000,0.141421",
    ]
    assert [row["decision"] for row in table(csv_text(crops, each, median, names, []))] == ["benign", "unsure"]
    assert table(csv_text(crops, each[:1], median, names, []))[0]["std_benign"] == ""


def test_the_command_writes_a_line_a_nodule_under_its_warnings(run, cohort, capsys, tmp_path):
    path = save(tmp_path / "mine.npz", cohort, nodule_ids=np.array(["x1", "x2", "x3", "x4"]))
    status, out, err = call(capsys, run, "ce", "--input", path)
    assert status == 0 and err.splitlines()[0] == DEVICE and out.splitlines()[0] == f"# {DEVICE}"
    assert "not CT" in out and KNOWN in out and "these numbers mean nothing" in out and "random weights" not in out
    lines = table(out)
    assert [line["nodule_id"] for line in lines] == ["x1", "x2", "x3", "x4"]
    assert all(abs(sum(float(line[f"p_{k}"]) for k in A.class_names) - 1) < 1e-5 for line in lines)
    status, shown, _ = call(capsys, run, "ce", "--input", path, "--out", tmp_path / "p.csv")
    assert status == 0 and shown == "" and (tmp_path / "p.csv").read_text() == out
    assert "Its text tower has random weights" in call(capsys, run, "cocoop", "--input", path)[1]
    assert "Other code" not in out


def test_a_folder_of_nodules_is_taken_as_a_collection_is(run, cohort, capsys, tmp_path):
    lines = ["nodule_id,patient_id,file,label"]
    for number in range(2):
        np.save(tmp_path / f"{number}.npy", cohort.volumes[number])
        lines.append(f"mine{number},p{number},{number}.npy,benign")
    (tmp_path / "nodules.csv").write_text("\n".join(lines))
    status, out, _ = call(capsys, run, "ce", "--input", tmp_path)
    np.save(tmp_path / "crops.npy", cohort.volumes[:2])
    assert status == 0 and [line["nodule_id"] for line in table(out)] == ["mine0", "mine1"]
    numbers = [list(line.values())[1:] for line in table(out)]
    again = table(call(capsys, run, "ce", "--input", tmp_path / "crops.npy")[1])
    assert [list(line.values())[1:] for line in again] == numbers and again[1]["nodule_id"] == "1"


def bad(capsys, run: Run, *arguments) -> str:
    """See that nothing is said but the one sentence: no warning, no progress."""
    status, out, err = call(capsys, run, *arguments)
    assert status == 2 and out == "" and err.startswith("benchmark.predict: ") and err.count("\n") == 1
    return err.splitlines()[-1]


def test_a_place_that_cannot_be_written_to_is_refused_before_any_work(run, cohort, capsys, tmp_path, monkeypatch):
    monkeypatch.setattr("benchmark.commands.predict.predict_each", lambda *_: pytest.fail("it worked"))
    path = save(tmp_path / "mine.npz", cohort)
    assert "is a folder: give the name of a file" in bad(capsys, run, "ce", "--input", path, "--out", tmp_path)
    said = bad(capsys, run, "ce", "--input", path, "--out", path / "p.csv")
    assert said.startswith("benchmark.predict: nothing can be written to ") and said.endswith(
        "another folder with --out"
    )


def test_weights_that_are_gone_name_the_option_that_keeps_them(run, cohort, capsys, tmp_path):
    path = save(tmp_path / "mine.npz", cohort)
    kept = run.weights_path(usable(run, methods.ROWS["ce"], "three")[1].spec)
    aside = kept.rename(tmp_path / "aside")
    try:
        said = bad(capsys, run, "ce", "--input", path)
    finally:
        aside.rename(kept)
    assert "its weights are missing: there is no " in said and said.endswith("in another --out with --keep-weights")


def test_a_row_that_cannot_predict_says_why_in_a_sentence(run, cohort, capsys, tmp_path):
    path = save(tmp_path / "mine.npz", cohort)
    assert "did not keep the weights of poisson (2 of 2 fits)" in bad(capsys, run, "poisson", "--input", path)
    assert "--keep-weights" in bad(capsys, run, "poisson", "--input", path)
    assert "did you mean 'cocoop'" in bad(capsys, run, "cocop", "--input", path)
    assert "has no fit of corf" in bad(capsys, run, "corf", "--input", path)
    assert "no finished fit of ce on the label set 'two'" in bad(
        capsys, run, "ce", "--input", path, "--label-set", "two"
    )
    said = bad(capsys, run, "ce_diameter", "--input", path)
    assert "give a folder whose nodules.csv has the column diameter_mm, or an .npz with the array" in said
    assert call(capsys, run, "ce_diameter", "--input", save(path, cohort, diameter_mm=np.full(4, 8)))[0] == 0


@contextmanager
def holding(run: Run, key: str) -> Iterator[None]:
    """Have a run hold a record of a row for a while."""
    place = run.path(FitSpec("three", key, 0, 0))
    place.parent.mkdir()
    place.write_bytes(b"")
    try:
        yield
    finally:
        shutil.rmtree(place.parent)


def test_an_unknown_row_is_offered_those_of_the_run_that_predict(run, cohort, capsys, tmp_path):
    with holding(run, "majority"):
        said = bad(capsys, run, "mine", "--input", save(tmp_path / "mine.npz", cohort))
    assert "no method 'mine': choose from ce, ce_diameter, cocoop, " in said
    assert "majority" not in said and "clip_lung" not in said


def test_a_plugins_row_of_the_run_asks_for_the_plugin(run, cohort, capsys, tmp_path):
    with holding(run, "mine"):
        said = bad(capsys, run, "mine", "--input", save(tmp_path / "mine.npz", cohort))
    assert said.endswith(f"mine is the row of a plugin in {run.folder}: give the plugin's file with --plugin")


def test_input_that_is_no_crops_says_what_to_give(run, cohort, capsys, tmp_path):
    for name, content in {"text.npy": b"no array", "empty.npz": b"", "half.npz": b"PK\x03\x04zz"}.items():
        (tmp_path / name).write_bytes(content)
        assert "cannot be read as crops" in bad(capsys, run, "ce", "--input", tmp_path / name)
    for array in (cohort.volumes.astype(np.float32), cohort.volumes[0], cohort.volumes[:0]):
        np.save(tmp_path / "array.npy", array)
        assert "holds no crops" in bad(capsys, run, "ce", "--input", tmp_path / "array.npy")
    np.save(tmp_path / "small.npy", cohort.volumes[:, :16])
    assert "the crops are (16, 32, 32) voxels" in bad(capsys, run, "ce", "--input", tmp_path / "small.npy")
    assert "one value for each of its 4" in bad(
        capsys, run, "ce", "--input", save(tmp_path / "ids.npz", cohort, nodule_ids=np.array(["a"]))
    )
    assert "there is no " in bad(capsys, run, "ce", "--input", tmp_path / "nothing.npz")
    assert "nodules.csv" in bad(capsys, run, "ce", "--input", tmp_path)


def test_weights_that_are_damaged_or_of_another_fit_predict_nothing(run, cohort):
    fits = usable(run, methods.ROWS["ce"], "three")
    path, other = (run.weights_path(fit.spec) for fit in fits)
    before = path.read_bytes()
    try:
        for content, said in ((before[:-9], "is damaged"), (other.read_bytes(), "holds the weights of another fit")):
            path.write_bytes(content)
            with pytest.raises(InputError, match=said):
                predict_each(run, methods.ROWS["ce"], fits, crops_of(cohort), PRESET.text_tower, CPU)
    finally:
        path.write_bytes(before)


def test_other_code_is_said_and_other_hyperparameters_are_refused(run, cohort, capsys, tmp_path, monkeypatch):
    path = save(tmp_path / "mine.npz", cohort)
    monkeypatch.setattr("benchmark.commands.predict.fit_key", lambda *_, **__: "another")
    assert "Other code than this checkout's made the fits" in call(capsys, run, "ce", "--input", path)[2]
    row = replace(methods.ROWS["cocoop"], hyperparameters={"new": 1})
    with pytest.raises(InputError, match="with other hyperparameters than this checkout"):
        usable(run, row, "three")


def test_a_row_is_rebuilt_with_what_the_run_had_changed_of_it():
    row = as_set(methods.ROWS["clip_lung"], {"clip_lung.alpha": 0.25, "ce.alpha": 9, "clip_lung_ic.alpha": 7})
    assert row.settings == methods.ROWS["clip_lung"].settings | {"alpha": 0.25}
    assert as_set(methods.ROWS["ce"], {}).settings == methods.ROWS["ce"].settings


def test_a_text_tower_must_be_the_runs_own(run, tmp_path):
    reading, blind = methods.ROWS["cocoop"], methods.ROWS["ce"]
    assert tower_of(run, reading, None) == PRESET.text_tower == tower_of(run, blind, None)
    named = Run(tmp_path, replace(run.identity, text_tower=replace(PRESET.text_tower, name="causal")))
    with pytest.raises(InputError, match="say where it is with --text-tower"):
        tower_of(named, reading, None)
    with pytest.raises(InputError, match="another text tower than the run's"):
        tower_of(named, reading, "openai")


def test_a_run_of_random_text_takes_no_other_tower(run):
    reading, blind = methods.ROWS["cocoop"], methods.ROWS["ce"]
    assert run.identity.text_tower.name == "random" and tower_of(run, reading, "random") == PRESET.text_tower
    with pytest.raises(InputError, match="'openai' is another text tower than the run's"):
        tower_of(run, reading, "openai")
    assert tower_of(run, blind, "openai") == PRESET.text_tower, "which is not read, as --help says"


def test_crops_come_with_their_names_and_sizes_if_these_are_given(cohort, tmp_path):
    crops = read_crops(save(tmp_path / "a.npz", cohort, nodule_ids=np.array([7, 8, 9, 10]), diameter_mm=np.arange(4)))
    assert crops.ids == ("7", "8", "9", "10") and crops.diameter_mm.tolist() == [0, 1, 2, 3]
    assert np.array_equal(crops.hu, cohort.volumes[:4])
    assert np.isnan(read_crops(save(tmp_path / "b.npz", cohort)).diameter_mm).all()
