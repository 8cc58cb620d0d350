"""Report: what was measured of phantom and real slices, as tables side by side."""

from collections.abc import Mapping

import numpy as np
from jaxtyping import Float
from rich import box
from rich.console import Console
from rich.table import Table

from benchmark.console import Style
from benchmark.fidelity.slices import Slices
from benchmark.fidelity.statistics import QUANTILES, regions, spectrum
from benchmark.intervals import Interval
from benchmark.screen import show

WIDTH = 100
_LEFT: Style = {"title_justify": "left", "title_style": "bold", "pad_edge": False, "padding": (0, 1, 0, 0)}


def print_looks(out: Console, kinds: Mapping[str, Slices]) -> None:
    """Print Hounsfield units and power spectra of kinds of slices, and the first kind's share of the others' power."""
    found = {kind: regions(hu) for kind, hu in kinds.items()}
    table = _table("Hounsfield units: quantiles", "Region", "Slices", *(f"{100 * q:g} %" for q in QUANTILES))
    for region in next(iter(found.values())):
        for kind in kinds:
            table.add_row(region, kind, *(f"{hu:.0f}" for hu in np.quantile(found[kind][region], QUANTILES)))
    show(out, table)
    powers = {kind: spectrum(hu) for kind, hu in kinds.items()}
    print_spectra(out, powers)


def print_spectra(out: Console, powers: Mapping[str, Float[np.ndarray, " frequencies"]]) -> None:
    """Print mean power by frequency, in HU^2, and how many times the last kind's the first kind's is."""
    first, *_, last = powers
    table = _table("Power spectrum, HU^2", "Cycles a side", *powers, f"{first} / {last}")
    for number, values in enumerate(zip(*powers.values(), strict=True), start=1):
        table.add_row(str(number), *(f"{value:,.0f}" for value in values), f"{values[0] / values[-1]:.2f}")
    show(out, table)


def print_crossed(out: Console, title: str, accuracy: Mapping[tuple[str, str], Interval], lost: Interval) -> None:
    """Print the accuracy by what was trained on and what was tested on, in percent, and what the phantom costs."""
    table = _table(f"{title}: accuracy in percent", "Trained on", "Tested on", "Accuracy")
    for (trained, tested), figure in accuracy.items():
        table.add_row(trained, tested, figure.text(".1f"))
    show(out, table)
    out.print(f"On real slices, training on real ones gains {lost.text('.1f')} points over training on phantom ones.\n")


def print_told_apart(out: Console, area: Interval) -> None:
    """Print how well the two kinds are told apart."""
    out.print(f"Real and phantom slices told apart: AUC {area.text('.3f')}; 0.5 would be not at all.")


def _table(title: str, *headings: str) -> Table:
    table = Table(title=title, box=box.SIMPLE_HEAD, **_LEFT)
    for number, heading in enumerate(headings):
        table.add_column(heading, justify="right" if number > 1 else "left", no_wrap=True)
    return table
