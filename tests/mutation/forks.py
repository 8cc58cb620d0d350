"""Runs tests on changed copies of the tree, without paying for the libraries' import each time.

This process imports the libraries but never the project, then forks a child per trial. A child has a copy of the
tree of its own, in which one file's text is replaced before anything is imported: processes that the tests start see
the change too, and nothing that a trial writes (byte code, caches, figures) reaches another trial or the working tree.
"""

import contextlib
import gc
import importlib
import os
import resource
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from enum import Enum
from pathlib import Path
from types import ModuleType, TracebackType

LIMIT_S = 60.0
_POLL_S = 0.02
_MEMORY = 8 << 30  # bytes a child may allocate: a mutant that grows without end fails instead of taking the machine
_THREADS = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS")
_LIBRARIES = (
    "numpy",
    "scipy.stats",
    "scipy.ndimage",
    "sklearn.model_selection",
    "sklearn.metrics",
    "torch",
    "timm",
    "open_clip",
    "coral_pytorch",
    "distributed",
    "matplotlib.pyplot",
    "pydicom",
    "rich",
    "tabulate",
    "jaxtyping",
    "beartype",
    "hypothesis",
    "hypothesis.strategies",
    "pytest",
)
_OPTIONS = (
    "-x",
    "-q",
    "-p",
    "no:cacheprovider",
    "-p",
    "no:randomly",  # where it is installed: a mutant's fate is no matter of order
    "--hypothesis-profile=ci",  # of tests/conftest.py: derandomised, and so without a database
    "-W",
    "ignore::pytest.PytestAssertRewriteWarning",  # of plugins that the parent has imported
)


class Refused(Exception):
    """A run that cannot be done; the reason in one sentence."""


class Verdict(Enum):
    """What the tests said of a trial."""

    PASSED = "passed"
    FAILED = "failed"
    TIMEOUT = "timeout"


@dataclass(frozen=True)
class Trial:
    """A run of tests on the tree with the text of one file replaced; without a file, on the tree as it is."""

    name: str
    tests: tuple[str, ...]
    file: str = ""
    text: str = ""
    limit_s: float = LIMIT_S


@dataclass(frozen=True)
class Outcome:
    """A trial's verdict, its seconds and what pytest printed."""

    trial: Trial
    verdict: Verdict
    seconds: float
    output: str


@dataclass(frozen=True)
class _Running:
    trial: Trial
    box: Path
    started: float


class Nursery:
    """Copies of the tree and the children that test them, `jobs` at a time.

    Args:
        root: The working tree; its tracked and not ignored files are copied once, at the start.
        jobs: Children at a time, each of one thread.
    """

    def __init__(self, root: Path, jobs: int) -> None:
        self._root = root
        self._jobs = jobs
        self._folder = Path()
        self._count = 0

    def __enter__(self) -> "Nursery":
        os.environ.update(dict.fromkeys(_THREADS, "1"))
        for name in [name for name in os.environ if name.startswith("GIT_")]:
            del os.environ[name]  # in a git hook they would turn the commit below upon the user's repository
        for name in _LIBRARIES:
            importlib.import_module(name)
        self._folder = Path(tempfile.mkdtemp(prefix="mutation-"))
        listing = _git(self._root, "ls-files", "-z", "--cached", "--others", "--exclude-standard")
        tree = self._folder / "tree"
        for name in filter(None, listing.split("\0")):
            if (source := self._root / name).is_file():
                (tree / name).parent.mkdir(parents=True, exist_ok=True)
                shutil.copy2(source, tree / name)
        # A checkout, for tests that ask git; its repository stands outside, and the copies share it.
        _git(tree, "init", "--quiet", f"--separate-git-dir={self._folder / 'repository'}")
        _git(tree, "add", "--all")
        _git(
            tree, "-c", "user.name=mutation", "-c", "user.email=", "commit", "--quiet", "--no-verify", "--message=tree"
        )
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        shutil.rmtree(self._folder, ignore_errors=True)

    def warm(self, tests: Iterable[str]) -> None:
        """Leave byte code of the project and of `tests` in the tree that trials copy; no test is run."""
        pid = _fork(self._folder, ["--collect-only", *tests], bytecode=True)
        os.waitpid(pid, 0)

    def run(self, trials: Iterable[Trial]) -> Iterator[Outcome]:
        """Yield the outcomes in the order in which they come; `trials` are taken as children become free."""
        waiting = iter(trials)
        running: dict[int, _Running] = {}
        try:
            while True:
                while len(running) < self._jobs and (trial := next(waiting, None)):
                    box = self._box(trial)
                    running[_fork(box, trial.tests)] = _Running(trial, box, time.monotonic())
                if not running:
                    return
                time.sleep(_POLL_S)
                for pid, child in list(running.items()):
                    ended, status = os.waitpid(pid, os.WNOHANG)
                    seconds = time.monotonic() - child.started
                    if not ended and seconds < child.trial.limit_s:
                        continue
                    del running[pid]
                    _kill(pid)
                    if not ended:
                        os.waitpid(pid, 0)
                        verdict = Verdict.TIMEOUT
                    else:
                        verdict = Verdict.PASSED if status == 0 else Verdict.FAILED
                    output = (child.box / "output.txt").read_text("utf-8", errors="replace")
                    shutil.rmtree(child.box, ignore_errors=True)
                    yield Outcome(child.trial, verdict, seconds, output)
        finally:
            for pid in running:
                _kill(pid)
                os.waitpid(pid, 0)

    def _box(self, trial: Trial) -> Path:
        self._count += 1
        box = self._folder / str(self._count)
        shutil.copytree(self._folder / "tree", box / "tree")
        if trial.file:
            changed = box / "tree" / trial.file
            for stale in (changed.parent / "__pycache__").glob(f"{changed.stem}.*"):
                stale.unlink()
            changed.write_text(trial.text, encoding="utf-8")
        return box


def _git(folder: Path, *arguments: str) -> str:
    return subprocess.run(["git", *arguments], cwd=folder, capture_output=True, check=True, text=True).stdout


def _kill(pid: int) -> None:
    """End a child with every process that it started."""
    with contextlib.suppress(ProcessLookupError):
        os.killpg(pid, signal.SIGKILL)


def _fork(box: Path, arguments: Sequence[str], bytecode: bool = False) -> int:
    """Start pytest on the tree in `box`, in a child that leads a process group; return its number."""
    pid = os.fork()
    if pid:
        with contextlib.suppress(PermissionError, ProcessLookupError):
            os.setpgid(pid, pid)  # here and in the child: whichever comes first
        return pid
    code = 1
    try:
        os.setpgid(0, 0)
        signal.signal(signal.SIGTERM, signal.SIG_DFL)
        resource.setrlimit(resource.RLIMIT_DATA, (_MEMORY, _MEMORY))
        code = _test(box, arguments, bytecode)
    finally:
        os._exit(code)


def _test(box: Path, arguments: Sequence[str], bytecode: bool) -> int:
    import pytest

    gc.freeze()  # pytest and hypothesis collect garbage again and again: not among the libraries' million objects
    output = os.open(box / "output.txt", os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
    os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
    os.dup2(output, 1)
    os.dup2(output, 2)
    (box / "temporary").mkdir(exist_ok=True)
    os.environ["TMPDIR"] = tempfile.tempdir = str(box / "temporary")
    sys.dont_write_bytecode = not bytecode
    if not bytecode:
        os.environ["PYTHONDONTWRITEBYTECODE"] = "1"
    os.chdir(box / "tree")
    sys.path.remove(str(Path(__file__).parent))
    sys.modules["__main__"] = ModuleType("__main__")  # what a spawned process would import again
    code = int(pytest.main([*_OPTIONS, f"--basetemp={box / 'temporary' / 'pytest'}", *arguments]))
    sys.stdout.flush()
    sys.stderr.flush()
    return code
