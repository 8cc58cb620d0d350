"""Crops from the bucket are those of `--source dicom` from the same files, byte for byte."""

import pytest

import idc
from objectstore import PAGE, Front, moto, serving


@pytest.mark.parametrize(("connections", "most"), [(1, 1), (4, 4), (32, 12)])
def test_as_many_requests_at_once_as_asked_for(bucket, front, tmp_path, connections, most):
    front.latency_s = 0.05
    idc.fetch(front, tmp_path, connections=connections, timeout_s=10.0)
    assert most <= front.most_at_once <= connections


@pytest.mark.parametrize("connections", [1, 32])
def test_crops_equal_those_of_a_download(bucket, front, tmp_path, connections):
    found = idc.fetch(front, tmp_path, connections=connections)
    assert idc.crops(found) == bucket.truth
    assert found.source == "idc" and "CT" in found.note


def test_only_what_crops_need_is_fetched_and_that_once(bucket, front, tmp_path):
    idc.fetch(front, tmp_path)
    bodies, heads = front.bodies(), [one.key for one in front.seen if one.kind == "head"]
    assert len(bodies) == len(set(bodies)) == 3 * idc.NEEDED
    assert sorted(heads) == sorted(bucket.objects)
    front.forget()
    assert idc.crops(idc.fetch(front, tmp_path)) == bucket.truth
    assert front.seen == []


def test_moto_gives_the_same_crops_over_several_pages(bucket, tmp_path, monkeypatch):
    """One of the series has more objects than a listing's page; most are empty."""
    folder = bucket.patients[0].folder
    objects = bucket.objects | {idc.key(folder, f"empty {number}"): b"" for number in range(PAGE)}
    idc.pretend(monkeypatch, bucket.patients, objects)
    with moto(objects) as store, serving(Front(store)) as front:
        found = idc.fetch(front, tmp_path, timeout_s=30.0)
    assert idc.crops(found) == bucket.truth
    listings = [one.key.strip("/") for one in front.seen if one.kind == "listing"]
    assert listings.count(folder) >= 2


def test_kept_slices_are_a_download_that_gives_the_same_crops(bucket, front, tmp_path):
    idc.fetch(front, tmp_path, "--keep-dicom", tmp_path / "kept")
    names = [path.relative_to(tmp_path / "kept").parts for path in (tmp_path / "kept").rglob("*.dcm")]
    assert {name[:2] for name in names} == {(one.scan.patient_id, one.scan.series_uid) for one in bucket.patients}
    assert len(names) == 3 * idc.NEEDED
    assert idc.crops(idc.from_files(tmp_path / "kept", tmp_path / "other")) == bucket.truth


def test_slices_are_dropped_once_cropped(front, tmp_path):
    idc.fetch(front, tmp_path)
    assert list(tmp_path.rglob("*.dcm")) == []
    assert sum(path.stat().st_size for path in tmp_path.rglob("*") if path.is_file()) < 2**20
