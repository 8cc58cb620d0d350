"""All fits of a run: names them, reads the records that are there, and makes those that are missing."""

import pickle
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING

from benchmark.contracts import FoldData, InputError, Protocol, Row, TextTowerSpec, TextWeights, Unsupported
from benchmark.extras import NOTHING, Asked
from benchmark.files import stamp
from benchmark.identity import Identity, fit_key
from benchmark.kept import damaged
from benchmark.means import Means
from benchmark.recipe import Preset
from benchmark.records import FitSpec, Found, Unusable
from benchmark.run import Run

if TYPE_CHECKING:
    from benchmark.job import Job


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
        loaded: The text tower's weights, if this process has loaded them; else the run says what it began with.
        asked: What fits shall leave beside their probabilities.
    """

    folder: Path
    identity: Identity
    rows: Mapping[str, Row]
    data: Mapping[tuple[str, int], FoldData]
    specs: Sequence[FitSpec]
    preset: Preset
    device: str
    plugins: tuple[Path, ...] = ()
    loaded: TextWeights | None = None
    asked: Asked = NOTHING

    @cached_property
    def run(self) -> Run:
        """The run folder.

        Raises:
            InputError: It holds another run.
        """
        return Run(self.folder.resolve(), self.identity)

    @cached_property
    def text_weights(self) -> TextWeights | None:
        """What the rows that read text are made with.

        Raises:
            InputError: The run began with others than were loaded.
        """
        return self.run.text_weights(self.loaded)

    @cached_property
    def keys(self) -> dict[str, str]:
        """What each row's records must have been made by."""
        return {key: self._key(row) for key, row in self.rows.items()}

    def _key(self, row: Row) -> str:
        return fit_key(self.identity, row, weights=hash_of(self.text_weights))

    def with_tower(
        self, missing: Sequence[FitSpec], load: Callable[[TextTowerSpec], TextWeights | None]
    ) -> "Experiment":
        """Return the experiment with the text tower loaded, where a missing fit reads it or a file or folder was named.

        Raises:
            InputError: It cannot be loaded, or the run began with other weights.
        """
        named = is_at_hand(self.preset.text_tower)
        if not any(self.rows[key].reads_text for key in (self.rows if named else {s.method for s in missing})):
            return self
        made = replace(self, loaded=load(self.preset.text_tower))
        made.run.text_weights(made.loaded)
        return made

    def read(self) -> tuple[Found, dict[FitSpec, str]]:
        """Return every wanted fit's record, and why one that is there, or what was kept beside it, cannot be used."""
        digests = {name: data.digest for name, data in self.data.items()}
        found: Found = {}
        unusable = {}
        for spec in self.specs:
            try:
                found[spec] = self.run.read(spec, self.keys[spec.method], digests[spec.label_set, spec.fold])
            except Unusable as error:
                found[spec] = None
                unusable[spec] = str(error)
        unusable |= damaged(self.run, found)
        return found | dict.fromkeys(unusable), unusable

    def with_earlier(self, found: Found, known: Mapping[str, Row]) -> tuple[dict[str, Row], Found, list[str]]:
        """Add what earlier calls made in this folder, so that a call for less takes nothing out of the tables.

        Args:
            found: The wanted fits' records.
            known: All rows that there are, in table order.

        Returns:
            The rows that have a record, in table order; all records; and what to tell of those that cannot be used.
        """
        everything, left_out = dict(found), dict[FitSpec, str]()
        digests = {name: data.digest for name, data in self.data.items()}
        rows = {key: self.rows.get(key, row) for key, row in known.items()}
        for spec in [spec for spec in self.run.specs() if spec not in found]:
            digest = digests.get((spec.label_set, spec.fold))
            if spec.method not in rows or digest is None:
                left_out[spec] = "not known to this call; the row of a plugin wants its --plugin"
                continue
            try:
                everything[spec] = self.run.read(spec, self._key(rows[spec.method]), digest)
            except Unusable as error:
                left_out[spec] = f"{error}; name it with --methods to make it anew"
        there = {spec.method for spec in everything}
        told = [
            f"not in the tables: earlier fits of {', '.join(sorted({spec.method for spec in specs}))}, {reason}"
            for reason, specs in by_reason(left_out).items()
        ]
        return {key: row for key, row in rows.items() if key in there}, everything, told

    def train(self, missing: Sequence[FitSpec], means: Means, now: Callable[[int, int, str], None]) -> None:
        """Make fits; their records are the result.

        Args:
            missing: Which.
            means: By what.
            now: Called with the number done, their total and what is new.

        Raises:
            InputError: The scheduler or its workers are not there, or are lost.
        """
        now(0, len(missing), "starting")
        if not missing:
            return
        from benchmark.job import make  # here: with torch, which a finished run need not wait for

        for done, (spec, status) in enumerate(make(list(self._jobs(missing)), self.run.folder, means), start=1):
            now(done, len(missing), f"{spec.method} {spec.label_set} fold {spec.fold}: {status}")

    def check_settings(self) -> None:
        """Build every row whose hyperparameters were changed by hand, so that nonsense is said before any training.

        Raises:
            InputError: A method refuses its hyperparameters.
        """
        if not self.identity.settings:
            return
        from benchmark.runner import task_of  # here, as above

        for key in dict.fromkeys(name.partition(".")[0] for name in self.identity.settings):
            for data in {spec.label_set: self.data[spec.label_set, spec.fold] for spec in self.specs}.values():
                try:
                    self.rows[key].build(self.rows[key].sees(task_of(data, self.preset)))
                except Unsupported:  # its footnote says so
                    continue
                except (TypeError, ValueError) as error:
                    raise InputError(f"--set {key}: {error}") from error

    def set_aside(self, unusable: Mapping[FitSpec, str]) -> list[str]:
        """Move records that cannot be used out of the way; return what to tell of them, a sentence a reason.

        What another command has moved since, or has made anew, is its own to tell of.
        """
        still, told = self.read()[1] if unusable else {}, []
        for reason, specs in by_reason(unusable).items():
            kept = {spec: place for spec in specs if spec in still and (place := self.run.set_aside(spec))}
            if kept:
                first, place = next(iter(kept.items()))
                what = str(first.path()) if len(kept) == 1 else f"{len(kept)} records, {first.path()} first"
                told.append(f"set aside {what}: {reason}; kept in {place.parent}, made anew now")
        return told

    def _jobs(self, specs: Sequence[FitSpec]) -> "Iterator[Job]":
        from benchmark.job import Job

        extras = self.asked.extras(self.specs, self.rows, self.preset)
        preset = replace(self.preset, text_tower=replace(self.preset.text_tower, weights=hash_of(self.text_weights)))
        for spec in specs:
            row, data = self.rows[spec.method], self.data[spec.label_set, spec.fold]
            try:
                packed = pickle.dumps((self.run.folder, self.identity, row, data, preset, self.device, extras))
            except (pickle.PicklingError, AttributeError, TypeError) as error:
                where = "define its class at the top level of its file"
                raise InputError(f"the row {row.key} cannot travel to a worker ({error}): {where}") from error
            yield Job(self.plugins, spec, self.keys[row.key], packed, stamp(self.run.path(spec)))


def is_at_hand(tower: TextTowerSpec) -> bool:
    """Return whether a text tower was named as a file or folder, and so needs no hub."""
    return not (tower.path or "hf-hub:").startswith("hf-hub:")


def hash_of(weights: TextWeights | None) -> str:
    """Return the hash of a text tower's weights; empty where no file gave them."""
    return weights.sha256 if weights else ""


def by_reason(unusable: Mapping[FitSpec, str]) -> dict[str, list[FitSpec]]:
    """Group fits by why their records cannot be used."""
    grouped: dict[str, list[FitSpec]] = {}
    for spec, reason in unusable.items():
        grouped.setdefault(reason, []).append(spec)
    return grouped
