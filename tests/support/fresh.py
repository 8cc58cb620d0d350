"""Commands in a process that has imported nothing, as a user starts them: what they take, and whether torch came in."""

import json
import subprocess
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass

from zygote import ROOT

_MEASURED = """
import json, pathlib, sys
statuses = []
for name, *arguments in json.loads(sys.argv[1]):
    if name == "run_all":
        import run_all
        from benchmark.experiment import Experiment
        Experiment.train = lambda *_: sys.exit("it trained again")
        statuses.append(run_all.main(arguments))
    else:
        from benchmark.__main__ import main
        statuses.append(main([name, *arguments]))
status = pathlib.Path("/proc/self/status").read_text()
peak_kb = int(status.partition("VmHWM:")[2].split()[0])  # getrusage counts what the parent had before this program
print(json.dumps([statuses, peak_kb / 1024, "torch" in sys.modules]))
"""


@dataclass(frozen=True)
class Taken:
    """What commands took.

    Attributes:
        statuses: Their exit statuses.
        seconds: All of it, Python's start and the imports among it.
        mb: The most that was resident at once, MiB.
        has_torch: Whether torch was imported.
    """

    statuses: list[int]
    seconds: float
    mb: float
    has_torch: bool


def taken(*commands: Sequence[str]) -> Taken:
    """Run commands one after another in a process of their own; nothing may be trained.

    Args:
        commands: Each `run_all` or a command of `python -m benchmark`, and its arguments.
    """
    begun = time.monotonic()
    words = json.dumps([[str(word) for word in command] for command in commands])
    done = subprocess.run(
        [sys.executable, "-c", _MEASURED, words], capture_output=True, text=True, cwd=ROOT, check=False
    )
    seconds = time.monotonic() - begun
    assert done.returncode == 0, done.stderr
    statuses, mb, has_torch = json.loads(done.stdout.splitlines()[-1])
    return Taken(statuses, seconds, mb, has_torch)
