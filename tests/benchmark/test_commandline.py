"""What the options of a command line mean, each by itself and beside others."""

import re
from pathlib import Path

import pytest

from benchmark import claims, commandline
from benchmark.contracts import InputError
from benchmark.means import Means


def test_a_default_that_the_help_states_is_the_options_own():
    stated = {
        action.dest: (float(said[1]), action.default)
        for action in commandline.parser()._actions
        if action.default is not None and (said := re.search(r"\(default: (\d+)", action.help or ""))
    }
    assert stated == {"patience": (10.0, 10.0), "checkpoint_every": (60.0, 60.0), "seeds": (1.0, 1)}


def test_without_options_a_run_is_of_phantoms_by_the_published_rule_and_as_patient_as_a_claim():
    args = commandline.parse([])
    assert (args.source, args.label_rule, args.preset, args.device) == ("phantom", "published", "auto", "auto")
    assert (args.collection, args.scheduler, args.plugin, args.set) == (None, None, [], [])
    assert 60 * args.patience == claims.PATIENCE_S == Means("cpu", 1).patience_s


LEAST = {"--epochs": 1, "--batch-size": 2, "--folds": 2, "--seeds": 1, "--nodules": 1, "--workers": 0}


@pytest.mark.parametrize(("option", "least"), [*LEAST.items(), ("--connections", 1)])
def test_a_number_is_taken_from_the_least_that_makes_sense_on(option, least):
    more = ["--source", "idc"] if option == "--connections" else []
    args = commandline.parse([*more, option, str(least)])
    assert vars(args)[option[2:].replace("-", "_")] == least
    with pytest.raises(InputError, match=f"{option}: '{least - 1}' is no whole number of {least} or more"):
        commandline.parse([*more, f"{option}={least - 1}"])


@pytest.mark.parametrize("option", ["--lr", "--patience", "--checkpoint-every"])
def test_a_rate_or_a_time_is_finite_and_above_zero(option):
    assert vars(commandline.parse([option, "1e-3"]))[option[2:].replace("-", "_")] == 0.001
    for text in ("0", "-1", "nan", "inf", "x", ""):
        with pytest.raises(InputError, match=f"{option}: '{text}' is no number above zero"):
            commandline.parse([f"{option}={text}"])


PATHS = ("--out", "--work", "--slurm", "--cohort")


def test_a_path_may_begin_with_the_users_home(monkeypatch, tmp_path):
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("USERPROFILE", str(tmp_path))
    args = commandline.parse([word for option in PATHS for word in (option, "~/a")])
    assert [vars(args)[option[2:]] for option in PATHS] == [tmp_path / "a"] * len(PATHS)
    assert commandline.parse(["--plugin", "~/a", "--plugin", "b"]).plugin == [tmp_path / "a", Path("b")]
    assert commandline.parse(["--source", "dicom", "--dicom-root", "~/a"]).dicom_root == tmp_path / "a"
    assert commandline.parse(["--source", "idc", "--keep-dicom", "~/a"]).keep_dicom == tmp_path / "a"
    assert commandline.parse(["--collection", "~/a"]).collection == str(tmp_path / "a")
    assert commandline.parse(["--collection", "./a"]).collection == "./a"


def test_an_option_that_is_given_two_dashes_has_no_value():
    for option in ("--out", "--methods", "--epochs"):
        with pytest.raises(InputError, match=rf"argument {option}: expected one argument \(see --help\)"):
            commandline.parse([f"{option}=--"])


@pytest.mark.parametrize(
    ("given", "wrong"),
    [
        (["--collection", "f", "--source", "dicom"], "--collection brings its own nodules and takes no --source"),
        (["--collection", "f", "--verify"], "--collection brings its own nodules and takes no --verify"),
        (["--cohort", "f", "--collection", "g"], "--cohort is prepared already and takes no --collection"),
        (["--cohort", "f", "--source", "phantom"], "--cohort is prepared already and takes no --source"),
        (["--verify"], "--verify is for --source dicom, not for phantom"),
    ],
)
def test_options_that_exclude_each_other_are_named(given, wrong):
    with pytest.raises(InputError, match=f"^{wrong}"):
        commandline.parse(given)


def test_an_option_of_a_source_is_handed_on_to_it():
    args = commandline.parse(["--source", "dicom", "--dicom-root", "f", "--verify"])
    assert commandline.source_options(args) == {"dicom_root": Path("f"), "verify": True}


def test_a_source_without_a_name_is_not_the_phantom():
    assert commandline.parse(["--source="]).source == ""


def test_a_command_is_noted_as_a_shell_takes_it():
    given = ["--out", "my runs", "--set", "ce.x=[1, 2]", "--seeds", "2"]
    assert commandline.as_typed(given) == "python run_all.py --out 'my runs' --set 'ce.x=[1, 2]' --seeds 2"
