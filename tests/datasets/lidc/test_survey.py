"""A download is remembered as it is read, reported whole, and checked again."""

import errno
import json
import os
import shutil
import signal
import subprocess
import sys
import tarfile
import time
import zipfile
from pathlib import Path

import numpy as np
import pytest

from benchmark.contracts import InputError
from ct import dataset, sphere, write
from datasets import cohort, store
from datasets.dicom import headers, images
from datasets.lidc import ledger, readings, series, survey
from datasets.lidc.collections import Dicom


@pytest.fixture(scope="module")
def spheres():
    """Four patients of two series each but the last."""
    made = []
    for number in range(7):
        patient = f"LIDC-IDRI-90{number // 2:02}"
        made.append(sphere(radius=5.0 + number, series=f"1.2.{number + 1}", patient=patient, first_id=number + 1))
    return made


@pytest.fixture
def known(spheres, monkeypatch):
    """The made-up scans stand in for the database's."""
    monkeypatch.setattr(readings, "load", lambda: [one.scan for one in spheres])
    return spheres


@pytest.fixture(scope="module")
def root(spheres, tmp_path_factory):
    """Six of the seven series, in six layouts; one is incomplete, one damaged."""
    root = tmp_path_factory.mktemp("download")
    write(spheres[0], root / "LIDC-IDRI-9000" / "study" / "series")
    write(spheres[1], root / "flat", name="one-{level}")
    write(spheres[2], root / "flat", name="two-{level}")
    write(spheres[3], source := root.parent / "packed")
    with zipfile.ZipFile(root / "patient.zip", "w", zipfile.ZIP_DEFLATED) as made:
        for path in source.iterdir():
            made.write(path, f"LIDC/{path.name}")
    write(spheres[4], source := root.parent / "tarred", skip={0})
    with tarfile.open(root / "patient.tar.gz", "w:gz") as made:
        made.add(source, "LIDC")
    write(spheres[5], folder := root / "damaged")
    (folder / "011.dcm").write_bytes((folder / "011.dcm").read_bytes()[:-400])
    (root / "LICENSE").write_text("text")
    return root


def prepare(root, folder, **options):
    return cohort.prepare(Dicom(root, folder / "dicom"), folder, **options)


def report(folder):
    return json.loads((folder / "dicom" / "prepare.json").read_text())


def test_any_layout_gives_one_cohort_and_a_whole_report(known, root, tmp_path):
    counts = []
    path = prepare(root, tmp_path, progress=lambda *now: counts.append(now))
    made = store.load(path)
    assert made.nodule_ids == tuple(f"LIDC-IDRI-90{n // 2:02}-r{n + 1}" for n in range(5))
    assert made.source == "dicom" and made.volumes.dtype == np.int16 and counts[-1] == (6, 6)
    told = report(tmp_path)
    assert told["nodules"]["in the database"] == 7 and told["nodules"]["made"] == 5
    assert told["nodules"]["series missing"] == 1
    assert "truncated" in told["nodules"]["left out"]["LIDC-IDRI-9002-r6"]
    assert [one["series"] for one in told["series"]["missing"]] == ["1.2.7"]
    assert [one["series"] for one in told["series"]["incomplete"]] == ["1.2.5"]
    assert [one["series"] for one in told["series"]["damaged"]] == ["1.2.6"]
    assert {fault["name"]: fault["reason"] for fault in told["files"]}["LICENSE"] == "not DICOM"
    assert (came := made.provenance.preparation) and (came.known, came.made, len(came.left_out)) == (7, 5, 1)


def test_of_a_sample_no_other_series_slices_are_read_and_the_report_says_what_was_asked_for(
    known, root, tmp_path, monkeypatch
):
    read, whole = set(), images.read_image
    monkeypatch.setattr(images, "read_image", lambda file, one: read.add(one.series_uid) or whole(file, one))
    sample = store.load(prepare(root, tmp_path, sample=2))
    assert read == set(sample.scan_ids) and 2 <= len(sample) < 5
    told = report(tmp_path)["nodules"]
    assert (told["in the database"], told["asked for"], told["made"]) == (7, len(sample), len(sample))
    assert (sample.provenance.sample, sample.provenance.drawn_from) == (2, 6)


def test_workers_and_layouts_do_not_change_a_voxel(known, root, tmp_path, monkeypatch):
    monkeypatch.setattr(cohort, "PARTS_PER_WORKER", 3)
    one = store.load(prepare(root, tmp_path / "one"))
    two = store.load(prepare(root, tmp_path / "two", workers=2))
    assert one.content_hash == two.content_hash


def test_a_second_call_reads_no_file(known, root, tmp_path, monkeypatch):
    path = prepare(root, tmp_path)
    monkeypatch.setattr(headers, "read_header", lambda *_: pytest.fail("it read again"))
    monkeypatch.setattr(images, "read_image", lambda *_: pytest.fail("it read again"))
    assert prepare(root, tmp_path) == path


def test_what_was_done_before_a_stop_is_not_done_again(known, root, tmp_path, monkeypatch):
    made, make = [], series.make

    def stop_at_fourth(job):
        if len(made) == 3:
            raise KeyboardInterrupt
        made.append(job.nodules[0].id)
        return make(job)

    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr(series, "make", stop_at_fourth)
        prepare(root, tmp_path)
    assert not list(tmp_path.glob("*.npz"))
    again = []
    monkeypatch.setattr(series, "make", lambda job: again.append(job.nodules[0].id) or make(job))
    whole = store.load(prepare(root, tmp_path))
    assert len(made) == len(again) == 3 and not set(made) & set(again)
    assert whole.content_hash == store.load(prepare(root, tmp_path / "fresh")).content_hash


KILLED = """
import sys, time
sys.path[:0] = sys.argv[1:3]
from pathlib import Path
from ct import sphere
from datasets import cohort
from datasets.lidc import readings, series
from datasets.lidc.collections import Dicom
made = [sphere(radius=5.0 + n, series=f"1.2.{n + 1}", patient=f"LIDC-IDRI-90{n // 2:02}", first_id=n + 1)
        for n in range(7)]
readings.load = lambda: [one.scan for one in made]
make = series.make
series.make = lambda job: (time.sleep(0.3), make(job))[1]
folder = Path(sys.argv[4])
cohort.prepare(Dicom(Path(sys.argv[3]), folder / "dicom"), folder)
"""


def test_a_killed_process_leaves_whole_parts(known, root, tmp_path, monkeypatch):
    here = Path(__file__).parents[2]
    command = [sys.executable, "-c", KILLED, str(here.parent), str(here / "support"), str(root), str(tmp_path)]
    process = subprocess.Popen(command)
    limit = time.monotonic() + 120
    while len(list(tmp_path.glob("dicom/parts/*.npz"))) < 2 and time.monotonic() < limit:
        time.sleep(0.01)
    process.send_signal(signal.SIGKILL)
    process.wait()
    kept = list(tmp_path.glob("dicom/parts/*.npz"))
    assert len(kept) >= 2 and all(series.load(part) for part in kept)
    make, again = series.make, []
    monkeypatch.setattr(series, "make", lambda job: again.append(job) or make(job))
    assert len(store.load(prepare(root, tmp_path))) == 5 and len(again) == 6 - len(kept)


def test_more_files_make_another_cohort_and_only_their_series_is_read(known, root, tmp_path, monkeypatch):
    copy = tmp_path / "copy"
    shutil.copytree(root, copy)
    first = prepare(copy, tmp_path / "work")
    write(known[6], copy / "flat", name="more-{level}")
    make, again = series.make, []
    monkeypatch.setattr(series, "make", lambda job: again.append(job.nodules[0].id) or make(job))
    second = prepare(copy, tmp_path / "work")
    assert second != first and len(store.load(second)) == 6
    assert again == ["LIDC-IDRI-9003-r7"]


def test_a_full_disk_is_a_sentence_and_what_is_done_is_kept(known, root, tmp_path, monkeypatch):
    parts = tmp_path / "dicom" / "parts"

    def full(handle):
        if len(list(parts.glob("[!.]*"))) == 3:
            raise OSError(errno.ENOSPC, "No space left on device")

    with (
        monkeypatch.context() as patch,
        pytest.raises(InputError, match=r"no space left below .* it goes on from there"),
    ):
        patch.setattr(os, "fsync", full)
        prepare(root, tmp_path)
    assert len(list(parts.iterdir())) == 3 and all(map(series.load, parts.iterdir()))
    assert len(store.load(prepare(root, tmp_path))) == 5


@pytest.fixture
def copy(root, tmp_path):
    shutil.copytree(root, tmp_path / "copy")
    return tmp_path / "copy"


def flip(path: Path) -> None:
    """Change a pixel and leave size and time as they were."""
    status, content = path.stat(), bytearray(path.read_bytes())
    content[-999] ^= 1
    path.write_bytes(content)
    os.utime(path, ns=(status.st_atime_ns, status.st_mtime_ns))


def test_verify_names_a_slice_that_is_not_what_it_was(known, copy, tmp_path):
    prepare(copy, tmp_path / "work")
    Dicom(copy, tmp_path / "work" / "dicom", verify=True)
    flip(copy / "flat" / "one-9")
    with pytest.raises(InputError, match=r"1 slices are not what they were .*one-9: its pixels are not those of its"):
        Dicom(copy, tmp_path / "work" / "dicom", verify=True)
    (copy / "flat" / "one-9").unlink()
    with pytest.raises(InputError, match=r"1 slices are not what they were .*is no longer there"):
        Dicom(copy, tmp_path / "work" / "dicom", verify=True)


def test_a_changed_slice_never_makes_a_silent_crop(known, copy, tmp_path):
    prepare(copy, tmp_path / "work")
    flip(copy / "flat" / "one-9")
    os.utime(copy / "flat" / "one-9")
    made = store.load(prepare(copy, tmp_path / "work"))
    assert "LIDC-IDRI-9000-r2" not in made.nodule_ids and len(made) == 4
    assert ledger.CHANGED in report(tmp_path / "work")["nodules"]["left out"]["LIDC-IDRI-9000-r2"]


@pytest.mark.parametrize("spoil", ["edited", "another's", "of an earlier version"])
def test_an_index_of_headers_that_is_not_what_was_written_is_made_again(known, root, tmp_path, spoil):
    whole = survey.find(root, tmp_path)
    kept = {path: path.read_bytes() for path in (tmp_path / "index").iterdir()}
    path, other = sorted(kept, key=lambda path: len(kept[path]))[-2:]
    content = {
        "edited": kept[path].replace(b'"problem": ""', b'"problem": "no"', 1),
        "another's": kept[other],
        "of an earlier version": b"{" + kept[path].partition(b'",')[2],
    }[spoil]
    assert content != kept[path]
    path.write_bytes(content)
    assert survey.find(root, tmp_path) == whole and path.read_bytes() == kept[path]


def test_another_part_of_the_same_series_is_not_taken_for_this_one(known, root, tmp_path):
    found = survey.find(root, tmp_path)
    one, other = (found.jobs([known[0].nodules], code)[0] for code in ("one", "other"))
    series.crop(one)
    other.part.write_bytes(one.part.read_bytes())
    assert series.load(one.part) and series.load(other.part) is None


def test_a_damaged_part_file_is_made_again(known, root, tmp_path):
    path = prepare(root, tmp_path)
    path.unlink()
    part = min((tmp_path / "dicom" / "parts").iterdir())
    part.write_bytes(part.read_bytes()[:-50])
    assert len(store.load(prepare(root, tmp_path))) == 5


def test_a_sample_is_taken_from_what_is_there(known, root, tmp_path):
    made = store.load(prepare(root, tmp_path, sample=3))
    assert 3 <= len(made) <= 4 and len(set(made.patient_ids)) == 2


def test_a_root_comes_from_pylidcs_configuration(monkeypatch, tmp_path):
    monkeypatch.setattr(survey.Path, "home", lambda: tmp_path)
    with pytest.raises(InputError, match="give --dicom-root PATH"):
        survey.root_of(None)
    config = tmp_path / (".pylidcrc" if os.name != "nt" else "pylidc.conf")
    config.write_text(f"[dicom]\npath = {tmp_path}\nwarn = True\n")
    assert survey.root_of(None) == tmp_path.resolve()
    config.write_text("[dicom]\npath = /no/where\n")
    with pytest.raises(InputError, match="'/no/where' is neither a folder nor a zip or tar"):
        survey.root_of(None)
    config.write_text("path")
    with pytest.raises(InputError, match="cannot read"):
        survey.root_of(None)


@pytest.mark.parametrize("name", ["p", "p.zip"])
def test_a_root_is_what_it_is_and_not_what_it_is_called(known, tmp_path, name):
    with zipfile.ZipFile(tmp_path / name, "w") as made:
        made.writestr("text", "text")
    assert survey.root_of(tmp_path / name) == tmp_path / name
    (tmp_path / name).write_text("<html>")
    with pytest.raises(InputError, match="is neither a folder nor a zip or tar"):
        survey.root_of(tmp_path / name)
    (tmp_path / name).unlink()
    (tmp_path / name).mkdir()
    assert survey.root_of(tmp_path / name) == tmp_path / name


def test_a_root_that_the_system_refuses_is_a_sentence(tmp_path):
    with pytest.raises(InputError, match=r"--dicom-root 'x+' cannot be read \(File name too long\)"):
        survey.root_of(Path("x" * 999))


def test_a_folder_called_an_archive_may_become_one_between_two_runs(known, tmp_path):
    folder = tmp_path / "ct" / "LIDC-IDRI-9000.zip"
    write(known[0], folder)
    first = store.load(prepare(tmp_path / "ct", tmp_path / "work"))
    packed = tmp_path / "packed"
    with zipfile.ZipFile(packed, "w") as made:
        for path in folder.iterdir():
            made.write(path, path.name)
    shutil.rmtree(folder)
    packed.rename(folder)
    again = store.load(prepare(tmp_path / "ct", tmp_path / "work"))
    Dicom(tmp_path / "ct", tmp_path / "work" / "dicom", verify=True)
    assert first.nodule_ids == again.nodule_ids == ("LIDC-IDRI-9000-r1",)
    np.testing.assert_array_equal(first.volumes, again.volumes)


def test_a_file_that_the_system_refused_once_is_tried_again(known, tmp_path, monkeypatch):
    write(known[0], tmp_path / "ct")
    path_open = Path.open

    def refuse(self, *arguments, **options):
        if self.name == "005.dcm":
            raise PermissionError(errno.EACCES, "Permission denied")
        return path_open(self, *arguments, **options)

    with monkeypatch.context() as patch:
        patch.setattr(Path, "open", refuse)
        found = survey.find(tmp_path / "ct", tmp_path / "work")
    assert [(fault.name, fault.reason) for fault in found.faults] == [("005.dcm", "unreadable: Permission denied")]
    found = survey.find(tmp_path / "ct", tmp_path / "work")
    assert found.faults == () and len(found.slices["1.2.1"]) == len(known[0].scan.slice_z_mm)


def test_nothing_to_make_is_a_sentence(known, tmp_path):
    (tmp_path / "ct").mkdir()
    with pytest.raises(InputError, match=r"no nodule could be made .*prepare\.json says why"):
        prepare(tmp_path / "ct", tmp_path / "work")
    other = sphere(series="9.9")
    dataset(other.scan, 0.0, other.hu(0), other.spacing_mm).save_as(tmp_path / "ct" / "x", enforce_file_format=True)
    with pytest.raises(InputError, match="no nodule could be made"):
        prepare(tmp_path / "ct", tmp_path / "work")
    assert report(tmp_path / "work")["series"]["not of LIDC-IDRI"] == {"9.9": ["x"]}


def test_a_files_name_that_is_no_utf_8_does_no_harm(known, tmp_path):
    write(known[0], tmp_path / "ct")
    odd = os.fsdecode(b"\xff\xfe.dcm")
    try:
        (tmp_path / "ct" / "000.dcm").rename(tmp_path / "ct" / odd)
    except OSError:
        pytest.skip("this file system holds UTF-8 alone")
    (tmp_path / "ct" / f"{odd}.txt").write_text("text")
    dataset(known[0].scan, -99.9, known[0].hu(0), known[0].spacing_mm).save_as(
        tmp_path / "ct" / f"astray-{odd}", enforce_file_format=True
    )
    first = prepare(tmp_path / "ct", tmp_path / "work")
    assert prepare(tmp_path / "ct", tmp_path / "work") == first and len(store.load(first)) == 1
    assert {fault["name"] for fault in report(tmp_path / "work")["files"]} == {f"{odd}.txt", f"astray-{odd}"}
