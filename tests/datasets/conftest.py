"""pylidc's own code as the oracle. It does not import on current Python, so what it misses is put there for it."""

import configparser
import importlib
import sys
import warnings
from collections.abc import Iterator
from types import ModuleType

import numpy as np
import pytest
import scipy.ndimage

from datasets import readings


@pytest.fixture(scope="module")
def pylidc() -> Iterator[ModuleType]:
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
