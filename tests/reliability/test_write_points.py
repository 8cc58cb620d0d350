"""A full disk, a broken one, a folder without rights or mounted to be read: at every single write, nothing is lost.

The points are counted by a run in which all goes well; then each fails in turn. Errors are injected, since whoever may
do everything, as tests in a container often may, is refused nothing.
"""

import errno
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from benchmark.files import write_atomically
from small import call, small_cohort

ERRORS = [errno.ENOSPC, errno.EIO, errno.EACCES, errno.EROFS]
POINTS = {"mkdir": (Path, "mkdir"), "open": (Path, "open"), "sync": (os, "fsync"), "rename": (Path, "replace")}


class Points:
    """Counts the moments at which something is written, and fails one of them."""

    def __init__(self, failing: int | None = None, number: int = errno.EIO, below: Path | None = None) -> None:
        self.failing, self.number, self.below, self.seen = failing, number, below, 0

    def __call__(self, name: str, whole: Callable) -> Callable:
        def point(*given, **named):
            if self.counts(name, given, named):
                self.seen += 1
                if self.seen == self.failing:
                    raise OSError(self.number, os.strerror(self.number), str(given[0]))
            return whole(*given, **named)

        return point

    def counts(self, name: str, given: tuple, named: dict) -> bool:
        """Say whether this is a write, below the folder."""
        if name == "sync":
            place = Path(os.readlink(f"/proc/self/fd/{given[0]}"))
        else:
            place = given[0]
        if name == "open" and not set([*given[1:2], named.get("mode", "r")][0]) & set("wxa"):
            return False
        return self.below is None or place.is_relative_to(self.below)


@contextmanager
def failing(points: Points) -> Iterator[Points]:
    with pytest.MonkeyPatch.context() as patch:
        for name, (owner, attribute) in POINTS.items():
            patch.setattr(owner, attribute, points(name, getattr(owner, attribute)))
        yield points


@pytest.mark.parametrize("number", ERRORS)
@pytest.mark.parametrize("point", range(1, 5))  # folder, file, sync, rename
def test_a_file_that_cannot_be_written_is_what_it_was(tmp_path, point, number):
    file = tmp_path / "folder" / "file"
    write_atomically(file, "before")
    with failing(Points(point, number, tmp_path)), pytest.raises(OSError) as refused:
        write_atomically(file, "after")
    assert refused.value.errno == number
    assert file.read_text() == "before" and [path.name for path in file.parent.iterdir()] == ["file"]


def test_a_write_that_breaks_off_half_way_leaves_nothing(tmp_path, monkeypatch):
    monkeypatch.setattr(os, "fsync", lambda descriptor: os.truncate(descriptor, 2) or fail())
    with pytest.raises(OSError):
        write_atomically(tmp_path / "file", "content")
    assert not list(tmp_path.iterdir())


def fail() -> None:
    raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


def results(out: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in sorted(out.glob("table*"))}


def test_a_run_that_fails_at_any_write_says_so_in_a_line_and_a_rerun_finishes_it(tmp_path, capsys, request):
    more = ["--cohort", str(small_cohort(tmp_path)), "--checkpoint-every", "0.000001", "--epochs", "2"]
    with failing(Points(below=tmp_path)) as whole:
        assert call(tmp_path / "whole", tmp_path / "work", *more) == 0
    wanted, stride = results(tmp_path / "whole"), 1 if request.config.getoption("--every-write") else 9
    assert whole.seen > 60 and len(wanted) == 3
    for point in range(1 + whole.seen % stride, whole.seen + 1, stride):
        out = tmp_path / f"at-{point}"
        number = ERRORS[point % len(ERRORS)]
        capsys.readouterr()
        with failing(Points(point, number, tmp_path)):
            status = call(out, tmp_path / "work", *more)
        said = capsys.readouterr().err
        assert "Traceback" not in said and status in (0, 2), point  # 0: times or a checkpoint, which nothing rests on
        assert status == 0 or os.strerror(number) in said
        assert not list(out.rglob("*.tmp"))
        if status == 2:
            assert call(out, tmp_path / "work", *more) == 0, point
        assert results(out) == wanted, point
