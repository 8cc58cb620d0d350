"""What a profile prints, and what it leaves in a file of figures."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

import msgspec
import rich.table
from rich import box
from rich.console import Console
from rich.markup import escape

from benchmark.contracts import InputError, Json
from benchmark.files import write_atomically
from benchmark.profile.measure import Profile
from benchmark.screen import say, show
from benchmark.timings import Machine

NOT_MEASURED = "not measured"
DEVICES = ("cpu", "cuda")
_GIGA, _MEBI = 1e9, 2**20


@dataclass(frozen=True)
class Report:
    """Everything that one profile found.

    Attributes:
        machine: Where.
        device: Kind of device: `"cpu"`, `"cuda"`, `"mps"`.
        preset: Name of the preset.
        when: Moment, in UTC.
        load: Processes that ran in the minute before, in the mean: other work; None where the system does not tell.
        peaks: FLOP/s of products of large matrices, by type of number.
        start_s: Starting the workers.
        workers: Their number.
        profiles: By row.
        failures: Why other rows have none.
        fit_s: Time of a fit, by label set and row.
        grid_s: Time of all fits that were asked for; None where there is none to make.
        grid: What these are, in words.
        versions: Of the packages.
    """

    machine: Machine
    device: str
    preset: str
    when: str
    load: float | None
    peaks: dict[str, float]
    start_s: float
    workers: int
    grid: str
    profiles: dict[str, Profile] = field(default_factory=dict)
    failures: dict[str, str] = field(default_factory=dict)
    fit_s: dict[str, dict[str, float]] = field(default_factory=dict)
    grid_s: float | None = None
    versions: dict[str, str] = field(default_factory=dict)

    def flops(self, profile: Profile) -> float:
        """Return the FLOP/s that a row's training reaches."""
        return profile.flop / profile.step_s

    def as_data(self) -> dict[str, Json]:
        """Return it for a file: machine and versions by model and number, no names of hosts or places."""
        rows: dict[str, Json] = {key: self._row(profile) for key, profile in self.profiles.items()}
        return {
            "measured": self.when,
            "load_before": NOT_MEASURED if self.load is None else round(self.load, 1),
            "machine": msgspec.to_builtins(self.machine),
            "versions": dict(self.versions),
            "matrix_product_gflop_per_s": {name: _rounded(peak / _GIGA) for name, peak in self.peaks.items()},
            "rows": rows | {key: f"{NOT_MEASURED}: {reason}" for key, reason in self.failures.items()},
            "fit_s": {name: {row: _rounded(s) for row, s in fits.items()} for name, fits in self.fit_s.items()},
            "grid": {
                "fits": self.grid,
                "workers": self.workers,
                "start_s": _rounded(self.start_s),
                "seconds": NOT_MEASURED if self.grid_s is None else _rounded(self.grid_s),
            },
        }

    def _row(self, profile: Profile) -> dict[str, Json]:
        memory = profile.memory_bytes
        return {
            "steps_per_s": _rounded(1 / profile.step_s),
            "shares_of_a_plain_step": {part: round(share, 4) for part, share in profile.shares.items()},
            "gflop_per_step": _rounded(profile.flop / _GIGA),
            "gflop_per_s": _rounded(self.flops(profile) / _GIGA),
            "peak_memory_mib": NOT_MEASURED if memory is None else round(memory / _MEBI),
            "evaluation_ms_per_nodule": _rounded(1000 * profile.evaluation_s),
            "build_s": _rounded(profile.build_s),
            "once_s": _rounded(profile.once_s),
        }


def _rounded(number: float) -> float:
    return float(f"{number:.4g}")


def print_report(console: Console, report: Report, titles: Mapping[str, str]) -> None:
    """Print a line a row, and what the columns are."""
    peak = max(report.peaks.values())
    table = rich.table.Table(box=box.SIMPLE_HEAD, pad_edge=False, padding=(0, 1, 0, 0))
    table.add_column("\nRow", overflow="fold")
    parts = list(dict.fromkeys(part for profile in report.profiles.values() for part in profile.shares))
    headings = ["steps /s", *parts, "GFLOP /s", "% of peak", "MiB"]
    for heading in headings:
        table.add_column(heading.replace(" ", "\n"), justify="right", vertical="bottom", no_wrap=True)
    for key, profile in report.profiles.items():
        memory = profile.memory_bytes
        cells = [f"{1 / profile.step_s:.3g}", *(f"{100 * profile.shares[part]:.0f}%" for part in parts)]
        cells += [f"{report.flops(profile) / _GIGA:,.3g}", f"{100 * report.flops(profile) / peak:.0f}"]
        cells.append("?" if memory is None else f"{memory / _MEBI:,.0f}")
        table.add_row(escape(titles[key]), *cells)
    if report.profiles:
        show(console, table)
        for note in _notes(report):
            say(console, f"· {note}")
    for key, reason in report.failures.items():
        say(console, f"· {titles[key]}: {reason}", "yellow")


def _notes(report: Report) -> list[str]:
    peaks = " and ".join(f"{peak / _GIGA:,.0f} GFLOP/s in {name}" for name, peak in report.peaks.items())
    here, busy = report.machine, "unknown" if report.load is None else f"{report.load:.1f} processes"
    counted = "torch's allocator counted" if report.device == "cuda" else "the process grew by"
    return [
        f"Preset {report.preset} on {here.device} ({here.processor}, torch {here.torch}, {here.threads} thread a fit), "
        "invented nodules.",
        f"Load of the machine before: {busy}; other work makes all of this slower.",
        "steps /s: of the trainer itself, with what follows an epoch.",
        "Shares: of a plain float32 step, forward and backward, each operation charged to the part that made it; they "
        "say nothing of how a captured or fused step divides its time.",
        "GFLOP /s: the nominal operations of a plain step's products, convolutions and attention, in the trainer's "
        f"time. Products of large square matrices reach {peaks} here.",
        f"MiB: the most that {counted}.",
    ]


def read_figures(path: Path) -> dict[str, Json]:
    """Return what a file of figures holds, by device: `"not measured"`, or reports by preset.

    Raises:
        InputError: There is a file that holds something else.
    """
    nothing: dict[str, Json] = dict.fromkeys(DEVICES, NOT_MEASURED)
    if not path.exists():
        return nothing
    try:
        return nothing | msgspec.json.decode(path.read_bytes(), type=dict[str, dict[str, Json] | str])
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError, OSError) as error:
        raise InputError(f"{path} is no file of figures ({error}); give --write another") from error


def write(path: Path, report: Report) -> None:
    """Put a report in its place in a file of figures; other devices and presets stay as they are.

    Raises:
        InputError: There is a file that holds something else.
    """
    content = read_figures(path)
    there = content[report.device] if report.device in content else None
    content[report.device] = (there if isinstance(there, dict) else {}) | {report.preset: report.as_data()}
    write_atomically(path, msgspec.json.format(msgspec.json.encode(content), indent=1) + b"\n")
