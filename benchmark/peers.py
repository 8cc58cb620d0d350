"""Whether the workers of somebody's scheduler have the code and the torch of this command."""

from collections.abc import Mapping
from dataclasses import dataclass

from benchmark.contracts import InputError
from benchmark.files import code_hash
from benchmark.identity import ROOT, commit

_DIGITS = 12


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


def here() -> Version:
    """Return the version of this process."""
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
    own = here()
    for address, version in workers.items():
        if (version.code, version.torch) != (own.code, own.torch):
            raise InputError(
                f"the worker {address} of {where} has {version.text()}, this command {own.text()}: start workers from "
                "this checkout, in this environment"
            )
