import pickle
import random
import sys
from dataclasses import replace
from typing import ClassVar

import numpy as np
import pytest
import torch

import methods
from benchmark import plugins, references
from benchmark.contracts import InputError, Provenance, Row, Task, TextTowerSpec, TextWeights
from benchmark.dispatch import Lost
from benchmark.experiment import Experiment, by_reason, name_fits
from benchmark.extras import NO_EXTRAS
from benchmark.identity import fit_key
from benchmark.job import Job
from benchmark.means import Means
from benchmark.records import FitSpec
from benchmark.runfile import RunMetadata
from benchmark.scheduler import Scheduler
from benchmark.standing import done_fits, rows_to_make
from fakes import IDENTITY, LINEAR, PRESET, A, B, C, Linear, fold_data, make_cohort

PRIOR = references.ROWS["majority"]
METADATA = RunMetadata({}, "cpu", "", Provenance(None, "", None))


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
    made.run.start("command", METADATA)
    return made


def train(experiment: Experiment, specs=None) -> list[tuple[int, int, str]]:
    told = []
    experiment.train(specs or experiment.specs, Means("cpu", 0), lambda *now: told.append(now))
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


def test_two_commands_that_find_one_damaged_record_set_it_aside_once(experiment, monkeypatch):
    train(experiment)
    specs = experiment.specs[:2]
    for spec in specs:
        experiment.run.path(spec).write_bytes(b"?")
    _, found_by_both = experiment.read()
    seen = experiment.read()
    (told,) = experiment.set_aside(found_by_both)
    assert told.startswith("set aside 2 records")
    assert experiment.set_aside(found_by_both) == []  # the other, a moment later
    monkeypatch.setattr(Experiment, "read", lambda _: seen)  # and in the same moment: it has just looked
    assert experiment.set_aside(found_by_both) == []
    assert len(list((experiment.folder / "aside").iterdir())) == 2


def test_a_record_that_another_command_has_made_anew_meanwhile_is_not_set_aside(experiment):
    train(experiment)
    spec = experiment.specs[0]
    whole = experiment.run.path(spec).read_bytes()
    experiment.run.path(spec).write_bytes(b"?")
    _, unusable = experiment.read()
    experiment.run.path(spec).write_bytes(whole)
    assert experiment.set_aside(unusable) == [] and experiment.run.path(spec).read_bytes() == whole


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


def test_a_plan_knows_a_folder_whose_run_file_was_lost_by_its_records(experiment):
    train(experiment)
    (experiment.folder / "run.json").unlink()
    before = sorted(experiment.folder.rglob("*"))
    assert done(experiment) == set(experiment.specs)
    with pytest.raises(InputError, match="holds fits of another run and no run"):
        done(experiment, recipe=replace(PRESET.recipe, lr=9.0))
    assert sorted(experiment.folder.rglob("*")) == before


def test_of_a_finished_run_that_is_asked_for_all_datasets_those_that_it_has_are_all(experiment):
    train(experiment)
    rows, specs = experiment.rows, name_fits([A, C], experiment.rows, PRESET.folds, 2)

    def to_make(there, is_all: bool) -> list[str]:
        return [row.key for row in rows_to_make(experiment.folder, specs, there, rows, is_all)]

    assert to_make(specs, True) == to_make(specs, False) == []
    of_three = [spec for spec in specs if spec.label_set == "three"]
    assert set(to_make(of_three, True)) == set(rows)  # unfinished: the cohort may have the other classes too
    experiment.run.finish([A])
    assert to_make(of_three, True) == [] and set(to_make(of_three, False)) == set(rows)
    assert to_make([s for s in of_three if s.method != "linear"], True) == ["linear"]


def test_a_plan_of_another_preset_is_refused_and_a_new_folder_holds_nothing(experiment, tmp_path):
    train(experiment)
    assert done_fits(tmp_path / "new", experiment.specs, experiment.rows, PRESET, {}) == set()
    for change in (
        {"recipe": replace(PRESET.recipe, lr=9.0)},
        {"encoder": replace(PRESET.encoder, stem="deep")},
        {"text_tower": replace(PRESET.text_tower, seed=9)},
        {"folds": 9},
    ):
        with pytest.raises(InputError, match="holds a run with "):
            done(experiment, **change)
    for asked in (
        {"source": "dicom"},
        {"label_rule": "text"},
        {"preset": "paper"},
        {"settings": {"linear.spoil": "x"}},
    ):
        with pytest.raises(InputError, match="holds a run with "):
            done(experiment, asked)
    moved = replace(PRESET.text_tower, path="elsewhere.pt")
    assert done(experiment, text_tower=moved) == set(experiment.specs)


def test_a_lost_scheduler_is_said_so(experiment):
    with pytest.raises(InputError, match=r"no dask scheduler answers at tcp://127.* \(.*\); check the address given"):
        experiment.train(experiment.specs, Means("cpu", 1, Scheduler("tcp://127.0.0.1:1")), lambda *_: None)


def test_a_fit_whose_workers_died_is_told(experiment, monkeypatch):
    monkeypatch.setattr("benchmark.job.execute", lambda work, jobs, **_: [(job, Lost("all died")) for job in jobs])
    assert train(experiment, experiment.specs[:1])[1] == (1, 1, "majority three fold 0: failed")
    record = experiment.run.read(experiment.specs[0], experiment.keys["majority"])
    assert (record.status, record.reason) == ("failed", "all died")


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


class Reading(Linear):
    """Stands for a method that reads text; `towers` notes what it was told."""

    reads_text = True
    towers: ClassVar[list[TextTowerSpec]] = []

    def __init__(self, task: Task) -> None:
        super().__init__(task)
        self.towers.append(task.text_tower)


TEXT = Row("text", "Text", "paper", Reading)
OWN, OTHER = TextWeights("a" * 64, published=False), TextWeights("b" * 64, published=False)


@pytest.fixture
def reading(experiment) -> Experiment:
    """Two folds of a row that reads text and of one that does not."""
    rows = {"majority": PRIOR, "linear": LINEAR, "text": TEXT}
    return replace(experiment, rows=rows, specs=name_fits([A], rows, folds=2, seeds=1))


def begin(reading: Experiment, weights: TextWeights | None) -> Experiment:
    begun = replace(reading, loaded=weights)
    begun.run.start("command", METADATA, [A], begun.text_weights)
    return begun


def test_the_tower_is_loaded_for_a_missing_fit_that_reads_text_and_for_a_named_file(reading):
    def load(_: TextTowerSpec) -> TextWeights:
        return OWN

    linear, text = (next(spec for spec in reading.specs if spec.method == key) for key in ("linear", "text"))
    assert reading.with_tower([linear], load) is reading is reading.with_tower([], load)
    assert reading.with_tower([linear, text], load).text_weights == OWN
    named = replace(PRESET, text_tower=replace(PRESET.text_tower, path="ViT-B-16.pt"))
    assert replace(reading, preset=named).with_tower([], load).text_weights == OWN
    for path, is_read in (("local-dir:/model", True), ("hf-hub:a/b", False)):  # what a folder holds may have changed
        there = replace(PRESET, text_tower=replace(PRESET.text_tower, name="causal", path=path))
        assert (replace(reading, preset=there).with_tower([], load).text_weights == OWN) is is_read
    without = replace(reading, preset=named, rows={"linear": LINEAR})
    assert without.with_tower([linear], load) is without


def test_a_run_refuses_weights_that_it_did_not_begin_with(reading):
    """Finish a run with one file, delete a record, run again with another file."""
    begun = begin(reading, OWN)
    train(begun)
    text = next(spec for spec in begun.specs if spec.method == "text")
    begun.run.path(text).unlink()
    with pytest.raises(
        InputError, match=r"whose text tower has unverified weights \(hash aaaaaaaaaaaa\).*bbbbbbbbbbbb"
    ):
        reading.with_tower([text], lambda _: OTHER)
    found, unusable = reading.with_tower([text], lambda _: OWN).read()
    assert found[text] is None and unusable == {}


def test_workers_are_told_which_weights_the_run_has(reading):
    Reading.towers.clear()
    train(begin(reading, OWN))
    assert {tower.weights for tower in Reading.towers} == {OWN.sha256}


def test_a_finished_run_needs_no_weights_to_be_read_again(reading):
    train(begin(reading, OWN))
    assert reading.text_weights == OWN  # of run.json
    found, unusable = reading.read()
    assert None not in found.values() and unusable == {}


def test_records_made_with_other_weights_are_stale_and_those_without_text_are_not(reading):
    train(begin(reading, None))
    _, unusable = begin(reading, OWN).read()
    assert {spec.method for spec in unusable} == {"text"} and len(unusable) == 2


def test_a_call_for_less_keeps_what_is_there(experiment):
    train(experiment)
    known = {"majority": PRIOR, "linear": LINEAR, "unmade": replace(LINEAR, key="unmade")}
    less = replace(experiment, rows={"majority": PRIOR}, specs=name_fits([A], {"majority": PRIOR}, folds=2, seeds=1))
    found, _ = less.read()
    rows, everything, told = less.with_earlier(found, known)
    assert list(rows) == ["majority", "linear"] and told == []
    assert everything.keys() == set(experiment.specs) and {r.status for r in everything.values()} == {"done"}
    assert found.keys() == set(less.specs)  # what was asked for is as it was


def test_a_call_for_fewer_seeds_keeps_the_others(experiment):
    train(experiment)
    less = replace(experiment, specs=name_fits([A], experiment.rows, folds=2, seeds=1))
    _, everything, _ = less.with_earlier(less.read()[0], experiment.rows)
    assert {spec.seed for spec in everything if spec.method == "linear"} == {0, 1}


def test_a_row_with_settings_of_this_call_is_shown_with_them(experiment):
    changed = replace(LINEAR, title="Linear, spoil = x")
    rows, _, _ = replace(experiment, rows={"linear": changed}).with_earlier({}, {"linear": LINEAR})
    assert rows == {}
    train(experiment)
    rows, _, _ = replace(experiment, rows={"linear": changed}, specs=[]).with_earlier({}, {"linear": LINEAR})
    assert rows == {"linear": changed}


def test_earlier_records_that_cannot_be_shown_are_told_once_a_reason(experiment):
    train(experiment)
    linear = [spec for spec in experiment.specs if spec.method == "linear"]
    record = experiment.run.read(linear[0])
    for name in ("gone", "lost"):
        spec = replace(linear[0], method=name)
        experiment.run.write(replace(record, spec=spec))
    experiment.run.write(replace(record, key="old"))
    elsewhere = replace(linear[0], label_set="two")
    experiment.run.write(replace(record, spec=elsewhere))
    less = replace(experiment, specs=[], rows={})
    rows, everything, told = less.with_earlier({}, {"linear": LINEAR})
    assert set(everything) == set(linear[1:]) and list(rows) == ["linear"]
    assert sorted(told) == [
        "not in the tables: earlier fits of gone, linear, lost, majority, not known to this call; the row of a plugin "
        "wants its --plugin",
        "not in the tables: earlier fits of linear, made by other code or settings of its row; name it with --methods "
        "to make it anew",
    ]


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


def test_a_record_that_came_since_the_plan_is_taken_and_one_that_cannot_be_read_is_made_anew(experiment):
    spec = experiment.specs[2]
    (job,) = experiment._jobs([spec])
    train(experiment, [spec])
    experiment.run.write(replace(experiment.run.read(spec), status="failed", reason="nan"))
    assert job.run() == "failed"
    experiment.run.path(spec).write_bytes(b"?")
    assert job.run() == "done" and experiment.run.read(spec).status == "done"


@pytest.mark.parametrize("key", ["of other code", "0"])
def test_code_that_changes_while_a_run_is_under_way_ends_it_in_words(experiment, key):
    (job,) = experiment._jobs(experiment.specs[2:3])
    with pytest.raises(InputError, match="the code of Linear was changed while the run was under way; what is"):
        replace(job, key=key).run()
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
    content = tmp_path / "run", IDENTITY, row, experiment.data["three", 0], PRESET, "cpu", NO_EXTRAS
    job = Job((plugin,), spec, fit_key(IDENTITY, row), pickle.dumps(content))
    monkeypatch.delitem(sys.modules, name)  # as in a fresh worker
    assert job.run() == "done"


def test_a_fit_begins_on_a_device_that_answers_and_a_reference_needs_none(experiment, monkeypatch):
    def silent(device: torch.device) -> None:
        raise InputError(f"{device} does not answer")

    monkeypatch.setattr("benchmark.job.answering", silent)
    reference, fit = (next(s for s in experiment.specs if s.method == key) for key in ("majority", "linear"))
    train(experiment, [reference])
    with pytest.raises(InputError, match="cpu does not answer"):
        train(experiment, [fit])
    assert experiment.run.read(reference).status == "done" and experiment.run.read(fit) is None


def test_the_command_line_may_ask_for_a_variant_of_a_builtin_row():
    assert {"paper", "ablation", "control", "added", "variant"} == {row.kind for row in methods.ROWS.values()}
