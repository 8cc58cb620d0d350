"""Nobody but the run itself gets a word out of its processes, and nobody's knocking changes what it makes.

`--strangers N` knocks N times on every port (default: 40).
"""

import hashlib
import os
import subprocess
import sys
import time
from dataclasses import dataclass
from itertools import islice
from pathlib import Path

import psutil
import pytest

from benchmark.identity import ROOT
from strangers import HANDSHAKE, HTTP, attempts, listening, said

PORTS = 1 + 2 * 2  # the scheduler, and a nanny and a worker for each of two
ALERT = b"\x15"  # the first byte of TLS's refusal
WAITING = """
import time
from pathlib import Path

import methods
from methods.ce import CrossEntropy


class Waiting(CrossEntropy):
    title = "Waits for the strangers to go"

    def __init__(self, task):
        super().__init__(task)
        while not Path({go!r}).exists():
            time.sleep(0.05)


methods.register("waiting", Waiting)
"""
INTRUDER = """
import sys
from pathlib import Path
from threading import Thread

from distributed import Client, Security


def enter(address, security):
    Client(address, security=security, timeout=3).run_on_scheduler(Path(sys.argv[2]).touch)


for place, security in (("tcp", None), ("tls", None), ("tls", Security.temporary())):
    Thread(target=enter, args=(f"{place}://127.0.0.1:{sys.argv[1]}", security), daemon=True).start()
import time
time.sleep(4)
"""


def started(folder: Path, name: str, workers: int) -> subprocess.Popen:
    options = ["--datasets", "A", "--methods", "waiting", "--preset", "smoke", "--folds", "2", "--device", "cpu"]
    options += ["--workers", str(workers), "--plugin", str(folder / "waiting.py"), "--out", str(folder / name)]
    environment = os.environ | {"OMP_NUM_THREADS": "1"}
    command = [sys.executable, "run_all.py", *options]
    return subprocess.Popen(command, cwd=ROOT, env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE)


def tables(folder: Path) -> dict[str, str]:
    return {path.name: hashlib.sha256(path.read_bytes()).hexdigest() for path in folder.glob("table*")}


@dataclass(frozen=True)
class Molested:
    """A run with two workers: where it listened, what strangers heard, whether it outlived them, and how it ended."""

    ports: dict[int, str]
    answers: list[bytes]
    outlived: bool
    entered: bool
    status: int
    errors: str
    tables: dict[str, str]


@pytest.fixture(scope="module")
def folder(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("strangers")
    (folder / "waiting.py").write_text(WAITING.format(go=str(folder / "go")))
    return folder


@pytest.fixture(scope="module")
def molested(folder, request) -> Molested:
    run, answers, ports = started(folder, "molested", 2), [], {}
    try:
        deadline = time.monotonic() + 300
        while len(ports) < PORTS and run.poll() is None and time.monotonic() < deadline:
            ports = listening(psutil.Process(run.pid))
            time.sleep(0.05)
        time.sleep(1)  # for any that come late
        ports = listening(psutil.Process(run.pid))
        for attempt in islice(attempts(folder), request.config.getoption("--strangers")):
            answers += [attempt(port) for port in ports]
        for port in list(ports)[:1]:
            subprocess.run([sys.executable, "-c", INTRUDER, str(port), str(folder / "entered")], capture_output=True)
        outlived = run.poll() is None
        (folder / "go").touch()
        errors = run.communicate(timeout=300)[1].decode()
    finally:
        run.kill()
    entered = (folder / "entered").exists()
    return Molested(ports, answers, outlived, entered, run.returncode, errors, tables(folder / "molested"))


def test_a_run_listens_on_loopback_alone_and_has_no_web_server(molested):
    assert len(molested.ports) == PORTS and set(molested.ports.values()) == {"127.0.0.1"}


def test_no_stranger_hears_more_than_a_refusal_and_none_gets_code_in(molested):
    assert len(molested.answers) >= 40 * PORTS
    assert {answer[:1] for answer in molested.answers} <= {b"", ALERT}
    assert not molested.entered


def test_no_stranger_harms_the_run(molested, folder):
    assert molested.outlived and molested.status == 0, molested.errors
    assert "Traceback" not in molested.errors and "SSL" not in molested.errors
    alone = started(folder, "alone", 0)
    assert alone.communicate(timeout=300) and alone.returncode == 0
    assert molested.tables == tables(folder / "alone") and len(molested.tables) == 3


def test_the_same_words_are_answered_where_there_is_no_tls(folder):
    """So that silence means something."""
    from distributed import LocalCluster

    options = {"n_workers": 0, "dashboard_address": "127.0.0.1:0", "silence_logs": 50, "protocol": "tcp://"}
    with LocalCluster(processes=False, **options) as cluster:
        ports = [int(cluster.scheduler_address.rpartition(":")[2]), cluster.scheduler.http_server.port]
        heard = [said(port, words, wait_s=5) for port, words in zip(ports, (HANDSHAKE, HTTP), strict=True)]
        assert heard[0] and heard[1].startswith(b"HTTP/1.1 ")
        marker = folder / "let in"
        subprocess.run([sys.executable, "-c", INTRUDER, str(ports[0]), str(marker)], capture_output=True, check=False)
        assert marker.exists()
