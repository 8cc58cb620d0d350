"""What is known of the bucket before anything is asked of it."""

import subprocess
import sys
from pathlib import Path

import pytest

import datasets
from benchmark import commandline
from benchmark.contracts import InputError
from datasets import cohort, crops
from datasets.idc import index
from datasets.idc.bucket import Bucket, Object
from datasets.lidc import readings
from datasets.lidc.geometry import crop_of, grid_of

ROOT = Path(__file__).resolve().parents[3]


def test_the_index_has_every_series_of_the_database_once():
    known = index.load()
    assert known.keys() == {scan.series_uid for scan in readings.load()} and len(known) == 1018
    assert len({one.folder for one in known.values()}) == 1018
    text = index.FILE.read_text(encoding="utf-8")
    assert "release 25" in text and "Attribution 3.0" in text and len(text) < 150_000


def test_the_index_says_how_many_slices_crops_need(nodules):
    """As the geometry of `--source dicom` has it, in all 883 series."""
    needed = {uid: set() for uid in index.load()}
    for nodule in nodules:
        box = crops.box_of(crop_of(nodule), grid_of(nodule.scan))
        needed[nodule.scan.series_uid].update(range(box[0].start, box[0].stop))
    assert {uid: len(levels) for uid, levels in needed.items()} == {u: s.needed for u, s in index.load().items()}
    assert sum(map(bool, needed.values())) == 883 and sum(map(len, needed.values())) == 29_571


def test_five_series_have_other_slices_than_the_database():
    known, scans = index.load(), readings.load()
    other = {s.patient_id[-4:]: known[s.series_uid].slices - len(s.slice_z_mm) for s in scans}
    assert {patient: more for patient, more in other.items() if more} == {
        "0085": 1,
        "0146": 1,
        "0418": 5,
        "0572": 1,
        "0979": 5,
    }


PLAN = """
import sys, time
from pathlib import Path
import datasets
from datasets import cohort, samples
before = time.process_time()
collection = datasets.open_source("idc", Path(sys.argv[1]), endpoint="http://nobody.invalid")
_, said = cohort.foresee(collection, Path(sys.argv[1]), None, samples.refusal(None, "published", None, 5))
print(time.process_time() - before, said)
"""


def test_the_whole_plan_is_made_in_five_seconds_without_a_request(tmp_path):
    """Of processor time, since other work on the machine is not the plan's; in a process that checks no types."""
    ran = subprocess.run([sys.executable, "-c", PLAN, tmp_path], cwd=ROOT, capture_output=True, text=True, check=True)
    seconds, _, said = ran.stdout.partition(" ")
    assert float(seconds) < 5
    assert said.startswith("16,449 MB to fetch from http://nobody.invalid: 29,571 slices of 883 series")
    assert list(tmp_path.iterdir()) == []


def test_the_phantom_fetches_nothing(tmp_path):
    phantom = datasets.open_source("phantom", tmp_path)
    assert cohort.foresee(phantom, tmp_path, 300, lambda _: None) == (None, "")


@pytest.mark.parametrize("endpoint", ["", "s3.amazonaws.com", "ftp://host", "https://", "https://host/?a=b"])
def test_an_endpoint_that_is_no_address_is_refused(endpoint):
    with pytest.raises(InputError, match=r"no address of an object store: give https://HOST"):
        Bucket(endpoint)


def test_only_a_tag_that_can_be_an_md5_is_held_against_the_bytes():
    plain, pieces = (
        Object("f/a", 3, "900150983cd24fb0d6963f7d28e17f72"),
        Object("f/a", 3, "900150983cd24fb0d6963f7d28-2"),
    )
    assert plain.holds(b"abc") and not plain.holds(b"abd")  # the MD5 of RFC 1321's example
    assert pieces.holds(b"abc") and pieces.holds(b"abd") and plain.name == "a"


@pytest.mark.parametrize(
    ("options", "wrong"),
    [
        (["--source", "dicom", "--keep-dicom", "x"], "--keep-dicom is for --source idc, not for dicom"),
        (["--connections", "3"], "--connections is for --source idc, not for phantom"),
        (["--source", "idc", "--dicom-root", "x"], "--dicom-root is for --source dicom, not for idc"),
        (["--cohort", "f", "--idc-endpoint", "http://x"], "--cohort is prepared already and takes no --idc-endpoint"),
        (["--collection", "f", "--idc-timeout", "3"], "--collection brings its own nodules and takes no --idc-timeout"),
    ],
)
def test_options_of_another_source_are_refused(options, wrong):
    with pytest.raises(InputError, match=wrong):
        commandline.parse(options)


def test_only_what_was_said_of_a_source_is_handed_on():
    args = commandline.parse(["--source", "idc", "--connections", "3", "--idc-timeout", "1.5"])
    assert commandline.source_options(args) == {"connections": 3, "timeout_s": 1.5}
    assert commandline.source_options(commandline.parse([])) == {}
