import os
import signal
from pathlib import Path

import pytest

from benchmark.executor import execute


def double(number: int) -> int:
    return 2 * number


def refuse(number: int) -> int:
    raise ValueError(f"no {number}")


def die_once(file: str) -> str:
    if not Path(file).exists():
        Path(file).touch()
        os.kill(os.getpid(), signal.SIGKILL)
    return "done"


@pytest.mark.parametrize("workers", [0, 2])
def test_every_job_comes_back_with_its_result(workers):
    assert dict(execute(double, [1, 2, 3, 4, 5], workers=workers)) == {n: 2 * n for n in range(1, 6)}


@pytest.mark.parametrize("workers", [0, 1])
def test_what_a_job_raises_is_raised(workers):
    with pytest.raises(ValueError, match="no 1"):
        list(execute(refuse, [1], workers=workers))


def test_a_job_whose_worker_is_killed_is_done_by_another(tmp_path):
    jobs = [str(tmp_path / name) for name in "abc"]
    assert dict(execute(die_once, jobs, workers=2)) == dict.fromkeys(jobs, "done")


def test_a_running_scheduler_can_be_used_by_its_address():
    from distributed import LocalCluster

    with LocalCluster(n_workers=1, threads_per_worker=1, memory_limit=0, dashboard_address="127.0.0.1:0") as cluster:
        address = cluster.scheduler_address
        assert dict(execute(double, [1, 2], workers=1, scheduler=address)) == {1: 2, 2: 4}


def test_no_scheduler_at_the_address_is_said_so():
    with pytest.raises(ConnectionError, match=r"no dask scheduler answers at tcp://127\.0\.0\.1:9"):
        list(execute(double, [1], workers=1, scheduler="tcp://127.0.0.1:9"))
