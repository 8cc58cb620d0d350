"""One fit as it travels to a worker, wherever that is."""

import pickle
from dataclasses import dataclass
from pathlib import Path

import torch

from benchmark import plugins
from benchmark.contracts import InputError, Row
from benchmark.devices import answering, worker_device
from benchmark.identity import code_of, fit_key
from benchmark.records import FitSpec
from benchmark.run import Run
from benchmark.runner import Setup, run_fit


@dataclass(frozen=True)
class Job:
    """A fit, and the plugins that must be loaded before the rest of it can be unpacked."""

    plugins: tuple[Path, ...]
    spec: FitSpec
    key: str
    packed: bytes

    def run(self) -> str:
        """Make the fit, in whatever process; return the status of its record.

        Raises:
            InputError: This process has other code than the one that planned the run.
            Unfit: The device that is this worker's does not answer.
        """
        plugins.load(self.plugins)
        folder, identity, row, data, preset, device, extras = pickle.loads(self.packed)
        if fit_key(identity, row, _code_here(row), preset.text_tower.weights) != self.key:
            raise InputError(
                f"the code of {row.title} was changed while the run was under way; what is finished is kept, run the "
                "same command again"
            )
        place = torch.device(worker_device(device))
        setup = Setup(preset, answering(place) if row.method else place, self.key, extras)
        return run_fit(Run(folder, identity), self.spec, row, data, setup).status


_CODE: dict[object, str] = {}


def _code_here(row: Row) -> str:
    """Return the hash of a row's code as it was when this process first needed it, which is what the process runs."""
    if row.make not in _CODE:
        _CODE[row.make] = code_of(row)
    return _CODE[row.make]
