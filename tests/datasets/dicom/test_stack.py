"""A folder of DICOM slices as one volume: what comes back, and what is refused by name."""

import gzip
import zipfile

import numpy as np
import pytest

from ct import dataset, sphere, write
from datasets.dicom import stack
from datasets.dicom.files import Refused


@pytest.fixture
def made():
    return sphere((2.5, 0.7, 0.9), 6.0)


def whole(found):
    return found.read(tuple(slice(0, count) for count in found.grid.shape))


def test_slices_ascend_with_z_whatever_their_names(made, tmp_path):
    count = len(made.scan.slice_z_mm)
    for level, name in enumerate(np.random.default_rng(0).permutation(count)):
        one = dataset(made.scan, made.scan.slice_z_mm[level], made.hu(level), made.spacing_mm, number=count - level)
        one.save_as(tmp_path / f"{name}", enforce_file_format=True)
    found = stack.find(tmp_path)
    np.testing.assert_array_equal(found.grid.slice_mm, made.scan.slice_z_mm)
    np.testing.assert_allclose(found.grid.spacing_mm, [2.5, 0.7, 0.9])
    assert found.grid.shape == (count, *made.shape)
    np.testing.assert_allclose(whole(found), [made.hu(level) for level in range(count)], atol=0.5)


def test_only_the_part_asked_for_is_read(made, tmp_path, monkeypatch):
    write(made, tmp_path)
    found, read = stack.find(tmp_path), []
    images = stack.read_images
    monkeypatch.setattr(stack, "read_images", lambda root, slices: read.extend(slices) or images(root, slices))
    box = (slice(3, 6), slice(1, 9), slice(2, 5))
    part = found.read(box)
    assert len(read) == 3 and part.shape == (3, 8, 3)
    np.testing.assert_array_equal(part, whole(found)[box])


def test_other_files_and_scouts_are_passed_over(made, tmp_path):
    write(made, tmp_path / "ct")
    count = len(stack.find(tmp_path).slices)
    (tmp_path / "LICENSE").write_text("text")
    scout = dataset(made.scan, -90.0, made.hu(0), made.spacing_mm, number=99)
    scout.ImageType, scout.ImageOrientationPatient = ["ORIGINAL", "PRIMARY", "LOCALIZER"], [1, 0, 0, 0, 0, -1]
    scout.save_as(tmp_path / "scout", enforce_file_format=True)
    assert len(stack.find(tmp_path).slices) == count


def refused(folder):
    with pytest.raises(Refused) as told:
        stack.find(folder)
    return str(told.value)


def test_no_slices_and_one_slice_are_no_series(made, tmp_path):
    assert refused(tmp_path) == "holds 0 CT slices in DICOM: give it a whole series"
    write(made, tmp_path, skip=set(range(1, 99)))
    assert "holds 1 CT slices" in refused(tmp_path)


def test_a_missing_slice_is_a_gap_between_two_heights(made, tmp_path):
    write(made, tmp_path, skip={4})
    assert refused(tmp_path) == "lacks slices between z -92.5 and -87.5 mm: complete the series"


def test_two_slices_at_one_height_are_no_guess(made, tmp_path):
    write(made, tmp_path)
    write(made, tmp_path / "again", skip=set(range(1, 99)))
    assert refused(tmp_path) == "has two slices at z -100 mm: leave one out"


def test_two_series_are_refused(made, tmp_path):
    write(made, tmp_path / "a")
    write(sphere((2.5, 0.7, 0.9), 6.0, series="9.9"), tmp_path / "b")
    assert "more than one series" in refused(tmp_path)


@pytest.mark.parametrize(
    ("changes", "sentence"),
    [
        ({"PixelSpacing": [0.7, 0.8]}, "unlike size, spacing or place"),
        ({"ImagePositionPatient": [-100.0, -160.0, -90.0]}, "unlike size, spacing or place"),
        ({"ImageOrientationPatient": [1, 0, 0, 0, 0.97, 0.24]}, "003.dcm that cannot be used (oblique"),
    ],
    ids=str,
)
def test_one_slice_unlike_the_others_is_refused(made, tmp_path, changes, sentence):
    write(made, tmp_path, skip={3})
    write(made, tmp_path, skip=set(range(99)) - {3}, **changes)
    assert sentence in refused(tmp_path)


def test_a_slice_that_changed_since_it_was_found_is_refused(made, tmp_path):
    write(made, tmp_path)
    found = stack.find(tmp_path)
    content = (tmp_path / "002.dcm").read_bytes()
    (tmp_path / "002.dcm").write_bytes(content[:-9])
    with pytest.raises(Refused, match=r"has a slice 002\.dcm that cannot be used"):
        whole(found)


@pytest.mark.parametrize(
    ("name", "change", "reason"),
    [
        ("000.dcm.gz", gzip.compress, "gzipped: unpack it with gunzip"),
        ("000", gzip.compress, "gzipped: unpack it with gunzip"),
        ("000.dcm", lambda content: b"", "empty"),
        ("000.dcm", lambda content: content[:200], "damaged header"),
        ("in.tar", lambda content: b"?" * 999, "damaged archive"),
    ],
    ids=["gzipped", "gzipped without a suffix", "empty", "cut", "a damaged archive"],
)
def test_a_last_slice_that_cannot_be_read_never_makes_a_shorter_series(made, tmp_path, name, change, reason):
    write(made, tmp_path)
    content = (tmp_path / "000.dcm").read_bytes()
    (tmp_path / "000.dcm").unlink()
    (tmp_path / name).write_bytes(change(content))
    told = refused(tmp_path)
    assert told.startswith(f"has a file {name} that cannot be used ({reason}")
    assert told.endswith("): replace it, or take it away")


def test_a_slice_whose_link_leads_nowhere_never_makes_a_shorter_series(made, tmp_path):
    write(made, tmp_path)
    (tmp_path / "000.dcm").unlink()
    (tmp_path / "000.dcm").symlink_to("nowhere")
    assert refused(tmp_path).startswith("has a file 000.dcm that cannot be used (unreadable: No such file")


def test_what_never_was_a_slice_costs_no_series(made, tmp_path):
    write(made, tmp_path)
    (tmp_path / "mask.nii.gz").write_bytes(gzip.compress(bytes(999)))
    (tmp_path / "sidecar.json").write_text("{}")
    (tmp_path / "._000.dcm").write_bytes(b"\0\5\x16\7\0\2\0\0Mac OS X")
    with zipfile.ZipFile(tmp_path / "notes.docx", "w") as packed:
        packed.writestr("text.xml", "<?xml")
    assert len(stack.find(tmp_path).slices) == len(made.scan.slice_z_mm)
