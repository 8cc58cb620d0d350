import os
import sys
from pathlib import Path
from typing import IO

import pytest

from benchmark import places
from benchmark.contracts import InputError


@pytest.fixture(autouse=True)
def elsewhere(tmp_path, monkeypatch):
    monkeypatch.delenv(places.VARIABLE, raising=False)
    monkeypatch.setattr(places, "ROOT", tmp_path / "checkout")
    monkeypatch.setattr(places.platformdirs, "user_cache_path", lambda name: tmp_path / "cache" / name)


def lock(monkeypatch, *locked: Path) -> None:
    """Make folders that cannot be written to, for root too."""
    for folder in locked:
        folder.mkdir()
    make = places.TemporaryFile

    def refuse(dir: Path) -> IO[bytes]:
        if any(dir.is_relative_to(folder) for folder in locked):
            raise PermissionError(13, "Permission denied", str(dir))
        return make(dir=dir)

    monkeypatch.setattr(places, "TemporaryFile", refuse)


def test_work_stands_beside_the_code_unless_something_else_is_said(tmp_path, monkeypatch):
    assert places.work_folder(None) == tmp_path / "checkout" / "results"
    monkeypatch.setenv(places.VARIABLE, str(tmp_path / "named"))
    assert places.work_folder(None) == tmp_path / "named"
    assert places.work_folder(tmp_path / "asked") == tmp_path / "asked"


def test_a_checkout_that_cannot_be_written_to_sends_work_to_the_cache(tmp_path, monkeypatch):
    lock(monkeypatch, tmp_path / "checkout")
    assert places.work_folder(None) == tmp_path / "cache" / "lung-nodule-benchmark"


def test_what_was_asked_for_is_taken_or_refused_and_never_replaced(tmp_path, monkeypatch):
    lock(monkeypatch, tmp_path / "asked")
    sentence = "nothing can be written to .*asked .Permission denied.: give another folder with --work, or in the env"
    with pytest.raises(InputError, match=sentence):
        places.work_folder(tmp_path / "asked")
    monkeypatch.setenv(places.VARIABLE, str(tmp_path / "asked"))
    with pytest.raises(InputError, match=sentence):
        places.work_folder(None)


def test_a_file_in_the_place_of_the_folder_is_refused(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(InputError, match=r"nothing can be written to .*file"):
        places.writable(tmp_path / "file")


def test_the_trial_leaves_nothing_behind(tmp_path):
    (tmp_path / "there").mkdir()
    assert places.writable(tmp_path / "there" / "a" / "b") == tmp_path / "there" / "a" / "b"
    assert os.listdir(tmp_path / "there") == []
    assert places.writable(tmp_path / "there") and os.listdir(tmp_path) == ["there"]


def test_a_name_that_the_system_takes_for_no_path_is_refused(tmp_path):
    with pytest.raises(InputError, match="File name too long"):
        places.writable(tmp_path / ("x" * 5000))


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux makes files without a name")
def test_not_even_the_folders_time_of_change_tells_of_the_trial(tmp_path):
    before = tmp_path.stat().st_mtime_ns
    places.writable(tmp_path)
    assert tmp_path.stat().st_mtime_ns == before


def test_the_users_home_may_be_meant_by_its_sign(monkeypatch, tmp_path):
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv(places.VARIABLE, "~/work")
    assert places.work_folder(None) == tmp_path / "work"


def test_the_home_of_nobody_is_refused(monkeypatch):
    with pytest.raises(InputError, match="the path '~nobody-here/x' begins with the home of a user who is not known"):
        places.expanded("~nobody-here/x")
    monkeypatch.setenv(places.VARIABLE, "~nobody-here/x")
    with pytest.raises(InputError, match="not known here"):
        places.work_folder(None)
