"""All fits of a run: names them, reads the records that are there, and makes those that are missing."""

import pickle
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path

import msgspec
import torch

from benchmark import plugins
from benchmark.contracts import FoldData, InputError, Protocol, Row, Unsupported
from benchmark.executor import execute, worker_device
from benchmark.identity import Identity, code_of, fit_key
from benchmark.recipe import Preset
from benchmark.records import FitSpec, Found, Unusable
from benchmark.run import Run
from benchmark.runner import Setup, run_fit, task_of


def name_fits(protocols: Sequence[Protocol], rows: Mapping[str, Row], folds: int, seeds: int) -> list[FitSpec]:
    """Return every fit that the tables need, references first; protocols with one label set share theirs.

    A reference has no weights to start, so it has one seed.
    """
    label_sets = list(dict.fromkeys(protocol.label_set for protocol in protocols))
    ordered = sorted(rows.values(), key=lambda row: row.kind != "reference")
    return [
        FitSpec(label_set, row.key, fold, seed)
        for row in ordered
        for label_set in label_sets
        for fold in range(folds)
        for seed in range(1 if row.kind == "reference" else seeds)
    ]


@dataclass(frozen=True)
class Job:
    """One fit as it travels to a worker: the plugins that must be loaded before the rest can be unpacked."""

    plugins: tuple[Path, ...]
    spec: FitSpec
    key: str
    packed: bytes

    def run(self) -> str:
        """Make the fit, in whatever process; return the status of its record.

        Raises:
            InputError: This process has other code than the one that planned the run.
        """
        plugins.load(self.plugins)
        folder, identity, row, data, preset, device = pickle.loads(self.packed)
        if fit_key(identity, row, _code_here(row)) != self.key:
            raise InputError(
                f"the code of {row.title} was changed while the run was under way; what is finished is kept, run the "
                "same command again"
            )
        setup = Setup(preset, torch.device(worker_device(device)), self.key)
        return run_fit(Run(folder, identity), self.spec, row, data, setup).status


_CODE: dict[object, str] = {}


def _code_here(row: Row) -> str:
    """Return the hash of a row's code as it was when this process first needed it, which is what the process runs."""
    if row.make not in _CODE:
        _CODE[row.make] = code_of(row)
    return _CODE[row.make]


@dataclass(frozen=True, eq=False)
class Experiment:
    """The fits of a run.

    Attributes:
        folder: The run's.
        identity: What all fits share.
        rows: What is made.
        data: What a fit is given, by label set and fold.
        specs: Every fit that is wanted.
        preset: How to train.
        device: `"cpu"`, `"cuda"`, `"cuda:1"`, `"mps"`.
        plugins: Files that define some of the rows.
    """

    folder: Path
    identity: Identity
    rows: Mapping[str, Row]
    data: Mapping[tuple[str, int], FoldData]
    specs: Sequence[FitSpec]
    preset: Preset
    device: str
    plugins: tuple[Path, ...] = ()

    @cached_property
    def run(self) -> Run:
        """The run folder.

        Raises:
            InputError: It holds another run.
        """
        return Run(self.folder.resolve(), self.identity)

    @cached_property
    def keys(self) -> dict[str, str]:
        """What each row's records must have been made by."""
        return {key: fit_key(self.identity, row) for key, row in self.rows.items()}

    def read(self) -> tuple[Found, dict[FitSpec, str]]:
        """Return every wanted fit's record, and why a record that is there cannot be used."""
        digests = {name: data.digest for name, data in self.data.items()}
        found: Found = {}
        unusable = {}
        for spec in self.specs:
            try:
                found[spec] = self.run.read(spec, self.keys[spec.method], digests[spec.label_set, spec.fold])
            except Unusable as error:
                found[spec] = None
                unusable[spec] = str(error)
        return found, unusable

    def train(
        self, missing: Sequence[FitSpec], workers: int, scheduler: str | None, now: Callable[[int, int, str], None]
    ) -> None:
        """Make fits; their records are the result.

        Args:
            missing: Which.
            workers: Local processes; 0 works in this one.
            scheduler: Address of a dask scheduler to work on instead.
            now: Called with the number done, their total and what is new.

        Raises:
            InputError: The scheduler or its workers are not there, or are lost.
        """
        now(0, len(missing), "starting")
        finished = execute(Job.run, list(self._jobs(missing)), workers=workers, scheduler=scheduler)
        for done, (job, status) in enumerate(finished, start=1):
            fit = f"{job.spec.method} {job.spec.label_set} fold {job.spec.fold}"
            now(done, len(missing), f"{fit}: {status or 'its workers died'}")

    def check_settings(self) -> None:
        """Build every row whose hyperparameters were changed by hand, so that nonsense is said before any training.

        Raises:
            InputError: A method refuses its hyperparameters.
        """
        for key in dict.fromkeys(name.partition(".")[0] for name in self.identity.settings):
            for data in {data.label_set: data for data in self.data.values()}.values():
                try:
                    self.rows[key].build(task_of(data, self.preset))
                except Unsupported:  # its footnote says so
                    continue
                except (TypeError, ValueError) as error:
                    raise InputError(f"--set {key}: {error}") from error

    def set_aside(self, unusable: Mapping[FitSpec, str]) -> list[str]:
        """Move records that cannot be used out of the way; return what to tell of them, a sentence a reason."""
        told = []
        for reason, specs in by_reason(unusable).items():
            kept = [self.run.set_aside(spec) for spec in specs]
            what = str(specs[0].path()) if len(specs) == 1 else f"{len(specs)} records, {specs[0].path()} first"
            told.append(f"set aside {what}: {reason}; kept in {kept[0].parent}, made anew now")
        return told

    def _jobs(self, specs: Sequence[FitSpec]) -> Iterator[Job]:
        for spec in specs:
            data = self.data[spec.label_set, spec.fold]
            row = self.rows[spec.method]
            content = self.run.folder, self.identity, row, data, self.preset, self.device
            try:
                packed = pickle.dumps(content)
            except (pickle.PicklingError, AttributeError, TypeError) as error:
                where = "define its class at the top level of its file"
                raise InputError(f"the row {row.key} cannot travel to a worker ({error}): {where}") from error
            yield Job(self.plugins, spec, self.keys[row.key], packed)


def done_fits(
    folder: Path, specs: Sequence[FitSpec], rows: Mapping[str, Row], preset: Preset, asked: Mapping[str, object]
) -> set[FitSpec]:
    """Return the fits whose results a folder holds, as far as can be told without the cohort; nothing is changed.

    Args:
        folder: Of the run.
        specs: Which fits.
        rows: What they are made of.
        preset: How they would be made.
        asked: What else the run's identity must be: source, label rule, preset's name, settings.

    Raises:
        InputError: The folder holds another run.
    """
    if not (folder / "run.json").exists():
        return set()
    stored = Run.open(folder).identity
    parts = {"recipe": preset.recipe, "encoder": preset.encoder, "folds": preset.folds}
    tower = replace(preset.text_tower, path=None)
    run = Run(folder, msgspec.convert(vars(stored) | parts | {"text_tower": tower} | dict(asked), Identity))
    keys = {key: fit_key(run.identity, row) for key, row in rows.items()}
    done = set()
    for spec in specs:
        try:
            record = run.read(spec, keys[spec.method])
        except Unusable:
            continue
        if record is not None and record.status != "failed":
            done.add(spec)
    return done


def by_reason(unusable: Mapping[FitSpec, str]) -> dict[str, list[FitSpec]]:
    """Group fits by why their records cannot be used."""
    grouped: dict[str, list[FitSpec]] = {}
    for spec, reason in unusable.items():
        grouped.setdefault(reason, []).append(spec)
    return grouped
