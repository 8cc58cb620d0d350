"""What was damaged in a run's folder is named in a line, and made anew without training a fit again."""

from pathlib import Path

import pytest

from benchmark.commands.report import main as report
from benchmark.experiment import Experiment
from small import call, small_cohort


def files(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in sorted(folder.rglob("*")) if path.is_file()}


def flip(path: Path, at: int) -> None:
    content = bytearray(path.read_bytes())
    content[at] ^= 1
    path.write_bytes(bytes(content))


def test_run_json_and_cohort_csv_are_made_anew_and_every_fit_is_kept(tmp_path, capsys, monkeypatch):
    out, more = tmp_path / "run", ("--cohort", str(small_cohort(tmp_path)))
    assert call(out, tmp_path / "work", *more) == 0
    whole = files(out)
    monkeypatch.setattr(Experiment, "_jobs", lambda self, specs: pytest.fail("it trained again") if specs else [])

    flip(out / "cohort.csv", 300)
    capsys.readouterr()
    assert report([str(out)]) == 0  # the page says what it could not read
    assert "does not match its hash in run.json" in (out / "report.html").read_text()
    assert call(out, tmp_path / "work", *more) == 0
    assert (out / "cohort.csv").read_bytes() == whole["cohort.csv"]

    flip(out / "run.json", 500)
    capsys.readouterr()
    assert call(out, tmp_path / "work", *more) == 2
    said = capsys.readouterr().err
    assert said.count("\n") == 1 and "run.json is damaged" in said and "move it away" in said
    (out / "run.json").rename(tmp_path / "damaged.json")
    assert call(out, tmp_path / "work", *more) == 0
    now = files(out)
    assert now.keys() == whole.keys()
    assert all(now[name] == whole[name] for name in whole if name.startswith(("fits/", "table", "cohort")))
