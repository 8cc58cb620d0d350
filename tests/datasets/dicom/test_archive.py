"""Whatever a user's download looks like: folders, zips, tars, links, and things that are none of these."""

import gzip
import io
import os
import random
import tarfile
import time
import zipfile
from pathlib import Path

import pytest

from datasets.dicom import archive, headers
from datasets.dicom.files import Fault, File, Refused


def walk(root: Path) -> tuple[dict[str, bytes], dict[str, str]]:
    """Return the content and the faults of everything below a root."""
    units, faults = archive.units(root)
    found = {}
    for unit in units:
        for file in archive.read(root, unit):
            if isinstance(file, File):
                found[file.label] = file.whole()
            else:
                faults.append(file)
    return found, {fault.name: fault.reason for fault in faults}


def tar(path: Path, members: dict[str, bytes], mode="w") -> None:
    with tarfile.open(path, mode) as made:
        for name, content in members.items():
            info = tarfile.TarInfo(name)
            info.size = len(content)
            made.addfile(info, io.BytesIO(content))


def pack(path: Path, members: dict[str, bytes]) -> None:
    """Write a zip or tar, as the name says."""
    if path.suffix == ".zip":
        with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as made:
            for name, content in members.items():
                made.writestr(name, content)
    else:
        tar(path, members)


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


@pytest.mark.parametrize("name", ["p.zip", "p.tar"])
def test_only_the_wanted_members_are_opened(tmp_path, name):
    pack(tmp_path / name, {name: name.encode() for name in "abc"})
    assert [file.member for file in archive.opened(tmp_path, name, "", {"b"})] == ["b"]


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
        with pytest.raises(Refused, match="BadZipFile"):
            file.whole()


def test_a_link_inside_a_zip_is_refused(tmp_path):
    link = zipfile.ZipInfo("link")
    link.create_system, link.external_attr = 3, 0o120777 << 16
    pack(tmp_path / "p.zip", {link: b"good", "good": b"good"})
    reason = "refused: a link or a special file within an archive"
    assert walk(tmp_path) == ({"p.zip::good": b"good"}, {"p.zip::link": reason})


@pytest.mark.parametrize("name", ["p.zip", "p.tar"])
@pytest.mark.filterwarnings("ignore:Duplicate name")
def test_of_two_members_of_one_name_the_first_is_read_and_the_second_named(tmp_path, name):
    for number, content in enumerate((b"first", b"second")):
        if name == "p.zip":
            with zipfile.ZipFile(tmp_path / name, "a") as made:
                made.writestr("x", content)
        else:
            tar(tmp_path / name, {"x": content}, "a" if number else "w")
    found, faults = walk(tmp_path)
    assert found == {f"{name}::x": b"first"} and "another file in the archive has its name" in faults[f"{name}::x"]
    assert [type(file) for file in archive.opened(tmp_path, name, "", {"x"})] == [File, Fault]


def test_a_member_without_a_name_is_refused(tmp_path):
    tar(tmp_path / "p.tar", {"": b"x", "good": b"good"})
    found, faults = walk(tmp_path)
    assert found == {"p.tar::good": b"good"} and faults == {"p.tar": "refused: it has no name"}


@pytest.mark.parametrize("damage", [lambda tar, at: tar[:at], lambda tar, at: tar[:at] + b"?" + tar[at + 1 :]])
def test_a_tar_that_breaks_off_between_members_says_so(tmp_path, damage):
    tar(tmp_path / "p.tar", {"a": b"a", "b": b"b"})
    (tmp_path / "p.tar").write_bytes(damage((tmp_path / "p.tar").read_bytes(), 2 * tarfile.BLOCKSIZE))
    found, faults = walk(tmp_path)
    assert found == {"p.tar::a": b"a"}
    assert faults == {"p.tar": "cut off or damaged: it has no end, so that files may be missing: download it again"}


def test_a_zip_that_breaks_off_says_so(tmp_path):
    pack(tmp_path / "p.zip", {"a": bytes(99), "b": bytes(99)})
    (tmp_path / "p.zip").write_bytes((tmp_path / "p.zip").read_bytes()[:-30])
    found, faults = walk(tmp_path)
    assert found == {} and faults["p.zip"].startswith("cut off or damaged: a zip's list of files stands at its end")


@pytest.mark.parametrize("name", ["p.zip", "p.tar"])
def test_an_archive_without_a_file_says_so(tmp_path, name):
    pack(tmp_path / name, {})
    assert walk(tmp_path) == ({}, {name: "an archive without a file: download it again if there should be any"})


def test_a_way_of_packing_that_is_not_read_is_no_damage(tmp_path):
    pack(tmp_path / "p.zip", {"a": b"a"})
    content = bytearray((tmp_path / "p.zip").read_bytes())
    content[8] = content[content.index(b"PK\1\2") + 10] = 9  # deflate64, as Windows may choose
    (tmp_path / "p.zip").write_bytes(content)
    assert "packed in a way that Python does not read" in walk(tmp_path)[1]["p.zip::a"]


@pytest.mark.parametrize("name", ["p.zip", "p.tar.gz"])
def test_damage_within_a_member_is_its_own_and_never_a_crash(tmp_path, name):
    noise = random.Random(0).randbytes(99_999)
    members = {"a": noise, "b": noise}
    pack(tmp_path / name, members) if name == "p.zip" else tar(tmp_path / name, members, "w:gz")
    content = bytearray((tmp_path / name).read_bytes())
    if name == "p.zip":
        at = content.rindex(b"PK\3\4") + 40
        content[at : at + 99] = b"\xff" * 99
    else:
        del content[len(content) * 4 // 5 :]
    (tmp_path / name).write_bytes(content)
    told = {}
    for file in archive.opened(tmp_path, name, ""):
        if isinstance(file, Fault):
            told[file.name] = file.reason
            continue
        try:
            told[file.label] = file.head(headers.HEAD_BYTES) and file.whole() == noise
        except Refused as refused:
            told[file.label] = str(refused)
    assert told[f"{name}::a"] is True and told[f"{name}::b"].startswith("damaged (")
