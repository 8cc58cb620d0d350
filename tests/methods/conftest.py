from collections.abc import Iterator

import pytest

import towers
from methods._text import _encoded


@pytest.fixture(autouse=True)
def texts_are_let_go() -> Iterator[None]:
    """What remembers texts keeps their tower."""
    yield
    _encoded.cache_clear()


@pytest.fixture(autouse=True, scope="module")
def towers_are_let_go() -> Iterator[None]:
    """A tower is built once for the tests of a file, and not kept for those of the next."""
    yield
    towers.let_go()
