import json
import multiprocessing
import os
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from itertools import pairwise
from pathlib import Path

import pytest
import torch

from benchmark.claims import Taken
from benchmark.contracts import InputError
from benchmark.devices import Unfit, answering
from benchmark.dispatch import Lost
from benchmark.executor import execute
from benchmark.identity import ROOT
from benchmark.job import Job
from benchmark.peers import Version
from benchmark.scheduler import Scheduler


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


def test_many_jobs_are_handed_out_without_a_warning_of_their_size():
    jobs = [bytes([number]) * 500_000 for number in range(24)]  # dask warns at 10 MB; warnings are errors here
    assert dict(execute(len, jobs, workers=1)) == dict.fromkeys(jobs, 500_000)


def test_a_job_whose_worker_is_killed_is_done_by_another(tmp_path):
    jobs = [str(tmp_path / name) for name in "abc"]
    assert dict(execute(die_once, jobs, workers=2)) == dict.fromkeys(jobs, "done")


def test_workers_that_are_killed_in_their_very_start_are_started_anew():
    killed = list[int]()

    def kill() -> None:
        while len(killed) < 2:
            for child in multiprocessing.active_children():
                child.kill()
                killed.append(child.pid)
            time.sleep(0.001)

    thread = threading.Thread(target=kill)
    thread.start()
    assert dict(execute(double, [1, 2], workers=2)) == {1: 2, 2: 4}
    thread.join()
    assert len(killed) == 2


def die(deaths: Path) -> None:
    with deaths.open("a") as file:
        file.write("x")
    os.kill(os.getpid(), signal.SIGKILL)


def test_a_job_that_kills_more_workers_than_are_allowed_is_given_up(tmp_path, monkeypatch):
    for module in ("dispatch", "executor"):
        monkeypatch.setattr(f"benchmark.{module}.DEATHS_ALLOWED", 0)
    deaths = tmp_path / "deaths"
    assert dict(execute(die, [deaths], workers=1)) == {deaths: Lost("the workers that made it died, 1 times in all")}
    assert deaths.read_text() == "x"


def test_a_running_scheduler_can_be_used_by_its_address():
    from distributed import LocalCluster

    with LocalCluster(n_workers=1, threads_per_worker=1, memory_limit=0, dashboard_address="127.0.0.1:0") as cluster:
        address = cluster.scheduler_address
        assert dict(execute(double, [1, 2], workers=1, scheduler=Scheduler(address))) == {1: 2, 2: 4}


@pytest.mark.parametrize("address", ["tcp://127.0.0.1:9", "127.0.0.1:9"])
def test_no_scheduler_at_the_address_is_said_so(address):
    with pytest.raises(InputError, match=f"no dask scheduler answers at {address}.*given with --scheduler"):
        list(execute(double, [1], workers=1, scheduler=Scheduler(address)))


@pytest.fixture
def cluster():
    from distributed import LocalCluster

    options = {"threads_per_worker": 1, "memory_limit": 0, "dashboard_address": "127.0.0.1:0"}
    with LocalCluster(n_workers=0, silence_logs=50, **options) as cluster:
        yield cluster


def test_a_scheduler_without_workers_is_said_so(cluster):
    sentence = r"the dask scheduler at tcp://.* has had no worker for 0\.5 s; start some: dask worker"
    with pytest.raises(InputError, match=sentence):
        list(execute(double, [1], workers=1, scheduler=Scheduler(cluster.scheduler_address), patience_s=0.5))


def wait_for(file: Path) -> str:
    end = time.monotonic() + 60
    while not file.exists() and time.monotonic() < end:
        time.sleep(0.01)
    return "done"


def test_workers_that_are_busy_with_somebody_elses_work_are_waited_for_beyond_the_patience(cluster, tmp_path):
    from distributed import Client

    cluster.scale(1)
    free = tmp_path / "free"

    def watch(_):
        free.touch()  # after the patience
        return {}

    with Client(cluster) as somebody:
        somebody.wait_for_workers(1)
        theirs = somebody.submit(wait_for, free, pure=False)
        scheduler = Scheduler(cluster.scheduler_address)
        ours = dict(execute(double, [1], workers=1, scheduler=scheduler, patience_s=0.3, watch=watch))
        assert (ours, theirs.result()) == ({1: 2}, "done")


def test_workers_that_cannot_import_the_project_are_said_so(cluster, tmp_path):
    code = "import sys; sys.path[:] = [p for p in sys.path if p]; from distributed.cli.dask_worker import main; main()"
    options = ["--no-nanny", "--nthreads", "1", "--no-dashboard", "--death-timeout", "30"]
    command = [sys.executable, "-I", "-c", code, cluster.scheduler_address, *options]
    worker = subprocess.Popen(command, cwd=tmp_path, stderr=subprocess.DEVNULL)
    try:
        sentence = (
            "the dask scheduler at tcp://.* or a worker of it cannot import the project .*No module named 'benchmark'"
        )
        with pytest.raises(InputError, match=sentence):
            list(execute(Job.run, [], workers=1, scheduler=Scheduler(cluster.scheduler_address), patience_s=60.0))
    finally:
        worker.terminate()
        worker.wait()


def begin_and_wait(begun: Path) -> None:
    begun.touch()
    time.sleep(60)


@contextmanager
def lonely_cluster() -> Iterator[tuple[str, subprocess.Popen, subprocess.Popen]]:
    """A scheduler with one worker, as on a cluster: its address, and the processes."""
    code = "from distributed.cli.dask_scheduler import main; main()"
    file = os.path.join(tempfile.mkdtemp(), "scheduler.json")
    options = ["--scheduler-file", file, "--host", "127.0.0.1", "--port", "0", "--no-dashboard"]
    scheduler = subprocess.Popen([sys.executable, "-c", code, *options], stderr=subprocess.DEVNULL)
    while not os.path.exists(file):
        time.sleep(0.1)
    address = json.loads(Path(file).read_text())["address"]
    code = "from distributed.cli.dask_worker import main; main()"
    options = ["--no-nanny", "--nthreads", "1", "--no-dashboard", "--death-timeout", "60"]
    environment = os.environ | {"PYTHONPATH": os.pathsep.join(sys.path)}
    command = [sys.executable, "-c", code, address, *options]
    worker = subprocess.Popen(command, stderr=subprocess.DEVNULL, env=environment)
    try:
        yield address, scheduler, worker
    finally:
        scheduler.kill(), worker.kill()
        scheduler.wait(), worker.wait()


LOST = r"the dask scheduler at tcp://.* was lost; what is finished is kept"


def test_a_scheduler_that_is_lost_is_said_so(tmp_path):
    with lonely_cluster() as (address, scheduler, _):

        def kill_once_begun() -> None:
            while not (tmp_path / "begun").exists():
                time.sleep(0.1)
            scheduler.kill()

        threading.Thread(target=kill_once_begun, daemon=True).start()
        with pytest.raises(InputError, match=LOST):
            list(execute(begin_and_wait, [tmp_path / "begun"], workers=1, scheduler=Scheduler(address)))


def test_a_scheduler_that_is_lost_before_the_work_begins_is_no_matter_of_imports(monkeypatch):
    from distributed import Client

    with lonely_cluster() as (address, scheduler, _):
        waiting = Client.wait_for_workers

        def wait_and_lose(self, *arguments, **options) -> None:
            waiting(self, *arguments, **options)
            scheduler.kill()
            scheduler.wait()

        monkeypatch.setattr(Client, "wait_for_workers", wait_and_lose)
        with pytest.raises(InputError, match=LOST):
            list(execute(double, [1], workers=1, scheduler=Scheduler(address)))


def test_workers_that_are_all_lost_are_said_so_after_some_patience(tmp_path):
    with lonely_cluster() as (address, _, worker):
        list(execute(double, [1], workers=1, scheduler=Scheduler(address)))  # by now it has come, whatever that took

        def kill_once_begun() -> None:
            while not (tmp_path / "begun").exists():
                time.sleep(0.1)
            worker.kill()

        threading.Thread(target=kill_once_begun, daemon=True).start()
        with pytest.raises(InputError, match=r"lost all its workers and has had none for \d+ s; what is finished"):
            list(execute(begin_and_wait, [tmp_path / "begun"], workers=1, scheduler=Scheduler(address), patience_s=3.0))


def surroundings(_: int) -> tuple[object, ...]:
    from distributed import get_worker

    worker, names = get_worker(), ("TRIM_THRESHOLD_", "MMAP_THRESHOLD_", "ARENA_MAX")
    limit = worker.memory_manager.memory_limit
    return worker.state.nthreads, limit, *(os.environ.get(f"MALLOC_{name}") for name in names)


def test_a_local_worker_has_one_thread_and_no_limit_of_memory_and_keeps_what_is_freed_also_under_encryption():
    import dask

    gibibyte = str(2**30)
    with dask.config.set({"distributed.comm.require-encryption": True}):
        assert dict(execute(surroundings, [1], workers=1)) == {1: (1, None, gibibyte, gibibyte, "1")}


def test_a_configuration_of_tls_that_makes_no_sense_is_said_so_with_the_way_out():
    import dask

    with dask.config.set({"distributed.comm.tls.min-version": 9}):
        with pytest.raises(InputError, match=r"dask cannot start worker processes .*; --workers 0 does without dask"):
            list(execute(double, [1], workers=1))


def test_a_configuration_that_cannot_be_read_is_said_so_with_the_way_out(tmp_path):
    (tmp_path / "broken.yaml").write_text("a: [b: }")
    code = "from benchmark.executor import execute; list(execute(print, [1], workers=1))"
    environment = os.environ | {"DASK_CONFIG": str(tmp_path), "PYTHONPATH": str(ROOT)}
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, env=environment, check=False)
    assert "InputError: dask does not start (" in done.stderr and "--workers 0 does without dask" in done.stderr


def unfit_where(job: tuple[str, Path]) -> str:
    """Refuse on the worker of that name; count there how often it was asked."""
    from distributed import get_worker

    name, asked = job
    worker = get_worker()
    if str(worker.name) == name:
        asked.write_text(asked.read_text() + "x" if asked.exists() else "x")
        raise Unfit("the device cuda:0 does not answer (gone)", worker.address, replaceable=False)
    end = time.monotonic() + 60
    while not asked.exists() and time.monotonic() < end:  # so that the other is asked before all is done
        time.sleep(0.01)
    return str(worker.name)


def test_an_unfit_worker_is_retired_and_its_jobs_are_done_by_another(tmp_path):
    jobs = [("0", tmp_path / "asked")] * 8
    done = [result for _, result in execute(unfit_where, jobs, workers=2)]
    assert done == ["1"] * 8 and 1 <= len((tmp_path / "asked").read_text()) < 8


def test_where_every_worker_is_unfit_the_reason_ends_the_run(tmp_path):
    with pytest.raises(InputError, match=r"cuda:0 does not answer \(gone\), and no other worker is left; what is"):
        list(execute(unfit_where, [("0", tmp_path / "asked")], workers=1))


def lose_the_device(job: tuple[Path, int]) -> str:
    """Answer, then meet a device that is lost to this process, until the process is another."""
    folder, number = job

    def touch(device: torch.device) -> None:
        if (folder / str(os.getpid())).exists():
            raise RuntimeError("CUDA error: unspecified launch failure")

    answering(torch.device("cpu"), touch)
    if number == 1 and not (folder / "lost").exists():
        (folder / "lost").touch()
        (folder / str(os.getpid())).touch()
        return "failed"
    return "done"


def test_a_process_that_lost_its_device_is_replaced_and_fails_no_other_job(tmp_path):
    jobs = [(tmp_path, number) for number in range(4)]
    done = dict(execute(lose_the_device, jobs, workers=1))
    assert [done[job] for job in jobs] == ["done", "failed", "done", "done"]


def refuse_the_last_once(job: tuple[Path, int]) -> int:
    """Note each try of a job; the worker is unfit for the last one, until the process is another."""
    from distributed import get_worker

    folder, number = job
    with (folder / str(number)).open("a") as file:
        file.write("x")
    if number == 7 and not (folder / "refused").exists():
        (folder / "refused").touch()
        raise Unfit("the device does not answer", get_worker().address, replaceable=True)
    return number


def test_results_that_an_unfit_worker_holds_are_taken_before_it_is_replaced(tmp_path):
    from distributed import default_client

    jobs = [(tmp_path, number) for number in range(8)]
    made = execute(refuse_the_last_once, jobs, workers=1)
    first = next(made)
    while any(future.status == "pending" for future in list(default_client().futures.values())):
        time.sleep(0.01)
    assert dict([first, *made]) == {job: job[1] for job in jobs}
    assert [(tmp_path / str(number)).read_text() for number in range(8)] == ["x"] * 7 + ["xx"]


def busy_until(job: tuple[Path, int]) -> str:
    """Say that another makes the job, until a file is there; note the order in which jobs are asked for."""
    folder, number = job
    with (folder / "asked").open("a") as file:
        file.write(str(number))
    if number == 1 and not (folder / "free").exists():
        raise Taken("1")
    if number == 3:
        (folder / "free").touch()
    return "done"


@pytest.mark.parametrize("workers", [0, 1])
def test_what_another_command_does_is_asked_for_again_after_all_else(tmp_path, workers):
    jobs = [(tmp_path, number) for number in (1, 2, 3)]
    assert dict(execute(busy_until, jobs, workers=workers)) == dict.fromkeys(jobs, "done")
    assert (tmp_path / "asked").read_text() == "1231"


def busy_for_a_while(asked: Path) -> str:
    """Say that another makes the job, for a second and a half; note each time that it is asked for."""
    with asked.open("a") as file:
        file.write(f"{time.time()}\n")
    first = float(asked.read_text().split()[0])
    if time.time() - first < 1.5:
        raise Taken("1")
    return "done"


@pytest.mark.parametrize("workers", [0, 1])
def test_what_another_command_does_is_asked_for_once_a_second(tmp_path, workers):
    asked = tmp_path / "asked"
    assert dict(execute(busy_for_a_while, [asked], workers=workers)) == {asked: "done"}
    times = [float(line) for line in asked.read_text().split()]
    assert len(times) > 1 and all(later - earlier > 0.5 for earlier, later in pairwise(times))


def hang_until(job: tuple[Path, int]) -> str:
    """Hang, so that nothing but a kill helps, unless it was tried so often; note on which worker, and each try."""
    from distributed import get_worker

    folder, times = job
    with (folder / "tried").open("a") as file:
        file.write("x")
    tries = len(list(folder.glob("try-*")))
    if tries < times:
        (folder / f"try-{tries}").write_text(get_worker().address)
        signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGTERM})
        time.sleep(600)
    return "done"


@pytest.mark.parametrize(("times", "result"), [(1, "done"), (9, Lost("its worker hung and was replaced, 3 times"))])
def test_a_worker_that_hangs_is_replaced_and_its_job_given_to_another_three_times(tmp_path, monkeypatch, times, result):
    monkeypatch.setattr("benchmark.dispatch.LOOK_S", 0.5)
    seen = set()

    def watch(jobs):
        new = {file: file.read_text() for file in tmp_path.glob("try-*") if file not in seen and file.read_text()}
        seen.update(new)
        return {job: address for address in new.values() for job in jobs}

    job = (tmp_path, times)
    assert list(execute(hang_until, [job], workers=1, watch=watch)) == [(job, result)]
    assert len((tmp_path / "tried").read_text()) == (2 if result == "done" else 3)


def begin_and_wait_for(folder: Path) -> str:
    (folder / "begun").touch()
    return wait_for(folder / "free")


def test_a_job_that_hung_on_a_worker_that_is_gone_is_done_by_another(tmp_path, monkeypatch):
    monkeypatch.setattr("benchmark.dispatch.LOOK_S", 0.1)

    def watch(jobs):
        if not (tmp_path / "begun").exists() or (tmp_path / "free").exists():
            return {}
        (tmp_path / "free").touch()
        return dict.fromkeys(jobs, "tcp://127.0.0.1:1")

    assert dict(execute(begin_and_wait_for, [tmp_path], workers=1, watch=watch)) == {tmp_path: "done"}


def test_workers_of_another_version_are_refused_before_the_first_job_and_both_are_named():
    from benchmark import peers

    own = peers.here()
    for other in (Version("f" * 64, "a" * 40, own.torch), Version(own.code, "", "1.0")):
        with pytest.raises(InputError) as refused:
            peers.refuse_others({"tcp://near:1": own, "tcp://far:1": other}, "the dask scheduler at tcp://far")
        assert own.text() in str(refused.value) and other.text() in str(refused.value)
        assert "the worker tcp://far:1 of the dask scheduler" in str(refused.value)
    peers.refuse_others({"tcp://near:1": own}, "")
    assert other.text() == f"code {own.code[:12]} and torch 1.0"


def test_a_worker_that_joins_after_the_start_is_checked_before_it_is_given_a_job(monkeypatch):
    from benchmark import peers
    from benchmark.devices import Unfit

    own = peers.here()
    assert peers.checked(own, abs, -3) == 3
    for late in (Version("f" * 64, "a" * 40, own.torch), Version(own.code, own.commit, "1.0")):
        monkeypatch.setattr(peers, "here", lambda late=late: late)
        with pytest.raises(Unfit) as refused:
            peers.checked(own, lambda _: pytest.fail("it was given a job"), -3)
        assert own.text() in refused.value.reason and late.text() in refused.value.reason
        assert not refused.value.replaceable


def test_the_last_worker_of_another_version_ends_the_run_and_both_are_named(cluster, monkeypatch):
    """As one that joins late: whoever was there at the start has been asked then."""
    from benchmark import peers

    cluster.scale(1)
    monkeypatch.setattr(peers, "refuse_others", lambda *_: None)
    other = Version("f" * 64, "", "1.0")
    monkeypatch.setattr(peers, "here", lambda: other)  # here, and not in the worker's process
    with pytest.raises(InputError, match=r"the worker tcp.* has code .*this command code f{12} and torch 1\.0: start"):
        list(execute(abs, [-1], workers=0, scheduler=Scheduler(cluster.scheduler_address)))


def test_a_worker_with_another_torch_is_refused(cluster):
    address, asked = cluster.scheduler_address, "import torch; torch.__version__ = '1.0'"
    code = f"{asked}; from distributed.cli.dask_worker import main; main()"
    options = ["--no-nanny", "--nthreads", "1", "--no-dashboard", "--death-timeout", "30"]
    environment = os.environ | {"PYTHONPATH": os.pathsep.join(sys.path)}
    command = [sys.executable, "-c", code, address, *options]
    worker = subprocess.Popen(command, stderr=subprocess.DEVNULL, env=environment)
    try:
        with pytest.raises(InputError, match=r"has code [0-9a-f]{12}.* and torch 1\.0, this command code .* and torch"):
            list(execute(double, [1], workers=1, scheduler=Scheduler(address)))
    finally:
        worker.terminate()
        worker.wait()
