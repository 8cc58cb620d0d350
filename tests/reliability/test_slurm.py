"""Slurm, as far as a scripted stand-in for it goes: no test has seen a real one."""

import json
import os
import shlex
import signal
import sys
import time
from dataclasses import replace
from pathlib import Path

import psutil
import pytest

from benchmark import slurm
from benchmark.contracts import InputError
from benchmark.executor import execute
from benchmark.identity import ROOT
from grids import Grid
from strangers import listening
from zygote import Command

SBATCH = """#!{python}
import os, subprocess, sys
from pathlib import Path
folder = Path({folder!r})
script = Path(sys.argv[1]).read_text()
number = len(list(folder.glob("*.sh"))) + 1
(folder / f"{{number}}.sh").write_text(script)
job = subprocess.Popen(["bash", folder / f"{{number}}.sh"], start_new_session=True, stdin=subprocess.DEVNULL,
                       stdout=subprocess.DEVNULL, stderr=(folder / f"{{number}}.err").open("w"))
(folder / f"{{number}}.pid").write_text(str(job.pid))
print("Submitted batch job", number)
"""
SCANCEL = """#!{python}
import os, signal, sys
from pathlib import Path
for number in sys.argv[1:]:
    try:
        os.killpg(int((Path({folder!r}) / f"{{number}}.pid").read_text()), signal.SIGKILL)
    except OSError:
        pass
"""
SQUEUE = """#!{python}
from pathlib import Path
for file in Path({folder!r}).glob("*.pid"):
    stat = Path("/proc", file.read_text(), "stat")
    if stat.exists() and stat.read_text().rpartition(")")[2].split()[0] != "Z":
        print(file.stem)
"""
REFUSING = """#!/bin/sh
echo "sbatch: error: invalid partition specified: gpu" >&2
exit 1
"""
WANTED = 'jobs = 1\nmemory = "2GB"\ntime = "00:10:00"\n'


@pytest.fixture
def stand_in(tmp_path) -> Path:
    """Programs in the place of Slurm's, which start a job at once, on this machine."""
    pytest.importorskip("dask_jobqueue")
    folder = tmp_path / "slurm"
    folder.mkdir()
    for name, text in (("sbatch", SBATCH), ("scancel", SCANCEL), ("squeue", SQUEUE)):
        (folder / name).write_text(text.format(python=sys.executable, folder=str(folder)))
        (folder / name).chmod(0o755)
    return folder


def test_fits_are_made_by_slurms_jobs_over_tls_and_nothing_is_left(grid: Grid, stand_in, tmp_path):
    file, run = tmp_path / "slurm.toml", tmp_path / "run"
    extra = (
        'partition = "gpu"\naccount = "us"\ngpus = 1\nsbatch = ["--constraint=a100"]\nenvironment = ["export A=1"]\n'
    )
    file.write_text(WANTED + extra + 'interface = "lo"\nwait = 2\n')
    environment = json.dumps({"PATH": f"{stand_in}{os.pathsep}{os.environ['PATH']}"})
    command = grid.start(run, 0, "--slurm", str(file), "--device", "auto", environment=environment)
    assert grid.zygote.wait(command) == 0, command.said.read_text() + "".join(
        error.read_text() for error in stand_in.glob("*.err")
    )
    assert "Traceback" not in command.said.read_text()
    grid.check(run)
    script = (stand_in / "1.sh").read_text()
    for line in ("-p gpu", "-A us", "--gpus=1", "--constraint=a100", "-t 00:10:00", "-n 1", "--cpus-per-task=1"):
        assert f"#SBATCH {line}\n" in script
    assert "export A=1\n" in script and " tls://127.0.0.1:" in script and "--tls-key" in script
    assert not list(tmp_path.glob(".keys-*")) and command.are_gone()
    for file in stand_in.glob("*.pid"):
        assert Command(int(file.read_text()), file).are_gone()


def test_a_job_that_vanishes_is_submitted_again_and_no_process_has_a_web_server(grid: Grid, stand_in, tmp_path):
    file, run = tmp_path / "slurm.toml", tmp_path / "run"
    file.write_text(WANTED + 'interface = "lo"\nwait = 2\n')
    environment = json.dumps({"PATH": f"{stand_in}{os.pathsep}{os.environ['PATH']}"})
    command = grid.start(run, 0, "--slurm", str(file), environment=environment)
    until = time.monotonic() + 100
    while not grid.fits(run) and time.monotonic() < until:
        time.sleep(0.02)
    job = int((stand_in / "1.pid").read_text())
    ports = [listening(psutil.Process(pid)) for pid in (command.pid, job)]
    os.killpg(job, signal.SIGKILL)
    assert grid.zygote.wait(command) == 0, command.said.read_text()
    grid.check(run)
    assert [len(of_one) for of_one in ports] == [1, 2], ports  # the scheduler; a worker and its nanny
    assert 2 <= len(list(stand_in.glob("*.sh"))) <= 3


@pytest.mark.parametrize(
    ("sbatch", "more", "sentence"),
    [
        (REFUSING, "", "Slurm takes no job, and says: sbatch: error: invalid partition specified: gpu"),
        (SBATCH, 'environment = ["exit 3"]\n', "Slurm's job"),
    ],
)
def test_where_no_job_can_work_that_is_said_at_once_and_not_waited_for(
    grid: Grid, stand_in, tmp_path, sbatch, more, sentence
):
    file, run = tmp_path / "slurm.toml", tmp_path / "run"
    file.write_text(WANTED.replace("jobs = 1", "jobs = 2") + 'interface = "lo"\n' + more)  # it may wait for a day
    (stand_in / "sbatch").write_text(sbatch.format(python=sys.executable, folder=str(stand_in)))
    environment = json.dumps({"PATH": f"{stand_in}{os.pathsep}{os.environ['PATH']}"})
    command = grid.start(run, 0, "--slurm", str(file), environment=environment)
    assert grid.zygote.wait(command, 100) == 2
    said = " ".join(command.said.read_text().split())
    assert f"{file} gets no worker; mend that file: {sentence}" in said and "Traceback" not in said
    assert command.are_gone() and not list(tmp_path.glob(".keys-*"))


def test_a_job_that_does_not_begin_is_waited_for_as_long_as_the_file_says(stand_in, tmp_path, monkeypatch):
    file = tmp_path / "slurm.toml"
    file.write_text(WANTED + 'interface = "lo"\n')
    for name, says in (("sbatch", "Submitted batch job 1"), ("squeue", "1")):
        (stand_in / name).write_text(f"#!/bin/sh\necho {says}\n")
    monkeypatch.setenv("PATH", f"{stand_in}{os.pathsep}{os.environ['PATH']}")
    monkeypatch.setattr("benchmark.executor.check", lambda path: replace(slurm.check(path), wait_s=0.5))  # in minutes
    with pytest.raises(InputError, match=r"by .*slurm\.toml has had no worker for 0\.5 s; squeue says what its jobs"):
        list(execute(abs, [-1], workers=0, slurm=file))
    assert not list(tmp_path.glob(".keys-*"))


def test_keys_can_be_read_by_this_user_alone(tmp_path):
    pytest.importorskip("dask_jobqueue")
    security = slurm._written(tmp_path)
    assert {oct(path.stat().st_mode)[-3:] for path in tmp_path.iterdir()} == {"600"}
    for role in ("scheduler", "worker", "client"):
        files = security.get_tls_config_for_role(role)
        assert {files["ca_file"], files["cert"], files["key"]} == {str(path) for path in tmp_path.iterdir()}
    assert security.require_encryption


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        (
            WANTED + 'partion = "gpu"',
            r"slurm.toml, line 4, key partion: is unknown; allowed here: account, environment",
        ),
        ('jobs = 1\ntime = "1"', r"slurm.toml, line \d, key memory: is missing"),
        (WANTED.replace("jobs = 1", "jobs = 0"), r"line 1, key jobs: must be a whole number of 1 or more, not 0"),
        (WANTED.replace("00:10:00", "tomorrow"), r"line 3, key time: must be a time such as '08:00:00'"),
        (WANTED.replace("00:10:00", "1-12:0x"), r"line 3, key time: must be a time"),
        (WANTED.replace("2GB", "much"), r"line 2, key memory: must be a size such as '16GB', not 'much'"),
        (WANTED + 'account = "a\\nb"', r"line 4, key account: must be a text of one line"),
        (WANTED + 'account = " "', r"line 4, key account: must be a text of one line"),
        (WANTED + 'sbatch = "--x"', r"line 4, key sbatch: must be an array of texts"),
        (WANTED + "environment = [1]", r"line 4, key environment: must be an array of texts"),
        (WANTED + "gpus = -1", r"line 4, key gpus: must be a whole number of 0 or more, not -1"),
        (WANTED + "wait = 0", r"line 4, key wait: must be a whole number of 1 or more, not 0"),
        (WANTED + "wait = true", r"line 4, key wait: must be a whole number of 1 or more, not True"),
    ],
)
def test_a_file_that_says_nonsense_is_refused_by_line_and_key(tmp_path, text, sentence):
    file = tmp_path / "slurm.toml"
    file.write_text(text)
    with pytest.raises(InputError, match=sentence):
        slurm.read(file)


EXPORTS = [f"export PYTHONPATH={shlex.quote(str(ROOT))}", "export OMP_NUM_THREADS=1"]
WORKER = ["--no-dashboard", "--worker-class", "benchmark.localcluster.QuietWorker"]


def test_each_key_reaches_slurm(tmp_path):
    file = tmp_path / "slurm.toml"
    file.write_text("""
jobs = 8
memory = "16GB"
time = "08:00:00"
partition = "gpu"
account = "mine"
gpus = 2
sbatch = ["--constraint=a100"]
python = "/shared/my venv/bin/python"
environment = ["module load cuda"]
interface = "ib0"
shared = "/shared/me"
log = "/shared/me/logs"
wait = 60
""")
    assert slurm.read(file) == slurm.Wanted(
        jobs=8,
        wait_s=3600.0,
        shared="/shared/me",
        options={
            "cores": 1,
            "processes": 1,
            "memory": "16GB",
            "walltime": "08:00:00",
            "queue": "gpu",
            "account": "mine",
            "job_extra_directives": ["--gpus=2", "--constraint=a100"],
            "python": "'/shared/my venv/bin/python'",
            "job_script_prologue": [*EXPORTS, "module load cuda"],
            "interface": "ib0",
            "log_directory": "/shared/me/logs",
            "worker_extra_args": WORKER,
        },
    )


def test_what_a_file_leaves_out_is_this_python_the_files_folder_and_a_days_patience(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    Path("slurm.toml").write_text(WANTED + "gpus = 0\n")
    wanted = slurm.read(Path("slurm.toml"))
    assert (wanted.wait_s, wanted.shared) == (86400.0, str(tmp_path.resolve()))
    assert wanted.options["python"] == shlex.quote(sys.executable)
    assert wanted.options["job_extra_directives"] == [] and wanted.options["job_script_prologue"] == EXPORTS
    assert {wanted.options[name] for name in ("queue", "account", "interface", "log_directory")} == {None}


@pytest.mark.parametrize("time", ["90", "90:30", "08:00:00", "2-12", "2-12:30", "2-12:30:00", "UNLIMITED"])
def test_a_time_may_have_every_form_that_sbatch_takes(tmp_path, time):
    file = tmp_path / "slurm.toml"
    file.write_text(WANTED.replace("00:10:00", time))
    assert slurm.read(file).options["walltime"] == time


def test_a_machine_without_slurm_is_said_so(tmp_path, monkeypatch):
    file = tmp_path / "slurm.toml"
    file.write_text(WANTED)
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(InputError, match="there is no sbatch on this machine's PATH"):
        slurm.check(file)
