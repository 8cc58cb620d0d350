"""`python -m benchmark` before any of its commands."""

import importlib

import pytest

from benchmark.__main__ import COMMANDS, main

CHOICES = "choose from audit, check, cohort, compare, fidelity, figures, predict, profile, report"


@pytest.mark.parametrize(
    ("given", "what"), [([], "no command was given"), (["prepare"], "there is no command 'prepare'")]
)
def test_no_command_or_an_unknown_one_is_a_sentence_with_those_that_there_are(capsys, given, what):
    assert main(given) == 2
    assert capsys.readouterr() == ("", f"benchmark: {what}: {CHOICES}\n")


def test_help_names_them_too_and_is_no_error(capsys):
    assert main(["--help"]) == 0 and ", ".join(COMMANDS) in capsys.readouterr().out


@pytest.mark.parametrize("name", COMMANDS)
def test_every_command_takes_a_folder_that_is_not_there_for_a_sentence_and_status_2(name, capsys, tmp_path):
    gone = str(tmp_path / "gone")
    given = {"compare": [gone, gone], "predict": [gone, "ce", "--input", gone], "profile": ["--collection", gone]}
    assert importlib.import_module(f"benchmark.commands.{name}").main(given.get(name, [gone])) == 2
    out, err = capsys.readouterr()
    assert out == "" and "gone" in err and err.startswith(f"benchmark.{name}: ") and err.count("\n") == 1
