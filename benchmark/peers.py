"""Whether the workers of somebody's scheduler have the code and the torch of this command."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cache
from typing import TypeVar

from benchmark.contracts import InputError
from benchmark.dispatch import Unfit
from benchmark.files import code_hash
from benchmark.identity import ROOT, commit

_DIGITS = 12
Job = TypeVar("Job")
Result = TypeVar("Result")


@dataclass(frozen=True)
class Version:
    """What results may differ by between two processes.

    Attributes:
        code: Hash of the code that makes fits, by its syntax.
        commit: Git commit of its checkout, as far as git can tell.
        torch: Version.
    """

    code: str
    commit: str
    torch: str

    def text(self) -> str:
        """Name it."""
        of = f" (commit {self.commit[:_DIGITS]})" if self.commit else ""
        return f"code {self.code[:_DIGITS]}{of} and torch {self.torch}"


@cache
def here() -> Version:
    """Return the version of this process: of the code as it was when this was first asked."""
    import torch  # here: nobody else is asked for it where fits are made on this machine

    files = [
        file for folder in ("benchmark", "benchmark/contracts", "methods") for file in (ROOT / folder).glob("*.py")
    ]
    return Version(code_hash(sorted(files)), commit(), str(torch.__version__))


def refuse_others(workers: Mapping[str, Version], where: str) -> None:
    """See that all workers have this command's version.

    Args:
        workers: Versions, by address.
        where: Names the scheduler.

    Raises:
        InputError: One has another; says both.
    """
    for address, version in workers.items():
        if refusal := _refusal(here(), version, f"the worker {address} of {where}"):
            raise InputError(refusal)


def checked(own: Version, work: Callable[[Job], Result], job: Job) -> Result:
    """Do a job in a worker that has the version of the command, also where it joined after the work had begun.

    Raises:
        Unfit: It has another; says both.
    """
    from benchmark import devices  # here: in the worker, which needs torch anyway

    if refusal := _refusal(own, here(), f"the worker {devices.here()}"):
        raise Unfit(refusal, devices.here(), replaceable=False)
    return work(job)


def _refusal(own: Version, version: Version, worker: str) -> str:
    """Say that a worker's version is not the command's; nothing where it is."""
    if (version.code, version.torch) == (own.code, own.torch):
        return ""
    return (
        f"{worker} has {version.text()}, this command {own.text()}: start workers from this checkout, in this "
        "environment"
    )
