"""Two thousand damaged files: each is named, none crashes or hangs the reading, none makes a silent crop."""

import json
import struct
import time
from pathlib import Path

import numpy as np
import pytest
from pydicom import dcmread

from benchmark.contracts import InputError
from ct import sphere, write
from datasets import cohort, store
from datasets.dicom import archive, headers, images
from datasets.dicom.files import Refused
from datasets.lidc import readings
from datasets.lidc.collections import Dicom

SERIES, FILES = 106, 2000


def elements(path: Path) -> dict[int, int]:
    """Return where each element of a slice starts, by tag; its pixels are the last."""
    content = path.read_bytes()
    found = {}
    for element in dcmread(path):
        tag = struct.pack("<HH", element.tag.group, element.tag.element)
        found[int(element.tag)] = content.index(tag + element.VR.encode())
    return found


def truncate(path, random, starts):
    content = path.read_bytes()
    path.write_bytes(content[: random.integers(1, len(content))])


def flip(path, random, starts):
    content = bytearray(path.read_bytes())
    for _ in range(random.integers(1, 4)):
        content[random.integers(128, starts[0x7FE00010] + 12)] ^= 1 << random.integers(8)
    path.write_bytes(content)


def wrong_vr(path, random, starts):
    content = bytearray(path.read_bytes())
    at = starts[random.choice([0x00200032, 0x00280010, 0x00280030, 0x00281053, 0x0020000E])]
    content[at + 4 : at + 6] = random.choice([b"SQ", b"OB", b"FD", b"AT", b"\0\0", b"ZZ"])
    path.write_bytes(content)


def giant_length(path, random, starts):
    content = bytearray(path.read_bytes())
    at = starts[random.choice([0x00080008, 0x0020000E, 0x00200032, 0x00280030, 0x7FE00010])]
    if content[at + 4 : at + 6] == b"OW":
        content[at + 8 : at + 12] = random.choice([b"\xfe\xff\xff\xff", b"\xff\xff\xff\xff", b"\0\0\0\x7f"])
    else:
        content[at + 6 : at + 8] = b"\xff\xff"
    path.write_bytes(content)


def endless_nesting(path, random, starts):
    content = path.read_bytes()
    opened = struct.pack("<HH2sHL", 0x0008, 0x1140, b"SQ", 0, 0xFFFFFFFF) + struct.pack(
        "<HHL", 0xFFFE, 0xE000, 0xFFFFFFFF
    )
    at = starts[0x00080060]
    path.write_bytes(content[:at] + opened * int(random.integers(1, 5000)) + content[at:])


def empty(path, random, starts):
    path.write_bytes(b"")


def not_dicom(path, random, starts):
    path.write_bytes(random.bytes(random.integers(1, 3000)))


def magic_only(path, random, starts):
    path.write_bytes(b"\0" * 128 + b"DICM" + random.bytes(random.integers(0, 3000)))


def loop(path, random, starts):
    path.unlink()
    path.symlink_to(path.name)


def unreadable(path, random, starts):
    path.unlink()
    path.symlink_to("/proc/self/mem" if Path("/proc/self/mem").exists() else "/nowhere")  # reading it is an error


DAMAGES = [
    truncate,
    flip,
    flip,
    wrong_vr,
    giant_length,
    endless_nesting,
    empty,
    not_dicom,
    magic_only,
    loop,
    unreadable,
]


@pytest.fixture(scope="module")
def damaged(tmp_path_factory):
    """A hundred series of nineteen slices that one nodule needs, every file of them damaged; and the intact slices."""
    random, root = np.random.default_rng(2000), tmp_path_factory.mktemp("damaged")
    made, intact = [], {}
    for number in range(SERIES):
        one = sphere(
            (4.0, 2.0, 2.0),
            14.0,
            series=f"1.2.840.{(number + 1) * 982_451_653}",
            patient=f"LIDC-IDRI-{number:04}",
            first_id=number,
        )
        made.append(one)
        write(one, root / f"{number}")
        for unit in archive.units(root / f"{number}")[0]:
            for file in archive.read(root / f"{number}", unit):
                header = headers.read_header(file)
                intact[f"{number}/{file.name}"] = header, images.image_hash(images.read_image(file, header))
    for order, name in enumerate(intact):
        DAMAGES[order % len(DAMAGES)](root / name, random, elements(root / name))
    return root, made, intact


def harmless(path: Path, header, content) -> bool:
    """Return whether a damaged file still shows the same image at the same place, or one scaled by other numbers."""
    for file in archive.opened(path.parent, path.name, header.stamp):
        found = headers.read_header(file)
        image = images.read_image(file, found)
    dataset = dcmread(path)
    rescaled = (dataset.RescaleSlope, dataset.RescaleIntercept) != (1, -1024)  # no reader could tell: the pixels fit
    same_place = (found.position_mm[2], found.series_uid) == (header.position_mm[2], header.series_uid)
    return same_place and (rescaled or images.image_hash(image) == content)


def test_two_thousand_damaged_files_are_named(damaged, tmp_path, monkeypatch):
    root, made, intact = damaged
    assert len(intact) >= FILES
    monkeypatch.setattr(readings, "load", lambda: [one.scan for one in made])
    slowest = 0.0
    read_header = headers.read_header

    def timed(file):
        nonlocal slowest
        start = time.process_time()
        try:
            return read_header(file)
        finally:
            slowest = max(slowest, time.process_time() - start)

    monkeypatch.setattr(headers, "read_header", timed)
    with pytest.raises(InputError, match="no nodule could be made"):
        cohort.prepare(Dicom(root, tmp_path / "dicom"), tmp_path)
    assert slowest < 5
    report = json.loads((tmp_path / "dicom" / "prepare.json").read_text())
    named = {fault["name"] for fault in report["files"]}
    named |= {name for names in report["series"]["not of LIDC-IDRI"].values() for name in names}
    unnamed = intact.keys() - named
    assert len(unnamed) < 0.1 * len(intact)
    assert [name for name in sorted(unnamed) if not harmless(root / name, *intact[name])] == []
    assert all(reason for reason in report["nodules"]["left out"].values())


def test_one_damaged_slice_leaves_its_nodule_out_and_no_other(tmp_path, monkeypatch):
    random = np.random.default_rng(1)
    made = [sphere(series=f"1.{n}", patient=f"LIDC-IDRI-900{n}", first_id=n) for n in range(len(DAMAGES))]
    monkeypatch.setattr(readings, "load", lambda: [one.scan for one in made])
    for number, damage in enumerate(DAMAGES):
        if damage is not flip:
            write(made[number], tmp_path / "ct" / f"{number}")
            path = tmp_path / "ct" / f"{number}" / "010.dcm"
            damage(path, random, elements(path))
    write(made[1], tmp_path / "ct" / "1")
    found = store.load(cohort.prepare(Dicom(tmp_path / "ct", tmp_path / "dicom"), tmp_path))
    assert found.nodule_ids == ("LIDC-IDRI-9001-r1",)
    assert len(found.provenance.preparation.left_out) == len(DAMAGES) - DAMAGES.count(flip)


def test_a_header_of_endless_items_is_given_up_in_time(tmp_path):
    path = tmp_path / "x"
    made = sphere()
    write(made, tmp_path / "ct", skip=set(range(1, 99)))
    content = (tmp_path / "ct" / "000.dcm").read_bytes()
    at = elements(tmp_path / "ct" / "000.dcm")[0x00080060]
    sequence = struct.pack("<HH2sHL", 0x0008, 0x1140, b"SQ", 0, 0xFFFFFFFF)
    path.write_bytes(content[:at] + sequence + struct.pack("<HHL", 0xFFFE, 0xE000, 0) * 4_000_000)
    empties = tmp_path / "y"
    empties.write_bytes(content[:at] + struct.pack("<HH2sH", 0x0008, 0x0005, b"CS", 0) * 4_000_000)
    for file in (file for name in "xy" for file in archive.opened(tmp_path, name, "")):
        start = time.process_time()
        with pytest.raises(Refused):
            headers.read_header(file)
        assert time.process_time() - start < 5
