"""What a file is, is what it holds: archives under wrong names or none, folders and slices that are called archives."""

import bz2
import gzip
import io
import lzma
import shutil
import tarfile
import zipfile

import pytest

from ct import sphere, write
from datasets.dicom import archive, headers, images
from datasets.dicom.files import Fault, File

SLICES = 3


@pytest.fixture(scope="module")
def source(tmp_path_factory):
    """A folder of a few slices."""
    folder = tmp_path_factory.mktemp("source")
    write(sphere(), folder, skip=set(range(SLICES, 99)))
    return folder


def slices(root):
    """Return each slice below a root, read whole, and the faults."""
    units, faults = archive.units(root)
    found = []
    for file in (file for unit in units for file in archive.read(root, unit)):
        if isinstance(file, Fault):
            faults.append(file)
        else:
            found.append(headers.read_header(file))
    read = dict(images.read_images(root, found))
    assert not [image for image in read.values() if isinstance(image, str)]
    return sorted(one.label for one in read), faults


def zipped(source, name="{}"):
    content = io.BytesIO()
    with zipfile.ZipFile(content, "w") as made:
        for path in sorted(source.iterdir()):
            made.write(path, name.format(path.name))
    return content.getvalue()


def tarred(source, packing=""):
    content = io.BytesIO()
    with tarfile.open(fileobj=content, mode=f"w:{packing}") as made:
        for path in sorted(source.iterdir()):
            made.add(path, path.name)
    return content.getvalue()


@pytest.mark.parametrize("name", ["LIDC-IDRI-0001.zip", "P.TAR.GZ", "deep/LIDC-IDRI-0001.zip/more"])
def test_a_folder_that_is_called_an_archive_is_a_folder(source, tmp_path, name):
    shutil.copytree(source, tmp_path / name)
    found, faults = slices(tmp_path)
    assert found == [f"{name}/00{level}.dcm" for level in range(SLICES)] and faults == []


def test_a_root_that_is_called_an_archive_is_a_folder(source, tmp_path):
    root = shutil.copytree(source, tmp_path / "LIDC-IDRI-0001.zip")
    assert slices(root) == ([f"00{level}.dcm" for level in range(SLICES)], [])


@pytest.mark.parametrize("name", ["p", "p.ZIP", "p.zip (1)", "p.dcm", "p.tar.gz"])
@pytest.mark.parametrize(
    "pack",
    [
        zipped,
        tarred,
        lambda source: tarred(source, "gz"),
        lambda source: tarred(source, "bz2"),
        lambda source: tarred(source, "xz"),
    ],
    ids=["zip", "tar", "tar.gz", "tar.bz2", "tar.xz"],
)
def test_an_archive_is_one_whatever_its_name(source, tmp_path, pack, name):
    (tmp_path / name).write_bytes(pack(source))
    expected = [f"{name}::00{level}.dcm" for level in range(SLICES)]
    assert slices(tmp_path) == (expected, []) == slices(tmp_path / name)
    assert archive.kind_of(tmp_path / name) == ("zip" if pack is zipped else "tar")


def test_a_tar_of_one_big_bzip2_block_is_known_without_its_name(tmp_path):
    noise = gzip.compress(bytes(range(256)) * 4000) * 200  # fills the first block of 900,000 bytes
    content = io.BytesIO()
    with tarfile.open(fileobj=content, mode="w:bz2") as made:
        info = tarfile.TarInfo("noise")
        info.size = len(noise)
        made.addfile(info, io.BytesIO(noise))
    (tmp_path / "p").write_bytes(content.getvalue())
    assert archive.kind_of(tmp_path / "p") == "tar"


@pytest.mark.parametrize("name", ["002.zip", "002.tgz"])
def test_a_slice_that_is_called_an_archive_is_a_slice(source, tmp_path, name):
    shutil.copytree(source, tmp_path / "ct")
    (tmp_path / "ct" / "002.dcm").rename(tmp_path / "ct" / name)
    assert slices(tmp_path / "ct") == (["000.dcm", "001.dcm", name], [])


@pytest.mark.parametrize("member", ["ab::{}", "q.zip::{}", "q.zip/{}", "::{}"])
def test_a_member_may_be_called_as_if_it_lay_in_another_archive(source, tmp_path, member):
    (tmp_path / "p.zip").write_bytes(zipped(source, member))
    expected = [f"p.zip::{member.format(f'00{level}.dcm')}" for level in range(SLICES)]
    assert slices(tmp_path) == (expected, [])


def test_a_file_is_opened_once_to_tell_what_it_is_and_to_read_its_header(source, tmp_path, monkeypatch):
    for name in ("000", "001", "002"):
        shutil.copy(source / f"{name}.dcm", tmp_path / name)
    opened, reads = [], []
    path_open, read = archive.Path.open, File.head

    def counted(self, *arguments, **options):
        opened.append(self.name)
        return path_open(self, *arguments, **options)

    monkeypatch.setattr(archive.Path, "open", counted)
    units, _ = archive.units(tmp_path)
    assert opened == []
    monkeypatch.setattr(File, "head", lambda file, count: reads.append(count) or read(file, count))
    for file in archive.read(tmp_path, units[0]):
        headers.read_header(file)
    assert opened == ["000", "001", "002"] and set(reads) == {headers.HEAD_BYTES}


@pytest.mark.parametrize("now", ["a folder", "a file"])
def test_a_slice_whose_archive_became_something_else_is_no_longer_there(source, tmp_path, now):
    path = tmp_path / "p.zip"
    path.write_bytes(zipped(source))
    units, _ = archive.units(tmp_path)
    found = [headers.read_header(file) for unit in units for file in archive.read(tmp_path, unit)]
    path.unlink()
    if now == "a folder":
        shutil.copytree(source, path)
    else:
        shutil.copy(source / "000.dcm", path)
    reasons = [image for _, image in images.read_images(tmp_path, found)]
    assert reasons == ["unreadable: Is a directory" if now == "a folder" else "no longer there"] * SLICES
    assert {unit.key for unit in units}.isdisjoint(unit.key for unit in archive.units(tmp_path)[0])


@pytest.mark.parametrize(
    ("name", "content", "reason"),
    [
        ("p.zip", b"", "empty"),
        ("p.tar.xz", b"", "empty"),
        ("p.zip", b"<html>503</html>", "a web page, as a failed download leaves: download it again"),
        ("p.zip", b"7z\xbc\xaf\x27\x1c\0\4", "a 7z archive, which is not read: unpack it with 7z x"),
        ("p.rar", b"Rar!\x1a\x07\1\0", "a RAR archive, which is not read: unpack it with unrar x"),
        ("p.zip", gzip.compress(b"text"), "gzipped: unpack it with gunzip"),
        ("p.bz2", bz2.compress(b"text"), "packed with bzip2: unpack it with bunzip2"),
        ("p.xz", lzma.compress(b"text"), "packed with xz: unpack it with unxz"),
    ],
    ids=["empty zip", "empty tar.xz", "a web page", "7z", "RAR", "gzip", "bzip2", "xz"],
)
def test_what_is_no_archive_is_told_as_what_it_is(tmp_path, name, content, reason):
    (tmp_path / name).write_bytes(content)
    (unit,), _ = archive.units(tmp_path)
    for file in archive.read(tmp_path, unit):
        with pytest.raises(headers.Refused) as told:
            headers.read_header(file)
        assert str(told.value) == reason
