"""What a run would refuse before its work, its dry run refuses by the same sentence; neither leaves a trace."""

from pathlib import Path

import numpy as np
import pytest

import run_all
from once import read_once

SMOKE = ["--preset", "smoke", "--folds", "2", "--device", "cpu", "--workers", "0"]


@pytest.fixture(scope="module")
def folder(tmp_path_factory) -> Path:
    """A folder with what an option does not want, and a run."""
    made = tmp_path_factory.mktemp("made")
    (made / "file").write_text("")
    (made / "bad.toml").write_text("jobs = 0\n")
    (made / "good.toml").write_text('jobs = 1\nmemory = "2GB"\ntime = "1"\n')
    for name, classes in (("mine", ("benign",)), ("sure", ("benign", "malignant"))):
        lines = ["nodule_id,patient_id,file,label"]
        for number in range(8):
            lines.append(f"n{number},p{number},{number}.npy,{classes[number % len(classes)]}")
            (made / name).mkdir(exist_ok=True)
            np.save(made / name / f"{number}.npy", np.full((32, 32, 32), -700, np.int16))
        (made / name / "nodules.csv").write_text("\n".join(lines))
    (made / "junk.pt").write_text("junk")
    (made / "stops.py").write_text("raise ValueError('no')")
    out = ["--out", str(made / "run"), "--work", str(made / "work")]
    assert run_all.main([*SMOKE, "--methods", "ce", "--datasets", "C", *out]) == 0
    return made


def traces(folder: Path) -> dict[str, tuple[int, int]]:
    return {str(path): (path.stat().st_mtime_ns, path.stat().st_size) for path in sorted(folder.rglob("*"))}


REFUSED = {
    "a row that there is not": (["--methods", "cee"], "there is no method 'cee': choose from"),
    "a preset that there is not": (["--preset", "quik"], "there is no preset 'quik': choose from"),
    "a file in the place of the folder": (["--out", "file"], "nothing can be written to"),
    "a folder below a file": (["--out", "file/run"], "nothing can be written to"),
    "another run's folder, by its labels": (["--out", "run", "--label-rule", "text"], "another label rule"),
    "another run's folder, by its folds": (["--out", "run", "--folds", "3"], "holds a run with other folds (2 there"),
    "weights that cannot be read": (["--methods", "clip", "--text-tower", "junk.pt"], "cannot read CLIP weights from"),
    "a file for Slurm that lacks a key": (["--slurm", "bad.toml"], "bad.toml, line 1, key memory: is missing"),
    "a machine without Slurm": (["--slurm", "good.toml"], "there is no sbatch on this machine's PATH"),
    "a collection without a class": (["--collection", "mine", "--datasets", "C"], "has no malignant nodule"),
    "a collection without unsure nodules": (["--collection", "sure", "--datasets", "A"], "so only C can be made"),
    "an empty path": (["--collection", ""], "it is empty: give a path, or . for the folder that you are in"),
    "a file for Slurm that is not there": (["--slurm", "none.toml"], "none.toml: cannot be read"),
    "a plugin that breaks": (["--plugin", "stops.py"], "stops.py does not load: ValueError: no (line 1)"),
    "an address without a port": (["--scheduler", "tcp://host"], "'tcp://host' is no address of a dask scheduler"),
    "a port that there cannot be": (["--scheduler", "tcp://h:99999"], "it is no HOST:PORT"),
    "a scheme that dask does not speak": (["--scheduler", "http://h:1"], "dask speaks no 'http'"),
    "credentials that are not there": (
        ["--scheduler", "tls://h:1", "--tls-ca", "none", "--tls-cert", "none"],
        "the TLS authority's certificates none cannot be read",
    ),
    "more folds than the cohort can be cut into": (["--folds", "300"], "300 folds need 300 patients with a nodule"),
    "a sample that is too small for its folds": (["--nodules", "3"], "--nodules 3 of the 2,651 nodules of LIDC"),
    "a download that is not there": (["--source", "dicom", "--dicom-root", "none"], "--dicom-root 'none' is neither"),
}


@pytest.mark.parametrize("case", REFUSED)
def test_a_dry_run_refuses_what_the_run_refuses_in_the_same_words_and_neither_writes(case, folder, capsys, monkeypatch):
    monkeypatch.chdir(folder)
    read_once(monkeypatch)
    given, sentence = REFUSED[case]
    before, said = traces(folder), []
    for end in (["--dry-run"], []):
        capsys.readouterr()
        status = run_all.main([*SMOKE, "--work", "work", "--out", "new", *given, *end])
        out, err = capsys.readouterr()
        refusal = err.splitlines()[-1]
        assert status == 2 and sentence in refusal and refusal.startswith("run_all.py: ") and not out
        assert not end or err.count("\n") == 1
        said.append(refusal)
    assert said[0] == said[1]
    assert traces(folder) == before


def test_a_dry_run_that_refuses_nothing_leaves_no_trace(folder, capsys, monkeypatch):
    monkeypatch.chdir(folder)
    read_once(monkeypatch)
    before = traces(folder)
    for given in (["--out", "run"], ["--out", "new"], ["--scheduler", "tcp://127.0.0.1:1"], ["--nodules", "300"]):
        assert run_all.main([*SMOKE, "--methods", "ce", "--work", "work", *given, "--dry-run"]) == 0
    assert "A dry run: nothing was prepared, trained or written." in capsys.readouterr().out
    assert traces(folder) == before


def test_a_cluster_that_cannot_be_used_is_said_before_the_cohort_is_prepared(folder, capsys, monkeypatch):
    monkeypatch.chdir(folder)
    read_once(monkeypatch)
    monkeypatch.setattr(run_all, "prepare", lambda *_: pytest.fail("hours of reading CT"))
    monkeypatch.setenv("PATH", str(folder))
    (folder / "good.toml").write_text('jobs = 1\nmemory = "2GB"\ntime = "1"\n')
    unusable = {"tcp://127.0.0.1:1": "no dask scheduler answers at", "good.toml": "there is no sbatch on"}
    for out in ("new", "run"):  # the run has not all that is asked for here
        for place, sentence in unusable.items():
            option = ["--slurm" if place.endswith("toml") else "--scheduler", place]
            status = run_all.main([*SMOKE, "--methods", "ce", "poisson", "--work", "work", "--out", out, *option])
            assert status == 2 and sentence in capsys.readouterr().err
