import gc
from collections.abc import Iterator

import pytest

from methods._text import _encoded
from methods._tower import for_images, loaded


@pytest.fixture(autouse=True)
def texts_are_let_go() -> Iterator[None]:
    """A command has one tower, and remembers its texts together with it; the tests make hundreds."""
    yield
    _encoded.cache_clear()


@pytest.fixture(autouse=True, scope="module")
def towers_are_let_go() -> Iterator[None]:
    """A tower is built once for the tests of a file, and not kept for those of the next."""
    yield
    for_images.cache_clear()
    loaded.cache_clear()
    gc.collect()
