"""Through the command a user types: one sentence, status 2, and what is there is kept."""

import errno
import os
import pickle
import re
import socket
import subprocess
import sys
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

import pytest

import faults
import idc
import run_all
from objectstore import Answer, Front, Request, error, serving


@dataclass(frozen=True)
class Says:
    """A server that gives everybody the same answer."""

    what: Answer

    async def answer(self, request: Request) -> Answer:
        return self.what


HTML = Answer(200, {"Content-Type": "text/html"}, b"<!DOCTYPE html><html><body>Please sign in</body></html>" * 200)
SIGN_IN = Answer(302, {"Location": "http://127.0.0.1:9/login", "Content-Type": "text/html"}, b"<html></html>")


def refused(capsys, *options: object) -> str:
    """Run the command; return the one sentence that it says at its end."""
    capsys.readouterr()
    assert run_all.main(["--preset", "smoke", "--workers", "0", *map(str, options)]) == 2
    told = capsys.readouterr().err
    assert "Traceback" not in told
    lines = [line for line in told.strip().splitlines() if line.startswith("run_all.py:")]
    assert len(lines) == 1, told
    return lines[0]


def from_idc(url: str, work) -> list[object]:
    return ["--source", "idc", "--idc-endpoint", url, "--idc-timeout", "1", "--work", work]


@pytest.fixture
def half_done(bucket, front, tmp_path):
    """A work folder in which one patient's nodule is made."""
    second = bucket.patients[1].folder
    front.plan = lambda r, _: faults.named("gone") if r.key.startswith(second) and r.kind == "body" else None
    work = tmp_path / "work"
    made, _ = idc.outcome(lambda: idc.fetch(front, work), work, "idc")
    front.plan = None
    assert len(made) == 1
    return work


def parts(work) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in (work / "cohorts" / "idc" / "parts").iterdir()}


def nobody_listens() -> str:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        return f"http://127.0.0.1:{free.getsockname()[1]}"


@pytest.mark.parametrize(
    "what",
    ["no network", "no such host", "a page in place of everything", "a page to sign in", "no bucket", "forbidden"],
)
def test_an_endpoint_of_no_use(bucket, front, half_done, capsys, what):
    answers = {
        "a page in place of everything": HTML,
        "a page to sign in": SIGN_IN,
        "no bucket": error(404, "NoSuchBucket"),
        "forbidden": error(403, "AccessDenied"),
    }
    before = parts(half_done)
    with ExitStack() as stack:
        if what in answers:
            url = stack.enter_context(serving(Front(Says(answers[what])))).url
        else:
            url = nobody_listens() if what == "no network" else "http://no-such-host.invalid"
        sentence = refused(capsys, *from_idc(url, half_done))
    assert url.removeprefix("http://") in sentence
    assert re.search(r"try|check|run|give", sentence), "it says what to do"
    assert parts(half_done).items() >= before.items()
    front.forget()
    assert idc.crops(idc.fetch(front, half_done)) == bucket.truth
    assert bucket.patients[0].folder not in set(idc.folders(front.bodies()))


@pytest.mark.parametrize(
    ("options", "word"),
    [
        (["--nodules", "0"], "0"),
        (["--nodules", "-3"], "-3"),
        (["--connections", "0"], "0"),
        (["--connections", "many"], "many"),
        (["--idc-timeout", "0"], "0"),
        (["--idc-timeout", "nan"], "nan"),
        (["--idc-endpoint", "ftp://somewhere"], "ftp://somewhere"),
        (["--idc-endpoint", "nonsense"], "nonsense"),
        (["--idc-endpoint", "http://"], "http://"),
    ],
)
def test_a_value_that_makes_no_sense(bucket, front, tmp_path, capsys, options, word):
    sentence = refused(capsys, *from_idc(front.url, tmp_path), *options)
    assert word in sentence and options[0] in sentence
    assert front.seen == []


@pytest.mark.parametrize("options", [["--connections", "4"], ["--idc-endpoint", "http://x"], ["--keep-dicom", "kept"]])
def test_options_of_the_bucket_are_refused_for_another_source(options, tmp_path, capsys):
    sentence = refused(capsys, "--work", tmp_path, *options)
    assert options[0] in sentence and "--source idc" in sentence


@pytest.mark.parametrize("which", ["--work", "--keep-dicom"])
def test_a_folder_that_cannot_be_made(bucket, front, tmp_path, capsys, which):
    (tmp_path / "file").write_text("")
    place = tmp_path / "file" / "below"
    options = [*from_idc(front.url, tmp_path / "work"), "--keep-dicom", place]
    if which == "--work":
        options = from_idc(front.url, place)
    assert str(tmp_path / "file") in refused(capsys, *options)
    assert front.bodies() == []


@pytest.mark.parametrize("which", ["--work", "--keep-dicom"])
def test_a_folder_that_may_not_be_written(bucket, front, tmp_path, capsys, which):
    place = tmp_path / "closed"
    place.mkdir()
    place.chmod(0o500)
    if os.access(place, os.W_OK):  # as the superuser may, but for the kernel's own folders
        place = Path("/sys/kernel/closed")
    if not place.parent.is_dir():
        pytest.skip("this superuser may write anywhere")
    options = from_idc(front.url, place if which == "--work" else tmp_path / "work")
    sentence = refused(capsys, *options, *([which, place] if which == "--keep-dicom" else []))
    assert str(place) in sentence
    assert front.bodies() == []


@pytest.mark.parametrize("after", [0, 3, 15])
def test_a_full_disk(bucket, front, half_done, capsys, monkeypatch, after):
    """The system refuses to bring a file to the disk, early or late."""
    before, left = parts(half_done), iter(range(after))
    sync = os.fsync

    def fsync(number):
        if next(left, None) is None:
            raise OSError(errno.ENOSPC, "No space left on device")
        return sync(number)

    with monkeypatch.context() as patch:
        patch.setattr(os, "fsync", fsync)
        sentence = refused(capsys, *from_idc(front.url, half_done), "--keep-dicom", half_done / "kept")
    assert "no space left" in sentence.lower() and re.search("again|give another folder", sentence)
    assert parts(half_done).items() >= before.items()
    assert idc.crops(idc.fetch(front, half_done)) == bucket.truth


ON_A_SMALL_DISK = """
import pickle, subprocess, sys
sys.path[:0] = sys.argv[1:3]
from pathlib import Path
import pytest
import idc
import run_all
subprocess.run(["mount", "-t", "tmpfs", "-o", f"size={sys.argv[4]}k", "tmpfs", sys.argv[5]], check=True)
patients, objects, truth, options = pickle.loads(Path(sys.argv[3]).read_bytes())
with pytest.MonkeyPatch.context() as patch:
    idc.pretend(patch, patients, objects)
    status = run_all.main(["--preset", "smoke", *options])
    subprocess.run(["mount", "-o", "remount,size=64m", sys.argv[5]], check=True)
    print(status, idc.crops(idc.prepare(*options)) == truth)
"""


@pytest.mark.parametrize("kib", [16, 80, 400])
def test_a_disk_that_is_really_full(bucket, front, tmp_path, kib):
    """A disk in memory, which only the command's own process sees, so that none is left behind."""
    if subprocess.run(["unshare", "--mount", "mount", "-t", "tmpfs", "tmpfs", tmp_path], check=False).returncode:
        pytest.skip("only the superuser of a machine may mount a small disk")
    small, given = tmp_path / "small", tmp_path / "given"
    small.mkdir()
    options = [*map(str, from_idc(front.url, small)), "--workers", "0", "--keep-dicom", str(small / "kept")]
    given.write_bytes(pickle.dumps((bucket.patients, bucket.objects, bucket.truth, options)))
    here = Path(__file__).parents[2]
    command = ["unshare", "--mount", sys.executable, "-c", ON_A_SMALL_DISK, here.parent, here / "support", given, kib]
    done = subprocess.run([*map(str, command), small], capture_output=True, text=True, check=True)
    assert done.stdout.split() == ["2", "True"]
    told = [line for line in done.stderr.splitlines() if line.startswith("run_all.py:")]
    assert len(told) == 1 and "no space left" in told[0] and str(small) in told[0]


def test_a_dry_run_says_the_traffic_and_fetches_no_slice(bucket, front, tmp_path, capsys):
    work = tmp_path / "work"
    assert run_all.main(["--preset", "quick", "--dry-run", *map(str, from_idc(front.url, work))]) == 0
    told = capsys.readouterr()
    assert re.search(r"\d[\d.,]* ?[KMG]i?B", told.out + told.err)
    assert front.bodies() == [] and not list(tmp_path.rglob("*.npz"))
