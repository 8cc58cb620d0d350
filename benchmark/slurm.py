"""Workers as jobs of Slurm, by dask-jobqueue, as a TOML file says: `--slurm FILE.toml`.

```toml
jobs = 8                      # how many, each one worker of one core
memory = "16GB"               # of a job
time = "08:00:00"             # of a job; where one ends before the work does, another is asked for
partition = "gpu"             # these below may be left out
account = "my-project"
gpus = 1                      # of a job
sbatch = ["--constraint=a100"]         # further options of sbatch
python = "/shared/venv/bin/python"     # default: this one
environment = ["module load cuda"]     # lines of shell before the worker starts
interface = "ib0"             # network by which scheduler and workers meet
shared = "/shared/me"         # folder that all nodes see, for the keys; default: that of this file
log = "/shared/me/logs"       # where jobs' output goes
wait = 60                     # minutes for a first job to start (default: a day)
```

The command runs where `sbatch` can be called, for as long as the run takes; its scheduler speaks TLS only, by keys made
for the run. A job whose command was killed finds no scheduler, and ends within a minute.
"""

import os
import re
import shlex
import shutil
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING

from benchmark.contracts import InputError
from benchmark.identity import ROOT
from benchmark.signals import kept_from_children
from benchmark.tomlfile import TomlFile

if TYPE_CHECKING:
    from distributed.security import Security

    from benchmark.slurmjobs import Jobs

_TEXTS = ("memory", "time", "partition", "account", "python", "interface", "shared", "log")
_NUMBERS = {"jobs": 1, "gpus": 0, "wait": 1}
_LINES = ("sbatch", "environment")
_NEEDED = ("jobs", "memory", "time")
_TIME = r"\d+(:\d+){0,2}|\d+-\d+(:\d+){0,2}|(?i:infinite|unlimited)"  # the forms that sbatch takes
_DAY_MIN = 24 * 60
_QUIET = "benchmark.localcluster.QuietWorker"  # dask starts a web server even without a dashboard


@dataclass(frozen=True)
class Wanted:
    """What a file asks of Slurm.

    Attributes:
        jobs: Their number.
        wait_s: How long a first one may take to start.
        shared: Folder that all nodes see.
        options: Of `dask_jobqueue.SLURMCluster`.
    """

    jobs: int
    wait_s: float
    shared: str
    options: dict[str, object]


def read(path: Path) -> Wanted:
    """Read a file.

    Raises:
        InputError: The file, the line, the key, and what is wrong there.
    """
    file = TomlFile(path)
    file.only((), {*_TEXTS, *_NUMBERS, *_LINES})
    for name in _NEEDED:
        file.get((name,))
    given = file.data
    for name in given:
        value = given[name]
        if name in _TEXTS and not (isinstance(value, str) and value.strip() and value.isprintable()):
            file.fail((name,), f"must be a text of one line, not {value!r}")
        if name in _NUMBERS and not (type(value) is int and value >= _NUMBERS[name]):
            file.fail((name,), f"must be a whole number of {_NUMBERS[name]} or more, not {value!r}")
        if name in _LINES and not (isinstance(value, list) and all(isinstance(one, str) for one in value)):
            file.fail((name,), f"must be an array of texts, not {value!r}")
    if not re.fullmatch(_TIME, given["time"]):
        file.fail(("time",), f"must be a time such as '08:00:00' or '1-12' (days-hours), not {given['time']!r}")
    gpus = [f"--gpus={given['gpus']}"] if given.get("gpus") else []
    exports = [f"export PYTHONPATH={shlex.quote(str(ROOT))}", "export OMP_NUM_THREADS=1"]
    from dask.utils import parse_bytes

    try:
        parse_bytes(given["memory"])
    except ValueError:
        file.fail(("memory",), f"must be a size such as '16GB', not {given['memory']!r}")
    return Wanted(
        jobs=given["jobs"],
        wait_s=60.0 * given.get("wait", _DAY_MIN),
        shared=given.get("shared", str(path.resolve().parent)),
        options={
            "cores": 1,
            "processes": 1,
            "memory": given["memory"],
            "walltime": given["time"],
            "queue": given.get("partition"),
            "account": given.get("account"),
            "job_extra_directives": [*gpus, *given.get("sbatch", [])],
            "python": shlex.quote(given.get("python", sys.executable)),
            "job_script_prologue": [*exports, *given.get("environment", [])],
            "interface": given.get("interface"),
            "log_directory": given.get("log"),
            "worker_extra_args": ["--no-dashboard", "--worker-class", _QUIET],
        },
    )


def check(path: Path) -> Wanted:
    """Read a file, and see that Slurm and what speaks to it are there.

    Raises:
        InputError: They are not, or the file is wrong.
    """
    wanted = read(path)
    if shutil.which("sbatch") is None:
        raise InputError("--slurm: there is no sbatch on this machine's PATH: run the command on a node that has it")
    try:
        import cryptography  # noqa: F401  # by which dask makes keys
        import dask_jobqueue  # noqa: F401
    except ImportError as error:
        raise InputError(
            f"--slurm needs the packages dask-jobqueue and cryptography ({error}): pip install -r requirements.txt"
        ) from error
    return wanted


@contextmanager
def started(path: Path) -> "Iterator[Jobs]":
    """Give a scheduler in this process whose workers are Slurm's jobs, as many as the file says.

    The keys lie in a folder that only this user can read, until the block is left.

    Raises:
        InputError: As `check`.
    """
    wanted = check(path)
    from benchmark.localcluster import QuietScheduler
    from benchmark.slurmjobs import Jobs

    with TemporaryDirectory(prefix=".keys-", dir=wanted.shared) as keys:
        with kept_from_children():
            cluster = Jobs(
                wanted.jobs,
                security=_written(Path(keys)),
                protocol="tls://",
                scheduler_cls=QuietScheduler,
                scheduler_options={"dashboard": False, "dashboard_address": "127.0.0.1:0"},
                silence_logs="critical",
                name=f"lung-nodules-{os.getpid()}",
                **wanted.options,
            )
        with cluster:
            yield cluster


def _written(folder: Path) -> "Security":
    """Make credentials for this run, which scheduler, workers and client share, in files for the workers' sake."""
    from distributed.security import Security

    made = Security.temporary()  # type: ignore[no-untyped-call]
    certificate, key = folder / "certificate.pem", folder / "key.pem"
    for file, text in ((certificate, made.tls_scheduler_cert), (key, made.tls_scheduler_key)):
        file.touch(mode=0o600)
        file.write_text(text)
    roles = ("scheduler", "worker", "client")
    files = {f"tls_{role}_{kind}": str(file) for role in roles for kind, file in (("cert", certificate), ("key", key))}
    return Security(require_encryption=True, tls_ca_file=str(certificate), **files)  # type: ignore[no-untyped-call]
