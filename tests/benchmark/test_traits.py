import sys
from pathlib import Path

import pytest

import methods
from benchmark.contracts import Traits, traits

ROWS = methods.ROWS


@pytest.mark.parametrize("row", ROWS.values(), ids=ROWS)
def test_what_is_read_of_a_method_is_what_its_class_says(row):
    assert isinstance(row.make, str)
    assert row.traits == traits.of_class(row.method)
    assert list(row.traits.defaults) == list(traits.of_class(row.method).defaults)  # as a refusal lists them
    assert f"{row.method.__module__}.{row.method.__qualname__}" == row.source


@pytest.fixture
def written(tmp_path, monkeypatch):
    """Write modules that may be imported and are not, and read a class of theirs."""
    monkeypatch.syspath_prepend(str(tmp_path))

    def write(**modules: str) -> Traits:
        for name, source in modules.items():
            Path(tmp_path, f"{name}.py").write_text(source)
        found = traits.of_source(f"{list(modules)[-1]}.Mine")
        assert not modules.keys() & sys.modules.keys()
        return found

    return write


ABOVE = """
import torch
LAYERS = (1, 2)
class Above:
    title: str
    decoder = "median"
    encoders: int = 2
    def __init__(self, task, layers=LAYERS, *, rate: float = -0.5): ...
"""
BELOW = """
from traits_above import Above as Base
class Mine(Base):
    "Mine."
    title = "Mine"
    encoders = 3
"""


def test_what_a_class_does_not_say_is_read_from_the_classes_that_it_inherits_from(written):
    found = written(traits_above=ABOVE, traits_below=BELOW)
    assert found == Traits("Mine", "Mine.", "median", encoders=3, defaults={"layers": (1, 2), "rate": -0.5})


def test_an_init_of_its_own_hides_those_above(written):
    above = "class Above:\n    title = 'A'\n    def __init__(self, task, a=1): ...\n"
    found = written(traits_own=f"{above}class Mine(Above):\n    def __init__(self, task, b=2): ...\n")
    assert found.title == "A" and found.defaults == {"b": 2}


def test_what_must_be_computed_is_refused_with_its_line(written):
    source = "import math\nclass Mine:\n    title = 'Mine'\n    def __init__(self, task, tau=math.log(2)): ...\n"
    sentence = r"traits_sum\.py, line 4: math\.log\(2\) must be a literal or the name of a constant"
    with pytest.raises(ValueError, match=sentence):
        written(traits_sum=source)


def test_a_class_that_is_not_there_is_named():
    with pytest.raises(ValueError, match=r"methods\.ce has no class or constant Cross"):
        traits.of_source("methods.ce.Cross")
    with pytest.raises(ValueError, match=r"there is no module methods\.nothing"):
        traits.of_source("methods.nothing.Cross")
