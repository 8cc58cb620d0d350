"""Shared fixtures: the nodules of the database, and pylidc's own code as the oracle."""

import configparser
import importlib
import sys
import warnings
from collections.abc import Iterator
from types import ModuleType

import numpy as np
import pytest
import scipy.ndimage

from datasets import cohort, readings
from datasets.nodules import Nodule
from datasets.readings import Outline, Reading, Scan


@pytest.fixture(scope="session")
def nodules() -> list[Nodule]:
    return cohort.choose()


@pytest.fixture(scope="session")
def square():
    """Build a nodule of squares on a made-up scan: per reader a list of (slice, first row, first column, edge)."""

    def build(
        *readers: list[tuple[int, int, int, int]], thickness: float = 2.0, spacing: float = 0.5, **ratings: int
    ) -> Nodule:
        given = dict.fromkeys(readings.ATTRIBUTES, 5) | {"calcification": 6} | ratings
        z = -100.0 + thickness * np.arange(60)

        def outline(level: int, row: int, column: int, edge: int) -> Outline:
            steps = np.array([(0, 1), (1, 0), (0, -1), (-1, 0)]).repeat(edge - 1, axis=0)
            return Outline(float(z[level]), level, True, np.array([row, column]) + np.cumsum(steps, axis=0))

        made = tuple(
            Reading(number, 3, given, tuple(outline(*square) for square in squares))
            for number, squares in enumerate(readers, start=1)
        )
        return Nodule(Scan("1.2.3", "LIDC-IDRI-9999", thickness, spacing, z, made), made)

    return build


@pytest.fixture(scope="session")
def pylidc() -> Iterator[ModuleType]:
    """pylidc does not import on current Python: give it what it misses, for these tests only."""
    resources, morphology = ModuleType("pkg_resources"), ModuleType("scipy.ndimage.morphology")
    resources.resource_filename = lambda package, name: str(readings.database().with_name(name))
    morphology.distance_transform_edt = scipy.ndimage.distance_transform_edt
    with pytest.MonkeyPatch.context() as patch, warnings.catch_warnings():
        warnings.simplefilter("ignore")
        patch.setitem(sys.modules, "pkg_resources", resources)
        patch.setitem(sys.modules, "scipy.ndimage.morphology", morphology)
        patch.setattr(configparser, "SafeConfigParser", configparser.ConfigParser, raising=False)
        for name, kind in {"int": int, "float": float, "bool": bool}.items():
            patch.setitem(vars(np), name, kind)
        yield importlib.import_module("pylidc")
        for name in [name for name in sys.modules if name.partition(".")[0] == "pylidc"]:
            del sys.modules[name]
