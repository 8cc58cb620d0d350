"""A file that cannot be used says exactly why; one that lacks its preamble is read all the same, if that is safe."""

import bz2
import gzip
import io
import lzma
import zipfile

import numpy as np
import pydicom
import pytest
from pydicom.uid import ExplicitVRLittleEndian, ImplicitVRLittleEndian

from ct import dataset, sphere
from datasets.dicom import archive, headers, images
from datasets.dicom.files import Fault, Foreign, Refused

BARE = "has no DICOM preamble; read without one: "


@pytest.fixture
def one():
    made = sphere()
    return dataset(made.scan, -90.0, made.hu(5), made.spacing_mm)


def whole(one) -> bytes:
    content = io.BytesIO()
    one.save_as(content, enforce_file_format=True)
    return content.getvalue()


def bare(one, syntax=ExplicitVRLittleEndian) -> bytes:
    """Return a data set alone, as old programs write it."""
    content = io.BytesIO()
    pydicom.dcmwrite(
        content,
        pydicom.Dataset(one),
        implicit_vr=syntax.is_implicit_VR,
        little_endian=syntax.is_little_endian,
        enforce_file_format=False,
    )
    return content.getvalue()


def read(folder, name, content):
    """Return the slice that a file holds, or the kind of its refusal with the reason."""
    (folder / name).write_bytes(content)
    (file,) = list_of(folder, name, headers.read_header)
    return file


def list_of(folder, name, use):
    found = []
    for file in archive.opened(folder, name, "stamp"):
        if isinstance(file, Fault):
            found.append((Fault, file.reason))
            continue
        try:
            found.append(use(file))
        except Refused as refused:
            found.append((type(refused), str(refused)))
    return found


@pytest.mark.parametrize(
    "strip",
    [
        lambda one: whole(one)[128:],
        lambda one: whole(one)[132:],
        lambda one: bare(one, ExplicitVRLittleEndian),
        lambda one: bare(one, ImplicitVRLittleEndian),
    ],
    ids=["DICM left", "meta information left", "explicit data set", "implicit data set"],
)
def test_a_slice_without_preamble_is_the_slice_with_one(one, tmp_path, strip):
    true = read(tmp_path, "x", whole(one))
    (pixels,) = list_of(tmp_path, "x", lambda file: images.read_image(file, true))
    found = read(tmp_path, "x", strip(one))
    (image,) = list_of(tmp_path, "x", lambda file: images.read_image(file, found))
    assert found.problem == "" and (found.sop_uid, found.position_mm) == (true.sop_uid, true.position_mm)
    np.testing.assert_array_equal(image, pixels)


@pytest.mark.parametrize(
    ("change", "told"),
    [
        (lambda one: one.update({"SOPClassUID": "1.2.3"}), (Foreign, "no CT slice: its SOP class is '1.2.3'")),
        (lambda one: one.__delattr__("SOPClassUID"), (Refused, "damaged header: no SOPClassUID")),
        (lambda one: one.update({"Modality": "MR"}), (Foreign, "no CT slice: its modality is 'MR'")),
        (lambda one: one.__delattr__("SeriesInstanceUID"), (Refused, "damaged header: no SeriesInstanceUID")),
    ],
    ids=["another class", "no class", "MR", "no series"],
)
def test_a_data_set_without_preamble_that_is_no_sound_ct_says_that_it_has_none(one, tmp_path, change, told):
    change(one)
    assert read(tmp_path, "x", bare(one)) == (told[0], BARE + told[1])


def test_a_cut_slice_without_preamble_says_both(one, tmp_path):
    content = bare(one)
    assert read(tmp_path, "x", content[:-99]).problem == f"{BARE}truncated: {len(content) - 99} bytes of {len(content)}"


def test_a_compressed_slice_without_preamble_is_not_guessed(one, tmp_path):
    one.compress(pydicom.uid.RLELossless)
    content = io.BytesIO()
    pydicom.dcmwrite(content, one, enforce_file_format=False)
    stripped = content.getvalue()[content.getvalue().index(b"\x08\0\x08\0CS") :]
    assert read(tmp_path, "x", stripped).problem == (
        f"{BARE}damaged: its pixels are compressed, and its transfer syntax says that they are not"
    )


def test_a_data_set_of_another_byte_order_is_not_guessed(one, tmp_path):
    content = bare(one)
    swapped = content[1::-1] + content[3:1:-1] + content[4:]
    assert read(tmp_path, "x", swapped) == (Foreign, "not DICOM")


@pytest.mark.parametrize(
    ("name", "pack", "reason"),
    [
        ("x.dcm.gz", gzip.compress, "gzipped: unpack it with gunzip"),
        ("x.dcm", gzip.compress, "gzipped: unpack it with gunzip"),
        ("x", gzip.compress, "gzipped: unpack it with gunzip"),
        ("x.bz2", bz2.compress, "packed with bzip2: unpack it with bunzip2"),
        ("x", lzma.compress, "packed with xz: unpack it with unxz"),
        ("x", lambda _: b"\x28\xb5\x2f\xfd....", "packed with zstd, which is not read: unpack it with unzstd"),
    ],
)
def test_a_compressed_slice_says_how_to_unpack_it(one, tmp_path, name, pack, reason):
    assert read(tmp_path, name, pack(whole(one))) == (Refused, reason)


@pytest.mark.parametrize("name", ["in.zip", "in", "in.zip/in.tgz"])
def test_an_archive_within_an_archive_is_named(one, tmp_path, name):
    inner, outer = io.BytesIO(), io.BytesIO()
    with zipfile.ZipFile(inner, "w") as made:
        made.writestr("x.dcm", whole(one))
    with zipfile.ZipFile(outer, "w") as made:
        made.writestr(name, inner.getvalue())
    reason = "an archive within an archive: unpack out.zip once"
    assert read(tmp_path, "out.zip", outer.getvalue()) == (Refused, reason)
    (label,) = list_of(tmp_path, "out.zip", lambda file: file.label)
    assert label == f"out.zip::{name}"


@pytest.mark.parametrize(
    ("name", "content", "told"),
    [
        ("LICENSE", b"text", (Foreign, "not DICOM")),
        ("069.xml", b"<?xml version='1.0'?><LidcReadMessage/>", (Foreign, "not DICOM")),
        ("x.json", b'{"Modality": "CT"}', (Foreign, "not DICOM")),
        ("x.dcm", b'{"error": 502}', (Refused, "not DICOM, though its name says so: download it again")),
        ("x.dcm", bytes(9999), (Refused, "not DICOM, though its name says so: download it again")),
        ("x.dcm", b"", (Refused, "empty")),
        (
            "x.dcm",
            b"\xef\xbb\xbf\n<!DOCTYPE HTML><html>",
            (Refused, "a web page, as a failed download leaves: download it again"),
        ),
        (
            "about.html",
            b"<html>",
            (Foreign, "a web page, as a failed download leaves: download it again"),
        ),
        ("mask.nii.gz", gzip.compress(bytes(999)), (Foreign, "gzipped: unpack it with gunzip")),
        ("._1-001.dcm", b"\0\5\x16\7\0\2\0\0Mac OS X", (Foreign, "a side file of macOS, which holds no image")),
    ],
    ids=[
        "a licence",
        "XML",
        "JSON",
        "JSON for a slice",
        "zeros for a slice",
        "nothing for a slice",
        "a web page for a slice",
        "a web page",
        "gzipped",
        "macOS",
    ],
)
def test_what_is_no_dicom_says_what_it_is_and_whether_a_slice_is_lost(tmp_path, name, content, told):
    assert read(tmp_path, name, content) == told


def test_a_dicomdir_is_no_damaged_slice(one, tmp_path):
    listed = pydicom.Dataset()
    listed.FileSetID, listed.DirectoryRecordSequence = "SET", [pydicom.Dataset()]
    one.file_meta.MediaStorageSOPClassUID = pydicom.uid.MediaStorageDirectoryStorage
    listed.file_meta = one.file_meta
    found = read(tmp_path, "DICOMDIR", whole(listed))
    assert found == (Foreign, "a DICOMDIR, which lists files and holds no image")
