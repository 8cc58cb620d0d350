"""What `--source idc` costs: requests at once against one at a time, memory, and the plan for the whole collection.

    python -m pytest tests/performance/test_idc.py --benchmark-enable -s

Against a server on loopback that waits 30 ms before each answer. The default run of the tests waits 3 ms and takes
one round.
"""

import pickle
import statistics
import subprocess
import sys
import time
from pathlib import Path

import pytest

import idc
from datasets.idc.bucket import Bucket
from datasets.lidc.idc import Idc
from objectstore import Front, Objects, apart, serving

HERE = Path(__file__).parents[1]
LATENCY_S = 0.03
PEAK_MIB = 600

MEASURE = """
import pickle, re, sys, threading, time
sys.path[:0] = sys.argv[1:3]
from pathlib import Path
import pytest
import idc

def mib(name):
    return int(re.search(rf"{name}:\\s*(\\d+)", Path("/proc/self/status").read_text())[1]) / 2**10

def watch():
    global most
    while True:
        most = max(most, mib("RssAnon"))
        time.sleep(0.005)

imported, most = mib("RssAnon"), 0.0
threading.Thread(target=watch, daemon=True).start()
with pytest.MonkeyPatch.context() as patch:
    idc.pretend(patch, *pickle.loads(Path(sys.argv[3]).read_bytes()))
    assert len(idc.prepare(*sys.argv[4:])) == 1
print(imported, most, mib("VmHWM"))
"""


@pytest.mark.benchmark(timer=time.perf_counter)
def test_requests_at_once_against_one_at_a_time(benchmark, tmp_path, monkeypatch):
    patients = [idc.pair(*one, 10 * n) for n, one in enumerate(idc.listed()[: 8 if benchmark.enabled else 1], 1)]
    objects = {name: content for one in patients for name, content in one.objects().items()}
    idc.pretend(monkeypatch, patients, objects)
    number, one_at_a_time = iter(range(10_000)), []
    with apart(objects, LATENCY_S if benchmark.enabled else 0.003) as url:

        def fetch(connections=32):
            return len(idc.fetch(url, tmp_path / f"{next(number)}", connections=connections, timeout_s=10.0))

        def time_one_at_a_time():
            start = time.perf_counter()
            fetch(connections=1)
            one_at_a_time.append(time.perf_counter() - start)

        rounds = 3 if benchmark.enabled else 1
        assert benchmark.pedantic(fetch, setup=time_one_at_a_time, rounds=rounds) == 2 * len(patients)
    if benchmark.enabled:
        seconds, slow = benchmark.stats.stats.median, statistics.median(one_at_a_time)
        benchmark.extra_info.update(one_at_a_time_s=slow, ratio=slow / seconds)
        print(f"\n{seconds:.2f} s with 32 connections, {slow:.2f} s with one: {slow / seconds:.1f} times as fast")


def test_peak_memory_with_large_slices(benchmark, tmp_path):
    """Memory of its own; the libraries' files, mapped and shared, come on top (torch: 250 MiB and more)."""
    if not Path("/proc/self/status").is_file():
        pytest.skip("only Linux tells a process its own memory")
    slices, radius_mm = (400, 30.0) if benchmark.enabled else (40, 15.0)
    patient = idc.alone(*idc.listed()[0], 1, slices=slices, pixels=512, radius_mm=radius_mm)
    objects = patient.objects()
    (tmp_path / "given").write_bytes(pickle.dumps(([patient], dict.fromkeys(objects, b"a slice"))))
    with serving(Front(Objects(objects))) as front:
        options = ["--source", "idc", "--idc-endpoint", front.url, "--work", tmp_path, "--workers", 0]
        command = [sys.executable, "-c", MEASURE, HERE.parent, HERE / "support", tmp_path / "given", *options]
        done = subprocess.run([*map(str, command)], capture_output=True, check=True, text=True)
    imported, most, peak = map(float, done.stdout.split())
    benchmark.extra_info.update(own_mib=most, imported_mib=imported, peak_mib=peak)
    benchmark.pedantic(lambda: None)
    print(f"\n{most:.0f} MiB of its own at most, {imported:.0f} of them by imports; with mapped files {peak:.0f}")
    assert most < PEAK_MIB


@pytest.mark.benchmark(timer=time.perf_counter)
def test_the_plan_for_the_whole_collection(benchmark, tmp_path):
    """What is to be fetched for 2,651 nodules, from the outlines on; nothing is asked of a server."""

    def plan():
        collection = Idc(tmp_path, Bucket("http://127.0.0.1:9"))
        return collection.outlook(collection.nodules())

    told = benchmark.pedantic(plan, rounds=3 if benchmark.enabled else 1)
    assert "29,571 slices of 883 series" in told
    if benchmark.enabled:
        print(f"\n{benchmark.stats.stats.median:.2f} s: {told}")
