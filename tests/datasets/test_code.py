import sys
from types import ModuleType

import pytest

from datasets import code

SOURCE = '''"""A module."""
import math


class A:
    """A class."""

    def area(self, radius):  # of a disc
        """Return it."""
        return math.pi * radius**2
'''


@pytest.fixture
def module(tmp_path, monkeypatch):
    """Make modules of source code."""

    def make(source: str) -> ModuleType:
        path = tmp_path / f"made{len(list(tmp_path.iterdir()))}.py"
        path.write_text(source)
        made = ModuleType(path.stem)
        made.__file__ = str(path)
        monkeypatch.setitem(sys.modules, path.stem, made)
        return made

    return make


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ('"""A module."""', '"""Another."""'),
        ('"""A module."""\n', ""),
        ('"""A class."""', '"""Another."""'),
        ('"""Return it."""', '"""Return something else."""'),
        ("  # of a disc", ""),
        ("import math\n", "import math  # for pi\n\n\n"),
        ("radius**2", "(radius ** 2)"),
    ],
)
def test_words_and_layout_do_not_count(module, old, new):
    assert old in SOURCE
    assert code.code_hash(module(SOURCE)) == code.code_hash(module(SOURCE.replace(old, new)))


@pytest.mark.parametrize(("old", "new"), [("**2", "**3"), ("radius)", "radius=1)"), ("math.pi", "3"), ("area", "are")])
def test_everything_else_counts(module, old, new):
    assert code.code_hash(module(SOURCE)) != code.code_hash(module(SOURCE.replace(old, new)))


def test_modules_count_in_their_order_and_each(module):
    one, two = module("x = 1"), module("x = 2")
    assert len({code.code_hash(*some) for some in [(one,), (two,), (one, two), (two, one), (one, one)]}) == 5
