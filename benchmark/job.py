"""One fit as it travels to a worker, wherever that is."""

import pickle
import secrets
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import torch

from benchmark import claims, plugins
from benchmark.claims import PATIENCE_S, Claim, claimed
from benchmark.contracts import FoldData, InputError, Row
from benchmark.devices import answering, here, worker_device
from benchmark.dispatch import Lost
from benchmark.executor import execute
from benchmark.files import stamp
from benchmark.identity import code_of, fit_key
from benchmark.means import Means
from benchmark.records import FitSpec, Unusable
from benchmark.run import Run
from benchmark.runner import Setup, failure, run_fit


@dataclass(frozen=True)
class Job:
    """A fit, and the plugins that must be loaded before the rest of it can be unpacked.

    Attributes:
        plugins: Files.
        spec: Which fit.
        key: Of its record.
        packed: All that it is made of.
        seen: `files.stamp` of its record when that was planned.
        driver: Names the command that asks for it.
        patience_s: How long it may give no sign of work.
    """

    plugins: tuple[Path, ...]
    spec: FitSpec
    key: str
    packed: bytes
    seen: tuple[int, int] | None = None
    driver: str = ""
    patience_s: float = PATIENCE_S

    def run(self) -> str:
        """Make the fit, in whatever process; return the status of its record.

        A record that came since this command was planned is taken as it is: another has made the fit, or tried to.

        Raises:
            InputError: This process has other code than the one that planned the run.
            Unfit: The device that is this worker's does not answer.
            Taken: Another process is making the fit.
        """
        plugins.load(self.plugins)
        folder, identity, row, data, preset, device, extras = pickle.loads(self.packed)
        if fit_key(identity, row, _code_here(row), preset.text_tower.weights) != self.key:
            raise InputError(
                f"the code of {row.title} was changed while the run was under way; what is finished is kept, run the "
                "same command again"
            )
        run = Run(folder, identity)
        with claimed(folder, Claim(self.spec.path().as_posix(), self.driver, here(), self.patience_s)):
            if (status := self._came_since(run, data)) is not None:
                return status
            place = torch.device(worker_device(device))
            setup = Setup(preset, place if row.reference else answering(place), self.key, extras)
            return run_fit(run, self.spec, row, data, setup).status

    def give_up(self, why: str) -> str:
        """Write down that the fit failed where it could not tell so itself; return the status of its record."""
        folder, identity, row, data, preset, _, extras = pickle.loads(self.packed)
        run = Run(folder, identity)
        if (status := self._came_since(run, data)) is not None:
            return status
        record = failure(run, self.spec, row, data, Setup(preset, torch.device("cpu"), self.key, extras), why)
        run.write(record)
        return record.status

    def _came_since(self, run: Run, data: FoldData) -> str | None:
        if stamp(run.path(self.spec)) == self.seen:
            return None
        try:
            record = run.read(self.spec, self.key, data.digest)
        except Unusable:
            return None
        return None if record is None else record.status


def make(jobs: Sequence[Job], run: Path, means: Means) -> Iterator[tuple[FitSpec, str]]:
    """Make fits, each by one process of this or another command; yield each with the status of its record.

    Args:
        jobs: Those to make.
        run: The run's folder.
        means: What makes them.

    Raises:
        InputError: The scheduler or its workers are not there, or are lost.
    """
    driver = secrets.token_hex(8)
    jobs = [replace(job, driver=driver, patience_s=means.patience_s) for job in jobs]

    def hung(going: Iterable[Job]) -> dict[Job, str]:
        late = claims.overdue(run, driver)
        return {job: late[fit] for job in going if (fit := job.spec.path().as_posix()) in late}

    try:
        for job, status in execute(
            Job.run, jobs, workers=means.workers, scheduler=means.scheduler, slurm=means.slurm, watch=hung
        ):
            yield job.spec, job.give_up(status.why) if isinstance(status, Lost) else status
    finally:
        claims.sweep(run, driver)  # what workers held that died, or were ended


_CODE: dict[object, str] = {}


def _code_here(row: Row) -> str:
    """Return the hash of a row's code as it was when this process first needed it, which is what the process runs."""
    if row.make not in _CODE:
        _CODE[row.make] = code_of(row)
    return _CODE[row.make]
