"""Series that are not as the database says: what `--source dicom` makes of the same files is what is made."""

from dataclasses import replace

import numpy as np
import pydicom.config
import pytest
from pydicom.uid import generate_uid

import idc
from objectstore import Front, Objects, serving


@pytest.fixture
def compare(tmp_path, monkeypatch):
    """Return what both sources make of a patient's objects: crops, and why nodules were left out."""

    def compared(patient, objects, indexed=None):
        idc.pretend(monkeypatch, [patient], objects if indexed is None else indexed)
        with serving(Front(Objects(objects))) as front:
            ours = idc.outcome(lambda: idc.fetch(front, tmp_path / "idc"), tmp_path / "idc", "idc")
        root = idc.write(objects, tmp_path / "ct")
        theirs = idc.outcome(lambda: idc.from_files(root, tmp_path / "dicom"), tmp_path / "dicom", "dicom")
        assert ours == theirs
        return ours

    return compared


@pytest.fixture(scope="module")
def patient():
    return idc.pair(*idc.listed()[0], 1)


@pytest.fixture
def objects(patient):
    return patient.objects()


@pytest.mark.parametrize("kilobytes", [4, 15, 60])
@pytest.mark.parametrize("element", ["AdditionalPatientHistory", "ImageComments"])
def test_a_header_longer_than_a_first_read(patient, compare, element, kilobytes):
    """What is long stands before the position, or between it and the pixels."""
    with pydicom.config.disable_value_validation():
        objects = patient.objects(**{element: "x" * 1000 * kilobytes})
    made, left_out = compare(patient, objects)
    assert len(made) == 2 and not left_out


def test_two_slices_alike_at_one_height(patient, objects, compare):
    uid = generate_uid()
    again = idc.encoded(patient, 7, number=99, SOPInstanceUID=uid)
    made, left_out = compare(patient, objects | {idc.key(patient.folder, "again"): again})
    assert len(made) == 2 and not left_out


def test_two_different_slices_at_one_height_leave_their_nodule_out(patient, objects, compare):
    other = idc.encoded(patient, 7, number=99, hu=patient.hu(7) + 7, SOPInstanceUID=generate_uid())
    made, left_out = compare(patient, objects | {idc.key(patient.folder, "other"): other})
    assert len(made) == 1
    assert ["two different images" in reason for reason in left_out.values()] == [True]


def test_a_localizer_in_the_series_is_no_slice(patient, objects, compare):
    scout = idc.encoded(patient, 7, number=0, hu=np.zeros((90, 70)), ImageType=["ORIGINAL", "PRIMARY", "LOCALIZER"])
    made, left_out = compare(patient, objects | {idc.key(patient.folder, "scout"): scout})
    assert len(made) == 2 and not left_out


@pytest.mark.parametrize(
    "content", [b"", b"{}", b'{"a": 1}' * 3000, b"<html><body>Sign in</body></html>", bytes(132) + b"no" * 4000]
)
def test_an_object_that_is_no_slice(patient, objects, compare, content):
    made, left_out = compare(patient, objects | {idc.key(patient.folder, "no slice"): content})
    assert len(made) == 2 and not left_out


def test_a_folder_below_the_series(patient, objects, compare):
    made, _ = compare(patient, objects | {f"{patient.folder}/more/x.json": b"{}"})
    assert len(made) == 2


def test_a_series_of_the_same_beginning_is_another_one(patient, objects, compare):
    stranger = replace(patient, folder=f"{patient.folder}1")
    made, _ = compare(patient, objects | stranger.objects(RescaleIntercept=-1000.0, SeriesInstanceUID="1.9"))
    assert len(made) == 2


@pytest.mark.parametrize("indexed", [True, False])
@pytest.mark.parametrize("gone", [0, 11, 23])
def test_a_slice_less_that_no_crop_needs(patient, objects, compare, gone, indexed):
    """Less than the database has, and than the bucket's index says or not."""
    made, left_out = compare(patient, _without(patient, gone), objects if indexed else None)
    assert len(made) == 2 and not left_out


@pytest.mark.parametrize("indexed", [True, False])
@pytest.mark.parametrize("gone", [5, 8])
def test_a_slice_less_that_a_crop_needs(patient, objects, compare, gone, indexed):
    made, left_out = compare(patient, _without(patient, gone), objects if indexed else None)
    assert len(made) == 1
    assert ["missing" in reason for reason in left_out.values()] == [True]


def test_slices_more_than_the_database_knows(patient, objects, compare):
    between = idc.encoded(patient, 7, number=99, ImagePositionPatient=[-170.0, -160.0, -81.0])
    made, left_out = compare(patient, objects | {idc.key(patient.folder, "between"): between})
    assert len(made) == 2 and not left_out


def test_a_series_of_another_uid_in_the_folder_is_not_taken_for_it(patient, tmp_path, monkeypatch):
    objects = patient.objects(SeriesInstanceUID="1.9")
    idc.pretend(monkeypatch, [patient], objects)
    with serving(Front(Objects(objects))) as front:
        made, _ = idc.outcome(lambda: idc.fetch(front, tmp_path), tmp_path, "idc")
    assert made == {}
    assert front.bodies() == []


def test_rows_further_apart_than_the_database_says_leave_nodules_out(patient, compare):
    made, left_out = compare(patient, patient.objects(PixelSpacing=[0.8, 0.7]))
    assert made == {} and len(left_out) == 2 and all("apart" in reason for reason in left_out.values())


def _without(patient, level):
    return {k: v for k, v in patient.objects().items() if k != idc.key(patient.folder, level)}
