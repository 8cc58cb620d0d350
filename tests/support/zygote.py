"""Commands in processes of their own that need no start: a process that has imported everything forks for each.

Each leads a session, so that all its processes can be found; it runs `run_all.main`, and ends as a script does. How it
dies, where a test wants that, is arranged here (`dying.py`), and in its workers too: a spawned process runs this file
first.
"""

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import dying

ROOT = Path(__file__).resolve().parents[2]
HEADS = (str(ROOT), str(ROOT / "tests" / "support"))


@dataclass
class Command:
    """A command on its way.

    Attributes:
        pid: Of its process, and of its session.
        said: File with all that it printed.
    """

    pid: int
    said: Path

    def kill(self, number: int = signal.SIGKILL) -> None:
        os.kill(self.pid, number)

    def kill_all(self, number: int) -> None:
        """Send a signal as a terminal does: to every process of the group."""
        os.killpg(self.pid, number)

    def processes(self) -> list[int]:
        """Return the living processes of its session."""
        found = []
        for folder in Path("/proc").glob("[0-9]*"):
            try:
                state, _, _, session = (folder / "stat").read_text().rpartition(")")[2].split()[:4]
            except OSError:
                continue
            if int(session) == self.pid and state not in "ZX":
                found.append(int(folder.name))
        return found

    def are_gone(self, seconds: float = 20.0) -> bool:
        """Return whether no process of its session lives, after some time at most."""
        until = time.monotonic() + seconds
        while self.processes() and time.monotonic() < until:
            time.sleep(0.05)
        return not self.processes()


class Zygote:
    """Starts commands."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.count = folder, 0
        self.passing = folder / "passing"  # whatever is put into the system's folder for that
        self.passing.mkdir()
        environment = os.environ | {"OMP_NUM_THREADS": "1", "PYTHONPATH": os.pathsep.join([*HEADS, *sys.path])}
        environment["TMPDIR"] = str(self.passing)
        self._process = subprocess.Popen(
            [sys.executable, str(Path(__file__).resolve())],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            env=environment,
            cwd=folder,
        )
        assert self._process.stdout.readline() == "ready\n"

    def start(self, arguments: Sequence[str], **also: str) -> Command:
        """Start `run_all.py` with some arguments.

        Args:
            arguments: Of the command line.
            also: `counted`, a file that gets a line for each fit that is trained; `term_in`, a function, as
                `module:name`, in which the process gets a SIGTERM; `environment`, as JSON.
        """
        self.count += 1
        said = self.folder / f"said-{self.count}.txt"
        pid = self._ask({"arguments": list(arguments), "said": str(said), **also})
        return Command(pid, said)

    def ended(self, command: Command) -> int | None:
        """Return a command's exit status, once; a signal's number below zero if that ended it, None while it lives."""
        return self._ask({"poll": command.pid})

    def wait(self, command: Command, timeout_s: float = 120.0) -> int:
        """Return a command's exit status; a signal's number below zero if that ended it."""
        until = time.monotonic() + timeout_s
        while (status := self.ended(command)) is None:
            assert time.monotonic() < until, command.said.read_text()
            time.sleep(0.02)
        return status

    def close(self) -> None:
        self._process.stdin.close()
        self._process.wait()
        self._process.stdout.close()

    def _ask(self, question: dict) -> int | None:
        self._process.stdin.write(json.dumps(question) + "\n")
        self._process.stdin.flush()
        return json.loads(self._process.stdout.readline())


def _child(question: dict, begun: int) -> None:
    """Become a command; say so by closing a descriptor, once it can be told from others and heard."""
    os.setsid()
    signal.signal(signal.SIGINT, signal.default_int_handler)  # whatever the test's own shell does with it
    said = os.open(question["said"], os.O_WRONLY | os.O_CREAT | os.O_APPEND)
    nothing = os.open(os.devnull, os.O_RDONLY)
    for target, source in ((0, nothing), (1, said), (2, said)):
        os.dup2(source, target)
    os.close(begun)
    os.environ.update(json.loads(question.get("environment", "{}")))
    dying.arrange()
    import benchmark.job
    import run_all

    if "counted" in question:
        whole = benchmark.job.run_fit

        def counting(run, spec, *arguments):
            with open(question["counted"], "a") as file:
                file.write(f"{spec.path()}\n")
            return whole(run, spec, *arguments)

        benchmark.job.run_fit = counting
    if "term_in" in question:
        module, _, name = question["term_in"].partition(":")
        place = sys.modules[module]
        inner = getattr(place, name)

        def ending(*arguments, **options):
            os.kill(os.getpid(), signal.SIGTERM)
            return inner(*arguments, **options)

        setattr(place, name, ending)
    sys.exit(run_all.main(question["arguments"]))


def _serve() -> None:
    import sklearn.ensemble  # noqa: F401
    import timm  # noqa: F401
    import torch._dynamo  # noqa: F401  # these would be imported by the first fit of each command

    import benchmark.job  # noqa: F401  # makes fits: run_all imports it when there are some to make
    import run_all  # noqa: F401

    print("ready", flush=True)
    for line in iter(sys.stdin.readline, ""):
        question = json.loads(line)
        if "poll" in question:
            pid, status = os.waitpid(question["poll"], os.WNOHANG)
            print(json.dumps(os.waitstatus_to_exitcode(status) if pid else None), flush=True)
            continue
        has_begun, begun = os.pipe()
        pid = os.fork()
        if pid == 0:
            os.close(has_begun)
            _child(question, begun)
        os.close(begun)
        os.read(has_begun, 1)  # nothing comes, and then the end
        os.close(has_begun)
        print(pid, flush=True)


if __name__ == "__main__":
    _serve()
elif __name__ == "__mp_main__":  # in a worker
    dying.arrange()
