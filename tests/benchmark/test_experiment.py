import pickle
import random
import sys
from dataclasses import replace

import numpy as np
import pytest

import methods
from benchmark import plugins, references
from benchmark.contracts import InputError, Provenance, Row
from benchmark.experiment import Experiment, Job, by_reason, done_fits, name_fits
from benchmark.identity import fit_key
from benchmark.records import FitSpec
from benchmark.run import RunMetadata
from fakes import IDENTITY, LINEAR, PRESET, A, B, C, Linear, fold_data, make_cohort

PRIOR = references.ROWS["majority"]


def test_protocols_with_one_label_set_share_their_fits_and_references_come_first():
    specs = name_fits([A, B, C], {"linear": LINEAR, "majority": PRIOR}, folds=2, seeds=2)
    assert specs[:4] == [
        FitSpec("three", "majority", 0, 0),
        FitSpec("three", "majority", 1, 0),
        FitSpec("two", "majority", 0, 0),
        FitSpec("two", "majority", 1, 0),
    ]
    assert len(specs) == len(set(specs)) == 4 + 2 * 2 * 2
    assert {(spec.label_set, spec.fold, spec.seed) for spec in specs[4:]} == {
        (label_set, fold, seed) for label_set in ("three", "two") for fold in (0, 1) for seed in (0, 1)
    }
    assert name_fits([A], {"linear": LINEAR}, 1, 1) == [FitSpec("three", "linear", 0, 0)]
    assert [spec.method for spec in name_fits([A], {"linear": LINEAR, "b": replace(LINEAR, key="b")}, 1, 1)] == [
        "linear",
        "b",
    ]


@pytest.fixture
def experiment(tmp_path) -> Experiment:
    cohort = make_cohort()
    rows = {"majority": PRIOR, "linear": LINEAR}
    specs = name_fits([A], rows, folds=2, seeds=2)
    data = {("three", fold): fold_data(cohort) for fold in (0, 1)}
    made = Experiment(tmp_path / "run", IDENTITY, rows, data, specs, PRESET, "cpu")
    made.run.start("command", RunMetadata({}, "cpu", "", Provenance(None, "", None)))
    return made


def train(experiment: Experiment, specs=None) -> list[tuple[int, int, str]]:
    told = []
    experiment.train(specs or experiment.specs, 0, None, lambda *now: told.append(now))
    return told


def test_what_is_missing_is_made_and_then_found(experiment):
    found, unusable = experiment.read()
    assert list(found) == list(experiment.specs) and set(found.values()) == {None} and unusable == {}
    told = train(experiment)
    assert told[0] == (0, 6, "starting") and told[1] == (1, 6, "majority three fold 0: done")
    assert [now[0] for now in told] == list(range(7))
    found, unusable = experiment.read()
    assert {record.status for record in found.values()} == {"done"} and unusable == {}
    assert all(record.spec == spec for spec, record in found.items())


def test_each_fit_is_made_of_its_own_row_and_fold_data(experiment):
    short = fold_data(make_cohort(), test=np.array([29]), test_labels=np.array([2]), test_ids=("n29",))
    experiment.data["three", 1] = short
    train(experiment)
    found, _ = experiment.read()
    assert {spec.fold: len(record.labels) for spec, record in found.items()} == {0: 10, 1: 1}
    assert {spec.method: record.kind for spec, record in found.items()} == {"majority": "reference", "linear": "paper"}


def test_a_record_that_cannot_be_used_counts_as_missing_and_says_why(experiment):
    train(experiment)
    damaged, stale = experiment.specs[0], experiment.specs[2]
    experiment.run.path(damaged).write_bytes(b"?")
    record = experiment.run.read(stale)
    experiment.run.write(replace(record, key="old"))
    found, unusable = experiment.read()
    assert found[damaged] is None and found[stale] is None
    assert unusable.keys() == {damaged, stale} and "damaged" in unusable[damaged]
    assert unusable[stale] == "made by other code or settings of its row"
    assert sum(record is not None for record in found.values()) == 4


def test_records_that_cannot_be_used_are_moved_and_told_of_once_a_reason(experiment):
    train(experiment)
    torn, *stale = experiment.specs[0], *experiment.specs[2:]
    experiment.run.path(torn).write_bytes(b"?")
    for spec in stale:
        experiment.run.write(replace(experiment.run.read(spec), key="old"))
    _, unusable = experiment.read()
    one, many = experiment.set_aside(unusable)
    assert one.startswith("set aside three/majority/fold0-seed0.json: damaged")
    assert one.endswith(f"kept in {experiment.folder / 'aside'}, made anew now")
    assert many.startswith("set aside 4 records, three/linear/fold0-seed0.json first: made by other code or settings")
    assert len(list((experiment.folder / "aside").iterdir())) == 5
    assert experiment.read()[1] == {} and experiment.set_aside({}) == []


def done(experiment: Experiment, asked: dict | None = None, **changes) -> set[FitSpec]:
    preset = replace(PRESET, **changes)
    return done_fits(experiment.folder, experiment.specs, experiment.rows, preset, asked or {})


def test_a_plan_counts_what_is_done_and_not_what_failed_or_cannot_be_used(experiment):
    assert done(experiment) == set()
    train(experiment, experiment.specs[:5])
    failed, torn, stale, gap, *rest = experiment.specs[:5]
    unsupported = {"status": "unsupported", "reason": "no text"}
    changes = ((failed, {"status": "failed", "reason": "nan"}), (stale, {"key": "old"}), (gap, unsupported))
    for spec, change in changes:
        experiment.run.write(replace(experiment.run.read(spec), **change))
    experiment.run.path(torn).write_bytes(b"?")
    before = sorted(experiment.folder.rglob("*"))
    assert done(experiment) == {gap, *rest}
    assert sorted(experiment.folder.rglob("*")) == before


def test_a_plan_of_another_preset_is_refused_and_a_new_folder_holds_nothing(experiment, tmp_path):
    train(experiment)
    assert done_fits(tmp_path / "new", experiment.specs, experiment.rows, PRESET, {}) == set()
    for change in (
        {"recipe": replace(PRESET.recipe, lr=9.0)},
        {"encoder": replace(PRESET.encoder, stem="deep")},
        {"text_tower": replace(PRESET.text_tower, seed=9)},
        {"folds": 9},
    ):
        with pytest.raises(InputError, match="holds a run with another"):
            done(experiment, **change)
    for asked in (
        {"source": "dicom"},
        {"label_rule": "text"},
        {"preset": "paper"},
        {"settings": {"linear.spoil": "x"}},
    ):
        with pytest.raises(InputError, match="holds a run with another"):
            done(experiment, asked)
    moved = replace(PRESET.text_tower, path="elsewhere.pt")
    assert done(experiment, text_tower=moved) == set(experiment.specs)


def test_a_lost_scheduler_is_said_so(experiment):
    with pytest.raises(InputError, match=r"no dask scheduler answers at nowhere \(.*\); check the address given"):
        experiment.train(experiment.specs, 1, "nowhere", lambda *_: None)


def test_a_fit_whose_workers_died_is_told(experiment, monkeypatch):
    monkeypatch.setattr("benchmark.experiment.execute", lambda work, jobs, **_: [(job, None) for job in jobs])
    assert train(experiment, experiment.specs[:1])[1] == (1, 1, "majority three fold 0: its workers died")


def test_a_setting_that_a_method_refuses_is_said_before_any_training(experiment):
    def set_by_hand(spoil: str) -> Experiment:
        rows = {"majority": PRIOR, "linear": replace(LINEAR, hyperparameters={"spoil": spoil})}
        identity = replace(IDENTITY, settings={"linear.spoil": spoil})
        return replace(experiment, folder=experiment.folder / spoil, rows=rows, identity=identity)

    with pytest.raises(InputError, match="--set linear: a plain bug"):
        set_by_hand("value").check_settings()
    set_by_hand("task").check_settings()  # unsupported is a footnote
    rows = {key: replace(LINEAR, key=key, hyperparameters={"spoil": key}) for key in ("task", "value")}
    both = replace(IDENTITY, settings={"task.spoil": "task", "value.spoil": "value"})
    with pytest.raises(InputError, match="--set value: a plain bug"):
        replace(experiment, folder=experiment.folder / "both", rows=rows, identity=both).check_settings()
    set_by_hand("").check_settings()
    experiment.check_settings()


def test_reasons_are_told_once_with_all_their_fits():
    one, two, three = (FitSpec("three", "ce", fold, 0) for fold in range(3))
    assert by_reason({one: "old", two: "edited", three: "old"}) == {"old": [one, three], "edited": [two]}


def test_records_of_other_fold_data_are_stale(experiment):
    train(experiment)
    data = experiment.data["three", 1]
    experiment.data["three", 1] = replace(data, train_labels=data.train_labels[::-1].copy())
    _, unusable = experiment.read()
    assert {spec.fold for spec in unusable} == {1} and len(unusable) == 3
    assert set(unusable.values()) == {"made from other nodules or labels"}


def test_code_that_changes_while_a_run_is_under_way_ends_it_in_words(experiment):
    (job,) = experiment._jobs(experiment.specs[2:3])
    with pytest.raises(InputError, match="the code of Linear was changed while the run was under way; what is"):
        replace(job, key="of other code").run()
    assert experiment.read()[0][job.spec] is None


def test_a_class_that_cannot_travel_is_said_so(experiment):
    class Local(Linear):
        title = "Local"

    experiment.rows["linear"] = replace(LINEAR, make=Local)
    sentence = r"the row linear cannot travel to a worker \(.*Local.*\): define its class at the top level of its file"
    with pytest.raises(InputError, match=sentence):
        train(experiment, experiment.specs[2:3])


def test_a_changed_hyperparameter_makes_a_rows_records_stale(experiment):
    train(experiment)
    changed = replace(LINEAR, hyperparameters={"spoil": "x"})
    again = replace(experiment, rows={"majority": PRIOR, "linear": changed})
    _, unusable = again.read()
    assert {spec.method for spec in unusable} == {"linear"} and len(unusable) == 4
    assert again.keys["linear"] == fit_key(IDENTITY, changed) != experiment.keys["linear"]


def test_a_folder_of_another_run_is_refused_before_anything_is_read(experiment):
    train(experiment)
    with pytest.raises(InputError, match="another cohort"):
        replace(experiment, identity=replace(IDENTITY, cohort="xyz")).read()


def test_a_job_loads_its_plugins_before_it_unpacks_the_rest(experiment, tmp_path, monkeypatch):
    plugin = tmp_path / "random.py"  # a name that anybody may give
    plugin.write_text("from fakes import Linear\nimport methods\n\nclass Mine(Linear):\n    title = 'Mine'\n")
    plugins.load([plugin])
    name = next(name for name, m in sys.modules.items() if getattr(m, "__file__", None) == str(plugin))
    row = Row("mine", "Mine", "plugin", sys.modules[name].Mine)
    monkeypatch.delitem(sys.modules, name)
    assert hasattr(random, "shuffle")  # nobody's place was taken
    plugins.load([plugin])
    row = replace(row, make=sys.modules[name].Mine)
    spec = FitSpec("three", "mine", 0, 0)
    content = tmp_path / "run", IDENTITY, row, experiment.data["three", 0], PRESET, "cpu"
    job = Job((plugin,), spec, fit_key(IDENTITY, row), pickle.dumps(content))
    monkeypatch.delitem(sys.modules, name)  # as in a fresh worker
    assert job.run() == "done"


def test_the_command_line_may_ask_for_a_variant_of_a_builtin_row():
    assert {"paper", "ablation", "added", "variant"} == {row.kind for row in methods.ROWS.values()}
