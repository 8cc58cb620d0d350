import json
from collections.abc import Iterator
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
import pytest

from benchmark import commandline, screen
from benchmark.commands._prepare import prepare
from benchmark.identity import ROOT, commit
from benchmark.recipe import PRESETS
from benchmark.records import versions
from datasets import store
from fakes import make_cohort
from grids import Grid
from zygote import Zygote


@pytest.fixture(scope="session")
def zygote(tmp_path_factory) -> Iterator[Zygote]:
    zygote = Zygote(tmp_path_factory.mktemp("zygote"))
    yield zygote
    zygote.close()


@pytest.fixture(scope="session")
def cohort() -> Path:
    """The cohort of the smoke preset, prepared once for all tests."""
    return prepare(commandline.parse([]), PRESETS["smoke"], 1, screen.consoles()[1]).resolve()


@pytest.fixture(scope="session")
def grid(zygote, cohort, tmp_path_factory) -> Grid:
    """A grid of twelve fits, made once without any disturbance."""
    return Grid.make(zygote, cohort, tmp_path_factory.mktemp("unbroken"))


@dataclass(frozen=True)
class Many:
    """How many of what: at every commit, or with `--reliability`.

    Attributes:
        is_large: Whether it is the latter.
        kills: Of a driver that works alone.
        kills_with_workers: Of a driver, while a worker holds a fit.
        deaths: Of workers at each event.
        worker_kills: Of workers, at random.
        drivers: In one folder.
        seed: Of all that is drawn.
    """

    is_large: bool
    kills: int
    kills_with_workers: int
    deaths: int
    worker_kills: int
    drivers: int
    seed: int = 1


@pytest.fixture(scope="session")
def many(request) -> Many:
    return Many(True, 300, 20, 3, 9, 8) if request.config.getoption("reliability") else Many(False, 20, 3, 1, 0, 3)


@pytest.fixture(scope="session")
def figures(many) -> Iterator[dict[str, object]]:
    """What was measured; the larger figures are kept."""
    measured: dict[str, object] = {}
    yield measured
    if many.is_large and measured:
        file = ROOT / "results" / "golden" / "reliability.json"
        kept = json.loads(file.read_text()) if file.exists() else {"measured": {}}
        about = {"date": datetime.now(UTC).date().isoformat(), "commit": commit(), "versions": versions()}
        kept["measured"] |= {name: {**figure, **about} for name, figure in measured.items()}
        file.write_text(json.dumps(kept, indent=1) + "\n")


@pytest.fixture(scope="session")
def prepared(tmp_path_factory) -> Path:
    """A small cohort's file."""
    file = Path(tmp_path_factory.mktemp("cohort") / "small.npz")
    volumes = np.random.default_rng(0).integers(-1000, 400, (60, 32, 32, 32)).astype(np.int16)
    cohort = make_cohort(60, volumes=volumes, content_hash="")
    store.write(replace(cohort, content_hash=store.content_hash(cohort)), file)
    return file


@pytest.fixture
def canary(tmp_path) -> Path:
    return tmp_path / "canary"
