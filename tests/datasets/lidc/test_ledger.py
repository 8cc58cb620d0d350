"""The first readings of a download's slices: kept whole, or told in a sentence to be damaged; never begun anew."""

import json

import pytest

from benchmark.contracts import InputError
from ct import sphere, write
from datasets.lidc import series, survey
from datasets.lidc.ledger import Ledger

DAMAGES = {
    "empty": b"",
    "a brace": b"{",
    "cut": b'{"1.2": "ab',
    "a list": b"[]",
    "a number": b'{"1.2": 3}',
    "no hash": b'{"1.2": "ab"}',
    "no UTF-8": b"\xff\xfe",
    "null": b"null",
    "zeros": b"\0" * 99,
}


@pytest.fixture
def done(tmp_path):
    """A download of one series that was cropped, as its survey and its ledger."""
    made = sphere()
    write(made, tmp_path / "ct")
    found = survey.find(tmp_path / "ct", tmp_path / "work")
    series.crop(found.jobs([made.nodules], "code")[0])
    return made, found, tmp_path / "work" / "ledger" / "1.2.3.json"


@pytest.mark.parametrize("content", DAMAGES.values(), ids=DAMAGES)
def test_a_damaged_ledger_is_a_sentence_and_stays_as_it_is(tmp_path, content):
    path = tmp_path / "1.2.3.json"
    path.write_bytes(content)
    with pytest.raises(InputError, match=r"1\.2\.3\.json, which holds the first readings .*: restore it, or delete it"):
        Ledger(path)
    assert path.read_bytes() == content


def test_a_ledger_that_the_system_refuses_is_a_sentence(tmp_path):
    (tmp_path / "1.2.3.json").mkdir()
    with pytest.raises(InputError, match="Is a directory"):
        Ledger(tmp_path / "1.2.3.json")


def test_crops_are_not_made_on_a_damaged_ledger_and_are_once_it_is_back(done):
    made, found, path = done
    whole = path.read_bytes()
    path.write_bytes(whole[:-9])
    (job,) = found.jobs([made.nodules], "other code")
    with pytest.raises(InputError, match="restore it, or delete it"):
        series.crop(job)
    assert path.read_bytes() == whole[:-9] and not job.part.exists()
    path.write_bytes(whole)
    assert len(series.crop(job)[0]) == 1 and path.read_bytes() == whole


def test_an_edited_ledger_or_another_series_is_told(tmp_path):
    first = Ledger(tmp_path / "1.2.3.json")
    first.hashes = {"1.2.3.4": "a" * 64}
    first.write()
    whole = first.path.read_bytes()
    assert Ledger(first.path).hashes == first.hashes
    first.path.write_bytes(whole.replace(b"1.2.3.4", b"1.2.3.5"))
    with pytest.raises(InputError, match="does not match its own hash"):
        Ledger(first.path)
    (tmp_path / "1.2.4.json").write_bytes(whole)
    with pytest.raises(InputError, match=r"it is that of the series 1\.2\.3"):
        Ledger(tmp_path / "1.2.4.json")


def test_a_ledger_of_an_earlier_version_is_read_and_one_with_a_damaged_seal_is_not(tmp_path):
    path = tmp_path / "1.2.3.json"
    path.write_text(json.dumps({"1.2.3.4": "a" * 64}))
    kept = Ledger(path)
    kept.write()
    assert kept.hashes == Ledger(path).hashes == {"1.2.3.4": "a" * 64}
    path.write_bytes(path.read_bytes().replace(b"sha256", b"sha257"))
    with pytest.raises(InputError, match="restore it, or delete it"):
        Ledger(path)


def test_a_series_of_which_no_slice_was_read_has_an_empty_ledger(tmp_path):
    Ledger(tmp_path / "1.2.3.json").write()
    assert Ledger(tmp_path / "1.2.3.json").hashes == {}


def test_verify_tells_a_damaged_ledger(done):
    _, found, path = done
    assert found.verify() == len(json.loads(path.read_text())["first"])
    path.write_bytes(path.read_bytes()[:-9])
    with pytest.raises(InputError, match="restore it, or delete it"):
        found.verify()
