"""A run: the folder of fits that share one identity. A record on disk is the truth; what is not there was not done.

It holds `run.json` (what makes its fits comparable), `fits/<label set>/<row>/fold<f>-seed<s>.json`, one file a fit,
beside it `fold<f>-seed<s>.safetensors` where the fit's weights are kept, and `aside/`, what could not be used.
`run.json` says finished once every fit that was asked for has its record, and not before. A call adds to a run and
takes nothing away: protocols that were asked for once stay its own.
"""

import os
import re
from collections.abc import Iterable
from contextlib import suppress
from dataclasses import fields
from dataclasses import replace as changed
from pathlib import Path

from benchmark.contracts import InputError, Protocol, TextWeights
from benchmark.files import sha256, write_atomically
from benchmark.identity import Identity
from benchmark.records import FitRecord, FitSpec, Unusable, is_plain
from benchmark.runfile import DIGITS, RunFile, RunMetadata, another, differing, load, refuse

_MEANS = {
    "cohort": ": the nodules, their voxels or what is known of them",
    "fold_assignment": ": another nodule in some fold",
}


class Run:
    """A folder of fits that share one identity: cohort, labels, folds, recipe, encoder, text tower and settings.

    Opening a folder whose identity differs raises InputError and changes nothing: results of two cohorts or
    recipes never mix.
    """

    def __init__(self, folder: Path, identity: Identity) -> None:
        self.folder = folder
        self.identity = identity
        self._file = folder / "run.json"
        if not self._file.exists():
            self._refuse_strangers()
            return
        stored = load(self._file).identity
        for name in (f.name for f in fields(Identity)):
            there, now = getattr(stored, name), getattr(identity, name)
            if there != now:
                raise InputError(
                    f"{folder} holds a run with {another(name)}{_MEANS.get(name, '')} "
                    f"({differing(there, now)}); "
                    "give another folder with --out, or move that one away"
                )

    def _refuse_strangers(self) -> None:
        """See that the fits of a folder whose run.json was lost are of this run, so that it can be written anew."""
        for spec in self.specs():
            try:
                record = FitRecord.from_bytes(self.path(spec).read_bytes())
            except Unusable:  # made anew in any case
                continue
            if record.identity != self.identity:
                raise InputError(
                    f"{self.folder} holds fits of another run and no run.json; give another folder with --out"
                )

    @classmethod
    def open(cls, folder: Path) -> "Run":
        """Return the run that a folder holds, whatever its identity.

        Raises:
            InputError: It holds none, or a damaged one.
        """
        if not (folder / "run.json").is_file():
            raise InputError(
                f"{folder} holds no run.json; give the folder of a run, such as results/runs/quick-phantom-published"
            )
        return cls(folder, load(folder / "run.json").identity)

    def start(
        self,
        command: str,
        metadata: RunMetadata,
        protocols: Iterable[Protocol] = (),
        text_weights: TextWeights | None = None,
    ) -> None:
        """Write run.json, adding this command to those that the folder has seen; the run is unfinished again.

        Raises:
            InputError: The run's rows that read text were made with other weights.
        """
        commands = load(self._file).commands if self._file.exists() else []
        self._write(
            RunFile(
                self.identity,
                metadata,
                [*commands, command],
                self.with_earlier(protocols),
                text_weights=self.text_weights(text_weights),
                files=load(self._file).files if self._file.exists() else {},
            )
        )

    def finish(self, protocols: Iterable[Protocol], text_weights: TextWeights | None = None) -> None:
        """Note that every fit asked for has its record, and the protocols by which to score them."""
        weights = self.text_weights(text_weights)
        self._write(
            changed(load(self._file), protocols=self.with_earlier(protocols), finished=True, text_weights=weights)
        )

    def with_earlier(self, protocols: Iterable[Protocol]) -> list[Protocol]:
        """Return the protocols with those that earlier calls asked for."""
        earlier = load(self._file).protocols if self._file.exists() else []
        return sorted({p.key: p for p in (*earlier, *protocols)}.values(), key=lambda protocol: protocol.key)

    def text_weights(self, now: TextWeights | None = None) -> TextWeights | None:
        """Return what the rows that read text are made with: what the run began with, else what there is now.

        Raises:
            InputError: These are two.
        """
        begun = load(self._file).text_weights if self._file.exists() else None
        if begun is None or now is None:
            return begun or now
        if begun.sha256 != now.sha256:
            raise InputError(
                f"{self.folder} holds a run whose text tower has {begun.title}, hash {begun.sha256[:DIGITS]}, and "
                f"those given have {now.sha256[:DIGITS]}; give the same file, or another folder with --out"
            )
        return now if now.published else begun

    def keep(self, name: str, content: bytes) -> None:
        """Put a file beside run.json, which notes its hash; `lacks` and whoever reads it see any damage.

        Args:
            name: Of the file.
            content: All of it.
        """
        write_atomically(self.folder / name, content)
        there = load(self._file)
        self._write(changed(there, files={**there.files, name: sha256(content)}))

    def lacks(self, name: str) -> bool:
        """Say whether a file that was kept is missing or damaged, or run.json itself is missing."""
        if not self._file.exists():
            return True
        noted = load(self._file).files.get(name)
        path = self.folder / name
        return noted is not None and not (path.is_file() and sha256(path.read_bytes()) == noted)

    def metadata(self) -> RunMetadata:
        """Return what was noted when the run was last started."""
        return load(self._file).metadata

    def protocols(self) -> list[Protocol]:
        """Return the protocols by which to score a finished run.

        Raises:
            InputError: The run is not finished.
        """
        content = load(self._file)
        if not content.finished:
            command = content.commands[-1] if content.commands else "the command that made it"
            raise InputError(f"{self._file} does not say finished, so the run is half done; finish it with: {command}")
        return content.protocols

    def specs(self) -> list[FitSpec]:
        """Return the fits that have a record, in the order of their paths.

        Raises:
            InputError: The folder of the fits cannot be read.
        """
        found = []
        for folder, _, files in os.walk(self.folder / "fits", onerror=_refuse_unless_missing, followlinks=True):
            names = Path(folder).relative_to(self.folder / "fits").parts
            if len(names) != 2 or not all(map(is_plain, names)):
                continue
            matches = [re.fullmatch(r"fold(\d+)-seed(\d+)\.json", name) for name in files]
            found += [FitSpec(*names, int(match[1]), int(match[2])) for match in matches if match]
        return sorted(found, key=lambda spec: spec.path())

    def path(self, spec: FitSpec) -> Path:
        """Return where a fit's record stands, or will."""
        return self.folder / "fits" / spec.path()

    def weights_path(self, spec: FitSpec) -> Path:
        """Return where a fit's weights stand, if they are kept: beside its record."""
        return self.path(spec).with_suffix(".safetensors")

    def checkpoint_path(self, spec: FitSpec) -> Path:
        """Return where a fit that is under way leaves what it can go on from: beside where its record will be."""
        return self.path(spec).with_suffix(".checkpoint")

    def write(self, record: FitRecord, weights: bytes | None = None) -> None:
        """Put a record in its place, its weights before it: a record never names a file that is not there yet.

        Args:
            record: Of the fit.
            weights: What `weights.pack` made of it; None removes what an earlier training of the fit left there.
        """
        if weights is None:
            self.weights_path(record.spec).unlink(missing_ok=True)
        else:
            write_atomically(self.weights_path(record.spec), weights)
        write_atomically(self.path(record.spec), record.to_bytes())

    def read(self, spec: FitSpec, key: str | None = None, data: str | None = None) -> FitRecord | None:
        """Return a fit's record, or None where there is none.

        Args:
            spec: Which fit.
            key: What its key must be; None takes any.
            data: What the digest of its fold data must be; None takes any.

        Raises:
            Unusable: The file is damaged or edited, belongs to another run or fit, or was made by other code.
            InputError: It cannot be read.
        """
        try:
            content = self.path(spec).read_bytes()
        except FileNotFoundError:
            return None
        except OSError as error:
            refuse(error)
        record = FitRecord.from_bytes(content)
        if record.spec != spec or record.identity != self.identity:
            raise Unusable("of another run or fit")
        if key not in (None, record.key):
            raise Unusable("made by other code or settings of its row")
        if data not in (None, record.data):
            raise Unusable("made from other nodules or labels")
        return changed(record, identity=self.identity)  # one object for thousands of records

    def set_aside(self, spec: FitSpec) -> Path | None:
        """Move a record that cannot be used away, its weights with it; return where to, None if another was first."""
        path, name = self.path(spec), "-".join(spec.path().with_suffix("").parts)
        try:
            kept = self.folder / "aside" / f"{name}-{sha256(path.read_bytes())[:8]}.json"
            kept.parent.mkdir(exist_ok=True)
            with suppress(FileNotFoundError):  # none were kept, or the other command has moved them
                self.weights_path(spec).replace(kept.with_suffix(".safetensors"))
            return path.replace(kept)
        except FileNotFoundError:
            return None

    def _write(self, content: RunFile) -> None:
        write_atomically(self._file, content.to_bytes())


def _refuse_unless_missing(error: OSError) -> None:
    if not isinstance(error, FileNotFoundError):  # what is not there was not done
        refuse(error)
