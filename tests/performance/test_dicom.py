"""What a series costs: seconds to find and crop it, and memory on the largest. Run with `--benchmark-enable`."""

import subprocess
import sys
import time
from pathlib import Path

import pytest

from ct import sphere, write
from datasets.lidc import series, survey

SERIES = 1018  # in LIDC-IDRI, of 240 slices in the mean, of which nodules need 33 where there are any
HERE = Path(__file__).parents[1]

MEASURE = """
import re, sys
sys.path[:0] = sys.argv[1:3]
from pathlib import Path
from ct import sphere
from datasets.lidc import series, survey
made = sphere((1.0, 0.7, 0.7), 30.0, counts=(600, 512, 512))
root = Path(sys.argv[3])
(job,) = survey.find(root / "ct", root / "work").jobs([made.nodules], "code")
assert len(series.crop(job)[0]) == 1
# Not ru_maxrss: that outlives exec, and would count what the test process itself once held.
print(int(re.search(r"VmHWM:\\s*(\\d+)", Path("/proc/self/status").read_text())[1]) / 2**20)
"""


def test_peak_memory_on_600_slices_with_a_nodule_of_60_mm(tmp_path):
    if not Path("/proc/self/status").is_file():
        pytest.skip("only Linux tells a process its own peak memory")
    write(sphere((1.0, 0.7, 0.7), 30.0, counts=(600, 512, 512)), tmp_path / "ct")
    command = [sys.executable, "-c", MEASURE, str(HERE.parent), str(HERE / "support"), str(tmp_path)]
    gib = float(subprocess.run(command, capture_output=True, check=True, text=True).stdout)
    print(f"\n{gib:.2f} GiB")
    assert gib < 1.5


@pytest.mark.benchmark(timer=time.process_time)
def test_cost_of_a_series(benchmark, tmp_path):
    made = sphere((1.25, 0.7, 0.7), 10.0, counts=(240 if benchmark.enabled else 40, 512, 512))
    write(made, tmp_path / "ct")
    number = iter(range(10_000))

    def prepare():
        work = tmp_path / f"work{next(number)}"
        (job,) = survey.find(tmp_path / "ct", work).jobs([made.nodules], "code")
        return series.crop(job)[0]

    assert len(benchmark.pedantic(prepare, rounds=5 if benchmark.enabled else 1)) == 1
    if benchmark.enabled:
        seconds = benchmark.stats.stats.median
        print(f"\n{seconds:.2f} s a series; {SERIES} of them: {SERIES * seconds / 60:.0f} minutes in one process")
