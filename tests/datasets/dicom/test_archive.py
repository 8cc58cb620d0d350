"""Whatever a user's download looks like: folders, zips, tars, links, and things that are none of these."""

import gzip
import io
import os
import tarfile
import time
import zipfile
from pathlib import Path

import pytest

from datasets.dicom import archive
from datasets.dicom.files import File, label


def walk(root: Path) -> tuple[dict[str, bytes], dict[str, str]]:
    """Return the content and the faults of everything below a root."""
    units, faults = archive.units(root)
    found = {}
    for unit in units:
        for file in archive.read(root, unit):
            if isinstance(file, File):
                found[label(file.place, file.name)] = file.whole()
            else:
                faults.append(file)
    return found, {fault.name: fault.reason for fault in faults}


def tar(path: Path, members: dict[str, bytes], mode="w") -> None:
    with tarfile.open(path, mode) as made:
        for name, content in members.items():
            info = tarfile.TarInfo(name)
            info.size = len(content)
            made.addfile(info, io.BytesIO(content))


def test_folders_zips_and_tars_of_any_layout(tmp_path):
    (tmp_path / "a" / "b c" / "ü").mkdir(parents=True)
    (tmp_path / "a" / "b c" / "ü" / "1").write_bytes(b"one")
    (tmp_path / "flat.dcm").write_bytes(b"two")
    with zipfile.ZipFile(tmp_path / "a" / "P.ZIP", "w", zipfile.ZIP_DEFLATED) as made:
        made.writestr("x/y/1.dcm", b"three")
    tar(tmp_path / "p.tar", {"x": b"four"})
    tar(tmp_path / "p.tar.gz", {"x": b"five"}, "w:gz")
    tar(tmp_path / "p.tgz", {"x/y": b"six", "x/z": b"seven"}, "w:gz")
    found, faults = walk(tmp_path)
    assert faults == {}
    assert found == {
        str(Path("a", "b c", "ü", "1")): b"one",
        "flat.dcm": b"two",
        f"{Path('a', 'P.ZIP')}::x/y/1.dcm": b"three",
        "p.tar::x": b"four",
        "p.tar.gz::x": b"five",
        "p.tgz::x/y": b"six",
        "p.tgz::x/z": b"seven",
    }
    assert walk(tmp_path / "p.tgz")[0] == {"p.tgz::x/y": b"six", "p.tgz::x/z": b"seven"}


def test_only_the_wanted_files_are_opened(tmp_path):
    for name in "abc":
        (tmp_path / name).write_bytes(name.encode())
    (unit,), _ = archive.units(tmp_path)
    assert [file.name for file in archive.read(tmp_path, unit, {"b"})] == ["b"]


@pytest.mark.parametrize("name", ["../x", "/etc/x", "a/../../x", "..\\x", "C:\\x", "\\\\host\\x"])
@pytest.mark.parametrize("kind", ["zip", "tar"])
def test_a_member_that_points_outside_is_refused_and_the_rest_is_read(tmp_path, kind, name):
    path = tmp_path / f"p.{kind}"
    if kind == "zip":
        with zipfile.ZipFile(path, "w") as made:
            made.writestr(name, b"bad")
            made.writestr("good", b"good")
    else:
        tar(path, {name: b"bad", "good": b"good"})
    found, faults = walk(path)
    assert found == {f"p.{kind}::good": b"good"}
    assert list(faults.values()) == ["refused: its name points outside the archive"]


def test_links_in_loops_and_strange_files_are_named(tmp_path):
    (tmp_path / "in" / "deep").mkdir(parents=True)
    (tmp_path / "in" / "file").write_bytes(b"x")
    (tmp_path / "in" / "deep" / "up").symlink_to(tmp_path / "in")
    (tmp_path / "a").symlink_to("b")
    (tmp_path / "b").symlink_to("a")
    (tmp_path / "gone").symlink_to("nowhere")
    (tmp_path / "linked").symlink_to(tmp_path / "in" / "file")
    os.mkfifo(tmp_path / "pipe")
    found, faults = walk(tmp_path)
    assert found == {"linked": b"x", str(Path("in", "file")): b"x"}
    assert set(faults) == {"a", "b", "gone", "pipe", str(Path("in", "deep", "up"))}


def test_a_link_inside_a_tar_is_refused(tmp_path):
    with tarfile.open(tmp_path / "p.tar", "w") as made:
        info = tarfile.TarInfo("link")
        info.type, info.linkname = tarfile.SYMTYPE, "/etc/passwd"
        made.addfile(info)
    assert walk(tmp_path) == ({}, {"p.tar::link": "refused: a link or a special file within an archive"})


def bomb_zip(path: Path) -> None:
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as made, made.open("slice", "w", force_zip64=True) as stream:
        for _ in range(100):
            stream.write(b"\0" * (1 << 20))


def bomb_tar(path: Path) -> None:
    info = tarfile.TarInfo("slice")
    info.size = 200 << 20
    with gzip.open(path, "wb", compresslevel=1) as stream:
        stream.write(info.tobuf())
        for _ in range(200):
            stream.write(b"\0" * (1 << 20))


def endless_name(path: Path) -> None:
    info = tarfile.TarInfo("././@LongLink")
    info.type, info.size = tarfile.GNUTYPE_LONGNAME, 8 << 30
    with gzip.open(path, "wb", compresslevel=1) as stream:
        stream.write(info.tobuf() + b"\0" * (64 << 20))


@pytest.mark.parametrize(
    ("name", "make"),
    [
        ("p.zip", bomb_zip),
        ("p.tar.gz", bomb_tar),
        ("q.tar.gz", endless_name),
        ("cut.zip", lambda path: path.write_bytes(b"PK\3\4" + b"\0" * 100)),
        ("cut.tar.gz", lambda path: path.write_bytes(gzip.compress(b"\1" * 9999)[:30])),
        ("empty.tar.xz", lambda path: path.write_bytes(b"")),
    ],
)
def test_bombs_and_broken_archives_are_refused_at_once(tmp_path, name, make):
    make(tmp_path / name)
    start = time.process_time()
    found, faults = walk(tmp_path)
    assert time.process_time() - start < 5
    assert found == {} and faults and all(told.startswith(name) for told in faults)


def test_a_damaged_member_is_told_when_it_is_read(tmp_path):
    with zipfile.ZipFile(tmp_path / "p.zip", "w") as made:
        made.writestr("a", b"A" * 100)
    content = bytearray((tmp_path / "p.zip").read_bytes())
    content[content.index(b"AAAA") + 9] ^= 1
    (tmp_path / "p.zip").write_bytes(content)
    (unit,), _ = archive.units(tmp_path)
    for file in archive.read(tmp_path, unit):
        assert isinstance(file, File)
        with pytest.raises(zipfile.BadZipFile):
            file.whole()
