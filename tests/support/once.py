"""The database, read and clustered once for all plans of a test process: each takes seconds of it."""

from functools import cache

import pytest

from datasets.lidc import nodules, readings

SCANS = cache(readings.load)
_CLUSTER, _CLUSTERED = nodules.cluster, dict[str, list[nodules.Nodule]]()


def cluster(scan: readings.Scan) -> list[nodules.Nodule]:
    if scan.series_uid not in _CLUSTERED:
        _CLUSTERED[scan.series_uid] = _CLUSTER(scan)
    return _CLUSTERED[scan.series_uid]


def read_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(readings, "load", SCANS)
    monkeypatch.setattr(nodules, "cluster", cluster)
