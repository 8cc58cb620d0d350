"""The real scan of patient LIDC-IDRI-0001, out of a bucket."""

import pytest

import idc
from datasets.idc import index
from datasets.lidc import readings
from objectstore import Front, Objects, Upstream, moto, serving


@pytest.fixture(scope="module")
def real(shared_scan, tmp_path_factory):
    """The real scan's objects, and its crop from the zip."""
    scans = [scan for scan in readings.load() if scan.patient_id == "LIDC-IDRI-0001"]
    folder = index.load()[scans[0].series_uid].folder
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(readings, "load", lambda: scans)
        truth = idc.crops(idc.from_files(shared_scan, tmp_path_factory.mktemp("real")))
        yield idc.real_scan(shared_scan, folder), truth


@pytest.mark.parametrize("connections", [1, 32])
@pytest.mark.parametrize("through_moto", [False, True])
def test_the_real_scan_gives_the_same_crop_with_little_traffic(real, tmp_path, connections, through_moto):
    objects, truth = real
    assert idc.uncompressed(objects) and len(objects) == 133
    with moto(objects if through_moto else {}) as upstream:
        store: Objects | Upstream = upstream if through_moto else Objects(objects)
        with serving(Front(store)) as front:
            found = idc.fetch(front, tmp_path, connections=connections, timeout_s=30.0)
    assert idc.crops(found) == truth and len(truth) == 1
    needed = front.bodies()
    assert len(needed) == len(set(needed)) == 21
    assert front.sent() <= 1.05 * sum(len(objects[key]) for key in needed) + 4096 * len(objects)
