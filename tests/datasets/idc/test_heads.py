"""Heads of slices: as little as holds them, read once."""

import io
import random

import pytest

import idc
from ct import sphere
from datasets.dicom import headers
from datasets.dicom.files import File, Refused
from datasets.idc import heads
from datasets.idc.bucket import Bucket, Lacking, Object, Passing


class Fake(Bucket):
    """A bucket of one object's bytes, which notes what was asked of it."""

    def __init__(self, content: bytes) -> None:
        self.content, self.asked = content, []

    def part(self, one, start, end):
        self.asked.append((start, end))
        return self.content[start:end]


def of(content: bytes, tag: str = "a-2") -> Object:
    return Object("folder/name.dcm", len(content), tag)


def encoded(**changes) -> bytes:
    return idc.encoded(sphere(), 3, **changes)


def test_a_head_is_what_the_whole_file_says():
    content = encoded()
    bucket = Fake(content)
    found = heads.read(bucket, of(content), "p/name.dcm")
    stamp = heads.stamp(of(content))
    assert found == headers.read_header(File("p/name.dcm", "", len(content), stamp, io.BytesIO(content).read))
    assert bucket.asked == [(0, 4096)] and found.position_mm[2] == -94.0 and found.problem == ""


@pytest.mark.parametrize(("comment", "last"), [(5_000, 16_384), (40_000, 65_536)])
def test_a_longer_header_is_read_on_and_not_anew(comment, last):
    content = encoded(TextValue="x" * comment)
    bucket = Fake(content)
    assert heads.read(bucket, of(content), "name.dcm").position_mm[2] == -94.0
    starts, ends = zip(*bucket.asked, strict=True)
    assert starts == (0, *ends[:-1]) and ends[-1] == min(last, len(content))


def test_what_is_no_dicom_is_not_read_on():
    bucket = Fake(random.Random(1).randbytes(100_000))
    with pytest.raises(Refused, match="not DICOM"):
        heads.read(bucket, of(bucket.content), "name.dcm")
    assert bucket.asked == [(0, 4096)]


def test_a_small_object_is_held_against_its_md5():
    with pytest.raises(Lacking, match="another MD5"):
        heads.read(Fake(b"abd"), of(b"abc", "900150983cd24fb0d6963f7d28e17f72"), "name.dcm")


@pytest.fixture
def noted(tmp_path):
    content = encoded()
    one = of(content)
    head = heads.read(Fake(content), one, "name.dcm")
    with heads.Notes(tmp_path / "heads" / "n.jsonl") as notes:
        notes.note(one, head)
    return tmp_path / "heads" / "n.jsonl", one, head


def test_what_was_noted_is_known_to_the_next_process(noted):
    path, one, head = noted
    assert heads.Notes(path).of(one) == head
    assert heads.Notes(path).of(Object(one.key, one.size, "another")) is None


def test_a_line_that_is_torn_costs_itself_alone(noted):
    path, one, head = noted
    other = Object("folder/other.dcm", 9, "b")
    path.write_bytes(path.read_bytes() + b'[{"key": "fol')
    with heads.Notes(path) as notes:
        notes.note(other, head)
    again = heads.Notes(path)
    assert again.of(one) == head == again.of(other)


def test_a_note_that_was_edited_or_has_no_hash_is_asked_for_again(noted):
    path, one, head = noted
    whole = path.read_bytes()
    z = str(head.position_mm[2]).encode()
    assert z in whole
    for content in (whole.replace(z, b"1.5"), b"\n" + whole.strip().partition(b" ")[2] + b"\n"):
        path.write_bytes(content)
        assert heads.Notes(path).of(one) is None


def test_a_store_that_always_fails_is_given_up_and_one_success_is_enough_to_go_on():
    from obstore.exceptions import GenericError

    from benchmark.contracts import InputError
    from datasets.idc.bucket import FAILED_IN_A_ROW

    def fail():
        raise GenericError("Generic S3 error: broken")

    bucket = Bucket("http://127.0.0.1:9", connections=2)
    for _ in range(3):
        for _ in range(FAILED_IN_A_ROW + 2):
            with pytest.raises(Passing, match="the store failed: broken"):
                bucket._ask(fail)
        assert bucket._ask(lambda: b"four") == b"four"
    assert bucket.received == 12
    with pytest.raises(InputError, match=r"does not answer any more .* run the same command again"):
        for _ in range(FAILED_IN_A_ROW + 3):
            with pytest.raises(Passing):
                bucket._ask(fail)
