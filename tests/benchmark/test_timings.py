import json
import time
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
import torch

from benchmark import timings
from benchmark.files import sealed
from benchmark.forecast import Forecast, duration
from benchmark.records import FitSpec, Metadata
from benchmark.timings import FILE, FitTime, Machine, Timings, processor
from fakes import PRESET, record
from runs import resealed

CE, CLIP = FitSpec("three", "ce", 0, 0), FitSpec("three", "clip", 0, 0)


def opened(work: Path, preset=PRESET, nodules=("phantom", "published"), workers=1) -> Timings:
    return Timings(work, "cpu", ("quick", preset), nodules, workers)


def profiled(seconds: float, when: str = "2026-11-26T10:00:00Z") -> FitTime:
    return FitTime(seconds, "profile", when, 0.01, 0.001)


def test_what_was_measured_is_known_to_the_next_command_and_to_every_fold_and_seed(tmp_path):
    opened(tmp_path).add({("three", "ce"): profiled(5.0)}, start_s=2.0)
    again = opened(tmp_path)
    others = [replace(CE, fold=3, seed=1), CLIP, replace(CE, label_set="two")]
    assert list(again.known(others)) == others[:1]
    assert again.forecast([CE]) == Forecast((5.0,), 1, 2.0)


def test_what_was_measured_with_other_settings_or_nodules_or_elsewhere_is_not_known(tmp_path, monkeypatch):
    opened(tmp_path).add({("three", "ce"): profiled(5.0)})
    longer = replace(PRESET, recipe=replace(PRESET.recipe, epochs=99))
    for other in (opened(tmp_path, longer), opened(tmp_path, nodules=("dicom", "published"))):
        assert other.forecast([CE]) is None
    monkeypatch.setattr(timings, "processor", lambda: "another")
    assert opened(tmp_path).forecast([CE]) is None


@pytest.mark.parametrize(
    "changes",
    [
        {"encoder": replace(PRESET.encoder, channels=(9, 9, 9, 9))},
        {"text_tower": replace(PRESET.text_tower, name="causal")},
        {"folds": PRESET.folds + 1},
        {"nodules": 7},
    ],
    ids=lambda changes: next(iter(changes)),
)
def test_each_setting_that_makes_fits_longer_or_shorter_has_times_of_its_own(tmp_path, changes):
    opened(tmp_path).add({("three", "ce"): profiled(5.0)})
    assert opened(tmp_path, replace(PRESET, **changes)).forecast([CE]) is None


def test_the_same_text_tower_from_another_file_takes_the_same_time(tmp_path):
    opened(tmp_path).add({("three", "ce"): profiled(5.0)})
    elsewhere = replace(PRESET, text_tower=replace(PRESET.text_tower, path="elsewhere.pt"))
    assert opened(tmp_path, elsewhere).known([CE])


def test_another_torch_takes_its_own_time(tmp_path, monkeypatch):
    opened(tmp_path).add({("three", "ce"): profiled(5.0)})
    monkeypatch.setattr(timings.torchbuild, "version", lambda: "1.0")
    assert opened(tmp_path).forecast([CE]) is None


def test_a_run_teaches_the_median_of_what_it_made_itself(tmp_path):
    def fit(fold: int, seconds: float, status: str = "done"):
        spec = replace(CE, fold=fold)
        return spec, record(spec, [0, 1], [[1, 0], [0, 1]], status=status, metadata=Metadata(seconds=seconds))

    found = dict([fit(0, 9.0), fit(1, 3.0), fit(2, 4.0), fit(3, 99.0), fit(4, 0.1, "failed")])
    assert opened(tmp_path).learn(found, [spec for spec in found if spec.fold != 3]) == []
    (time,) = opened(tmp_path).known([CE]).values()
    assert (time.seconds, time.by, time.step_s) == (4.0, "run", None)


def test_the_last_measurement_counts_and_leaves_the_others(tmp_path):
    first = opened(tmp_path)
    first.add({("three", "ce"): profiled(5.0), ("three", "clip"): profiled(7.0)}, start_s=2.0)
    first.add({("three", "ce"): FitTime(6.0, "run", "2026-11-27T10:00:00Z")})
    assert opened(tmp_path).forecast([CE, CLIP]) == Forecast((6.0, 7.0), 1, 2.0)


def test_two_commands_that_measure_at_once_both_leave_what_they_found(tmp_path):
    one, other = opened(tmp_path), opened(tmp_path, nodules=("dicom", "text"))
    one.add({("three", "ce"): profiled(5.0)})
    other.add({("three", "ce"): profiled(6.0)})
    assert opened(tmp_path).known([CE])[CE].seconds == 5.0


def test_nothing_made_leaves_no_file(tmp_path):
    opened(tmp_path).learn({CE: None}, [CE])
    assert not (tmp_path / FILE).exists()


@pytest.mark.parametrize(
    ("content", "why"),
    [
        (b'{"format": 1, "kept": {"', "damaged"),
        pytest.param(b"\xff\xfe", "damaged", id="no UTF-8"),
        (b'{"format": 1, "kept": {"k": 3}}', "damaged"),
        (b'{"format": 1, "kept": {}}', "does not begin with its own hash"),
        (sealed(b'{"x":' + b"[" * 100_000), "damaged"),
        (sealed(b'{"format": 0, "kept": {}}'), "format 0, not 1"),
        (sealed(b'{"format": 2, "kept": {}}'), "format 2, not 1"),
    ],
    ids=["cut", "no text", "another form", "without a seal", "deep", "older", "newer"],
)
def test_a_file_that_cannot_be_used_is_a_sentence_and_is_replaced_by_the_next_measurement(tmp_path, content, why):
    (tmp_path / FILE).write_bytes(content)
    found = opened(tmp_path)
    fault, unknown = found.sentences([CE])
    assert why in fault and FILE in fault and "no profile and no run" in unknown and "\n" not in fault
    assert found.add({("three", "ce"): profiled(5.0)}) == [fault]
    assert opened(tmp_path).fault == "" and opened(tmp_path).known([CE])


def test_a_time_below_zero_is_damage(tmp_path):
    opened(tmp_path).add({("three", "ce"): profiled(5.0)})
    file = tmp_path / FILE
    file.write_bytes(resealed(file.read_bytes().replace(b"5.0", b"-5.0")))
    assert "damaged" in opened(tmp_path).fault


def test_a_time_that_was_edited_is_not_believed(tmp_path):
    opened(tmp_path).add({("three", "ce"): profiled(5.0)})
    file = tmp_path / FILE
    file.write_bytes(file.read_bytes().replace(b"5.0", b"6.0"))
    again = opened(tmp_path)
    assert "does not match its own hash" in again.fault and again.forecast([CE]) is None


def test_the_first_measurement_makes_the_folder(tmp_path):
    assert opened(tmp_path / "new" / "work").add({("three", "ce"): profiled(5.0)}) == []
    assert opened(tmp_path / "new" / "work").known([CE])


def test_a_folder_that_cannot_be_written_costs_no_run_its_end(tmp_path):
    (tmp_path / "work").write_text("a file where the folder should be")
    (said,) = opened(tmp_path / "work").add({("three", "ce"): profiled(5.0)})[:1]
    assert "are not kept" in said


def test_the_plan_says_how_long_by_what_and_when(tmp_path):
    times = opened(tmp_path, workers=2)
    times.add({("three", "ce"): profiled(300.0)}, start_s=60.0)
    (said,) = times.sentences([replace(CE, fold=fold) for fold in range(4)])
    assert said.startswith("That takes about 11 min with 2 workers, by the profile of 2026-11-26 on this machine (")
    assert "never timed" not in said
    assert times.sentences([]) == []


@pytest.mark.parametrize(
    ("seconds", "workers", "said"),
    [
        (89.0, 0, "about 89 s with no worker but this process,"),
        (90.0, 1, "about 2 min with 1 worker,"),
        (7260.0, 2, "about 2 h 1 min with 2 workers,"),
    ],
)
def test_times_are_said_as_people_say_them(tmp_path, seconds, workers, said):
    times = opened(tmp_path, workers=workers)
    times.add({("three", "ce"): profiled(seconds)})
    assert said in times.sentences([CE])[0]


def test_a_gpu_is_named_beside_its_processor(tmp_path, monkeypatch):
    monkeypatch.setattr(timings, "machine", lambda device: Machine(device, "Processor X", 1, "2"))
    for device, place in (("cpu", "(Processor X)"), ("GPU Y", "(GPU Y, Processor X)"), ("A", "(A, Processor X)")):
        times = Timings(tmp_path, device, ("quick", PRESET), (), 1)
        times.add({("three", "ce"): profiled(5.0)})
        assert place in times.sentences([CE])[0]


def test_the_plan_names_the_last_of_several_measurements(tmp_path):
    times = opened(tmp_path)
    times.add({("three", "ce"): profiled(5.0), ("three", "clip"): FitTime(7.0, "run", "2026-11-27T10:00:00Z")})
    assert "by the run of 2026-11-27 on this" in times.sentences([CE, CLIP])[0]
    times.add({("three", "ce"): profiled(5.0, "2026-11-28T10:00:00Z")})
    assert "by the profile of 2026-11-28 on this" in times.sentences([CE, CLIP])[0]


def test_the_plan_says_which_part_of_it_is_a_guess(tmp_path):
    times = opened(tmp_path)
    times.add({("three", "ce"): profiled(10.0), ("two", "ce"): profiled(20.0)})
    (said,) = times.sentences([CE, replace(CE, label_set="two"), CLIP, replace(CLIP, fold=1)])
    assert "about 60 s with 1 worker," in said and said.endswith(
        "2 of the fits were never timed and count as the others' mean."
    )


def test_without_a_measurement_the_plan_says_so_and_what_measures_it(tmp_path):
    (said,) = opened(tmp_path).sentences([CE])
    assert "no profile and no run on this machine" in said and "python -m benchmark profile" in said


def test_the_file_names_a_machine_by_its_models_alone(tmp_path):
    times = opened(tmp_path)
    times.add({("three", "ce"): profiled(5.0)})
    (kept,) = json.loads((tmp_path / FILE).read_text())["kept"].values()
    assert kept["machine"].keys() == {"device", "processor", "threads", "torch"}


def test_the_processor_is_the_model_that_the_system_names(tmp_path):
    (tmp_path / "cpuinfo").write_text("processor\t: 0\nmodel name\t: Model: X\nmodel name\t: Y\n")
    assert processor(tmp_path / "cpuinfo") == "Model: X"
    (tmp_path / "cpuinfo").write_bytes(b"model name\t: X\xae\n")
    assert processor(tmp_path / "cpuinfo") == "X\ufffd"
    assert processor(tmp_path / "nowhere")


@pytest.mark.parametrize(
    ("device", "may_have", "has", "name"),
    [
        ("cpu", True, True, "cpu"),
        ("mps", True, True, "mps"),
        ("cuda:0", True, True, "GPU Y"),
        ("cuda:0", True, False, "cuda:0"),  # a cluster's login node
        ("cuda:0", False, True, "cuda:0"),
    ],
)
def test_a_device_is_the_model_of_its_card_where_there_is_one(monkeypatch, device, may_have, has, name):
    monkeypatch.setattr(timings.torchbuild, "may_have_cards", lambda: may_have)
    monkeypatch.setattr(torch.cuda, "is_available", lambda: has)
    monkeypatch.setattr(torch.cuda, "get_device_name", {"cuda:0": "GPU Y"}.__getitem__)
    assert timings.machine(device).device == name


@pytest.mark.skipif(not hasattr(time, "tzset"), reason="this system has no time zone of a process")
def test_a_moment_is_told_in_utc_wherever_that_is(monkeypatch):
    with monkeypatch.context() as there:
        there.setenv("TZ", "THERE-5")
        time.tzset()
        told = timings.now()
    time.tzset()
    assert told.endswith("Z") and abs(datetime.fromisoformat(told) - datetime.now(UTC)) < timedelta(hours=1)


def test_a_worker_that_is_free_begins_the_next_fit():
    assert Forecast((3.0, 1.0, 1.0, 1.0), workers=2).total_s == 3.0
    assert Forecast((3.0, 1.0), workers=99, start_s=0.5).total_s == 3.5
    assert Forecast((3.0, 1.0), workers=0).total_s == 4.0
    assert Forecast((), workers=2).total_s == 0.0


def test_the_time_left_is_as_foretold_until_fits_tell_their_own_pace():
    forecast = Forecast((1.0,) * 5 + (3.0,) * 5, workers=1, start_s=2.0)
    assert forecast.left_s(0, 0.0) == 22.0
    assert forecast.left_s(1, 10.0) == 12.0  # a twentieth of the work is done: too little to tell
    assert forecast.left_s(0, 100.0) == 0.0
    assert forecast.left_s(5, 50.0) == 150.0  # half the fits, a quarter of the work
    assert forecast.left_s(10, 200.0) == 0.0
    assert Forecast((1.0,) * 10, workers=1).left_s(1, 20.0) == 180.0  # a tenth is enough
    assert Forecast((0.0, 0.0), workers=1).left_s(1, 5.0) == 0.0


def test_minutes_and_hours_are_told_apart():
    assert [duration(s) for s in (0.0, 89.0, 91.0, 3569.0, 3571.0, 7260.0)] == [
        *("1 min", "1 min", "2 min", "59 min", "1 h 0 min", "2 h 1 min")
    ]
