"""A report with every chapter, and a browser to open it in."""

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

import datasets
import methods
from benchmark import references
from benchmark.figures import draw
from benchmark.figures.features import Spread
from benchmark.figures.folder import Line, csv_text
from benchmark.intervals import Interval
from benchmark.records import FitSpec
from benchmark.report import Known, write
from benchmark.run import Run
from browser import CHROMIUM, Browser, browsing
from datasets.protocols import LABEL_RULES, classify
from runs import write_whole_run

NOTE = "Phantom, not CT. Text tower: random weights."


def draw_figures(folder: Path) -> None:
    """Leave in a run's folder what `python -m benchmark figures` leaves there, of invented features and maps."""
    rng, names = np.random.default_rng(0), ("benign", "unsure", "malignant")
    spread = Spread(rng.standard_normal((9, 2)), Interval(0.41, 0.3, 0.5), 0.36)
    images, outlines = rng.random((2, 32, 32)), np.zeros((2, 32, 32), dtype=bool)
    outlines[:, 8:24, 8:24] = True
    maps = {"CE Loss": images, "CLIP-Lung": images[::-1]}
    inside = {title: np.array([0.25, 0.4]) for title in maps}
    (folder / "figures").mkdir()
    (folder / "figures" / "tsne.svg").write_bytes(
        draw.clouds(dict.fromkeys(maps, spread), np.arange(9) % 3, np.full(9, 2.5), names, NOTE)
    )
    (folder / "figures" / "attention.png").write_bytes(
        draw.attention_maps(images, outlines, maps, inside, ["n1", "n2"], NOTE, "png")
    )
    run, spec = Run.open(folder), FitSpec("three", "ce", 0, 0)
    record = run.read(spec)
    run.write(replace(record, metadata=replace(record.metadata, weights="w" * 64)), b"weights")
    shares = [("inside", 0.25, 0.2, 0.3), ("area", 0.1, 0.1, 0.1), ("alike", 0.4, 0.3, 0.5)]
    lines = [Line("three", "ce", 0, 0, "w" * 64, "CE Loss", 40, 2, *share) for share in shares]
    (folder / "figures" / "shares.csv").write_text(csv_text(lines, NOTE))


@pytest.fixture(scope="session")
def whole(tmp_path_factory) -> Path:
    """The folder of a run whose report.html has every chapter, with figures and a fit that failed."""
    folder = write_whole_run(tmp_path_factory.mktemp("whole") / "run", 30, seeds=1)
    draw_figures(folder)
    run, spec = Run.open(folder), FitSpec("two", "poisson", 4, 0)
    run.write(replace(run.read(spec), status="failed", reason="it diverged"))
    write(folder, Known.of(methods.ROWS | references.ROWS, LABEL_RULES, datasets.SOURCES, classify))
    return folder


@pytest.fixture(scope="session")
def browser(tmp_path_factory) -> Iterator[Browser]:
    """Chromium, where it is."""
    if CHROMIUM is None:
        pytest.skip("needs Chromium, which is not here")
    with browsing(tmp_path_factory.mktemp("browser")) as started:
        yield started
