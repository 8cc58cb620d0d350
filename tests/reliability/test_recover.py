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


def test_a_fit_whose_kept_weights_are_damaged_is_made_anew_and_one_whose_weights_are_gone_is_not(tmp_path, capsys):
    out, more = tmp_path / "run", ("--cohort", str(small_cohort(tmp_path)))
    assert call(out, tmp_path / "work", *more) == 0
    first, second = sorted(out.rglob("fits/**/ce/*.safetensors"))
    whole, record = first.read_bytes(), first.with_suffix(".json").stat().st_mtime_ns
    flip(first, -1)
    second.unlink()
    capsys.readouterr()
    assert call(out, tmp_path / "work", *more) == 0
    said = " ".join(capsys.readouterr().err.split())
    assert "fold0-seed0.json: its kept weights are damaged, or of another training; kept in" in said
    assert "the kept weights of 1 finished fits are gone, two/ce/fold1-seed0.safetensors first" in said
    assert first.read_bytes() == whole and first.with_suffix(".json").stat().st_mtime_ns != record
    assert not second.exists() and second.with_suffix(".json").exists()
    assert len(list((out / "aside").iterdir())) == 2  # the record and its weights
    capsys.readouterr()
    assert call(out, tmp_path / "work", *more) == 0 and "damaged" not in capsys.readouterr().err
