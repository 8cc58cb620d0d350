"""Headers are read by many threads at once; what a process thinks of warnings is the same after it."""

import sys
import warnings
from concurrent.futures import ThreadPoolExecutor

import pytest

import idc
from datasets.dicom import elements


@pytest.fixture
def restless():
    """Let threads change places a hundred times as often as usual."""
    usual = sys.getswitchinterval()
    sys.setswitchinterval(usual / 100)
    yield
    sys.setswitchinterval(usual)


def test_warnings_are_as_they_were_after_many_threads_read_headers(restless):
    heads = [content[:4096] for content in idc.pair("1.2.3", "LIDC-IDRI-9001", "folder", 1).objects().values()] * 8
    before = list(warnings.filters)
    with ThreadPoolExecutor(16) as pool:
        found = list(pool.map(elements.parse, heads))
    assert warnings.filters == before
    assert all(header.start > 0 for header in found)
