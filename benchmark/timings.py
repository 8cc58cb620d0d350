"""What fits took on this machine, kept in the work folder under a seal, and what others will take by that.

A fit's time is known from the last profile or run of the same settings: machine, nodules, recipe, encoder, text tower.
Hyperparameters of a row changed by hand count as its own.
"""

import platform
import statistics
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated, Literal, TypeAlias

import msgspec
from msgspec import Meta

from benchmark import torchbuild
from benchmark.files import sealed, sha256, unsealed, write_atomically
from benchmark.forecast import Forecast, duration
from benchmark.identity import without_file
from benchmark.recipe import Preset
from benchmark.records import FitSpec, Found

Seconds: TypeAlias = Annotated[float, Meta(ge=0)]
FILE, FORMAT = "timings.json", 1


@dataclass(frozen=True)
class Machine:
    """Where fits were timed, without any name of its own.

    Attributes:
        device: `"cpu"`, `"mps"`, or the GPU's model.
        processor: Its model.
        threads: Of a fit.
        torch: Version.
    """

    device: str
    processor: str
    threads: int
    torch: str


def machine(device: str) -> Machine:
    """Return what this machine is, as fits on a device see it."""
    return Machine(_name(device), processor(), 1, torchbuild.version())


def _name(device: str) -> str:
    if not (device.startswith("cuda") and torchbuild.may_have_cards()):
        return device
    import torch  # here: for the name of a card alone

    has_cuda = torch.cuda.is_available()  # a cluster's login node may have none
    return torch.cuda.get_device_name(device) if has_cuda else device


def processor(cpuinfo: Path = Path("/proc/cpuinfo")) -> str:
    """Return the processor's model."""
    lines = cpuinfo.read_text(errors="replace").splitlines() if cpuinfo.is_file() else []
    models = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return models[0] if models else platform.processor() or platform.machine()


@dataclass(frozen=True)
class FitTime:
    """What a fit of a row takes.

    Attributes:
        seconds: All of it.
        by: What it was measured by.
        when: Moment, in UTC.
        step_s: A training step, where it was profiled.
        evaluation_s: Predicting a nodule, where it was profiled.
    """

    seconds: Seconds
    by: Literal["profile", "run"]
    when: str
    step_s: Seconds | None = None
    evaluation_s: Seconds | None = None


@dataclass(frozen=True)
class Kept:
    """What is known of one machine and one way to make fits.

    Attributes:
        machine: Where.
        preset: Its name, for people.
        start_s: From the start of workers until they have all loaded what fits share.
        fits: By label set and row.
    """

    machine: Machine
    preset: str
    start_s: Seconds = 0.0
    fits: dict[str, dict[str, FitTime]] = field(default_factory=dict)


@dataclass(frozen=True)
class _Content:
    format: int
    kept: dict[str, Kept]


class Timings:
    """What is known of the fits of one way to make them on this machine, read from and written to a file."""

    def __init__(
        self, work: Path, device: str, preset: tuple[str, Preset], nodules: Sequence[str], workers: int
    ) -> None:
        """Look at the file.

        Args:
            work: The folder that the file is in, if it is there.
            device: As torch names it.
            preset: Name and settings.
            nodules: What else decides how many there are: source, label rule, prepared file.
            workers: Processes that make fits.
        """
        name, settings = preset
        parts = settings.recipe, settings.encoder, without_file(settings.text_tower), settings.folds, settings.nodules
        here = machine(device)
        self.work, self.file, self.workers = work, work / FILE, workers
        self.key = sha256(msgspec.json.encode([here, *parts, *nodules], order="sorted"))[:16]
        self._content, self.fault = _read(self.file)
        self.kept = self._content.kept.get(self.key, Kept(here, name))

    def known(self, specs: Iterable[FitSpec]) -> dict[FitSpec, FitTime]:
        """Return those fits of which a time is known."""
        fits = self.kept.fits
        return {spec: time for spec in specs if (time := fits.get(spec.label_set, {}).get(spec.method))}

    def forecast(self, specs: Sequence[FitSpec]) -> Forecast | None:
        """Return how long fits will take; those of which nothing is known as long as the others in the mean.

        None where nothing is known of any.
        """
        known = self.known(specs)
        if not known:
            return None
        mean = statistics.fmean(time.seconds for time in known.values())
        seconds = tuple(known[spec].seconds if spec in known else mean for spec in specs)
        return Forecast(seconds, self.workers, self.kept.start_s)

    def sentences(self, specs: Sequence[FitSpec]) -> list[str]:
        """Say how long fits will take, what that rests on, and why it is not known where it is not."""
        told = [self.fault] * bool(self.fault)
        known, forecast = self.known(specs), self.forecast(specs)
        if not specs:
            return told
        if forecast is None:
            how = "python -m benchmark profile, with the same options, measures it"
            return [*told, f"How long that takes, no profile and no run on this machine has told yet: {how}."]
        total, here = forecast.total_s, self.kept.machine
        latest = max(known.values(), key=lambda time: time.when)
        place = here.processor if here.device == "cpu" else f"{here.device}, {here.processor}"
        rest = len(specs) - len(known)
        guessed = f" {rest} of the fits were never timed and count as the others' mean." if rest else ""
        said = f"{total:.0f} s" if total < 90 else duration(total)
        source = f"by the {latest.by} of {latest.when[:10]} on this machine ({place})"
        sentence = f"That takes about {said} with {_workers(self.workers)}, {source}; preparing nodules is not counted."
        return [*told, sentence + guessed]

    def add(self, fits: Mapping[tuple[str, str], FitTime], start_s: float | None = None) -> list[str]:
        """Keep what was measured now, by label set and row, in place of what was known; return what went wrong."""
        if not fits:
            return []
        merged = {label_set: dict(rows) for label_set, rows in self.kept.fits.items()}
        for (label_set, row), time in fits.items():
            merged.setdefault(label_set, {})[row] = time
        self.kept = replace(self.kept, fits=merged, start_s=self.kept.start_s if start_s is None else start_s)
        content, _ = _read(self.file)  # as it is now: another command may have written since
        content.kept[self.key] = self.kept
        try:
            write_atomically(self.file, sealed(msgspec.json.format(msgspec.json.encode(content))))
        except OSError as error:
            return [f"the times of these fits are not kept: {self.file} cannot be written ({error.strerror})"]
        return [self.fault] * bool(self.fault)

    def learn(self, found: Found, made: Iterable[FitSpec]) -> list[str]:
        """Keep what the fits of a run took, the median of each row's; return what went wrong."""
        seconds = defaultdict[tuple[str, str], list[float]](list)
        for spec in made:
            if (record := found.get(spec)) is not None and record.status == "done":
                seconds[spec.label_set, spec.method].append(record.metadata.seconds)
        when = now()
        return self.add({name: FitTime(statistics.median(of), "run", when) for name, of in seconds.items()})


def _workers(number: int) -> str:
    return "no worker but this process" if number == 0 else f"{number} worker" + "s" * (number > 1)


def now() -> str:
    """Return the time in UTC, to the second."""
    return datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def _read(file: Path) -> tuple[_Content, str]:
    """Return what a file holds, or nothing and why it is not used."""
    try:
        content = msgspec.json.decode(unsealed(file.read_bytes()), type=_Content)
        if content.format == FORMAT:
            return content, ""
        why = f"of another version of this suite: format {content.format}, not {FORMAT}"
    except FileNotFoundError:
        return _Content(FORMAT, {}), ""
    except OSError as error:
        why = f"cannot be read ({error.strerror})"
    except (ValueError, RecursionError) as error:
        why = f"damaged, or of another version of this suite ({error})"
    return _Content(FORMAT, {}), f"the times kept in {file} are not used: it is {why}"
