import io
import os
import re
import subprocess
import sys
import time

import pytest
from rich.console import Console
from rich.table import Table

from benchmark.contracts import InputError
from benchmark.forecast import Forecast
from benchmark.identity import ROOT
from benchmark.progress import progress
from benchmark.screen import Screen, consoles, fitting, guarded, say, show


def run(code: str, **how) -> subprocess.CompletedProcess:
    code = f"import sys; sys.path.insert(0, {str(ROOT)!r}); from benchmark.screen import *; {code}"
    return subprocess.run([sys.executable, "-c", code], capture_output=True, timeout=60, check=False, **how)


WORK = "guarded('x', lambda: [print('a' * 1000) for _ in range(1000)] and 0)"
CODE = f"import sys; sys.path.insert(0, {str(ROOT)!r}); from benchmark.screen import *; sys.exit({WORK})"


def test_a_reader_that_leaves_ends_nothing_and_hears_nothing():
    shell = f'"{sys.executable}" -c "{CODE}" | head -c 1; echo "${{PIPESTATUS[0]}}"'
    done = subprocess.run(["bash", "-c", shell], capture_output=True, timeout=60, check=True)
    assert done.stdout == b"a0\n" and done.stderr == b""


@pytest.mark.skipif(not os.path.exists("/dev/full"), reason="this system has no /dev/full")
def test_a_full_disk_behind_the_screen_ends_nothing():
    with open("/dev/full", "w") as full:
        command = [sys.executable, "-c", CODE]
        done = subprocess.run(command, stdout=full, stderr=subprocess.PIPE, timeout=60, check=False)
    assert done.returncode == 0 and done.stderr == b""


def test_closed_streams_end_nothing():
    shell = f'"{sys.executable}" -c "{CODE}" >&- 2>&-'
    assert subprocess.run(["bash", "-c", shell], timeout=60, check=False).returncode == 0


@pytest.mark.parametrize("encoding", ["ascii", "cp932", "latin-1", "utf-8"])
def test_signs_that_an_encoding_lacks_are_written_in_plain_letters(encoding):
    raw = io.BytesIO()
    screen = Screen(io.TextIOWrapper(raw, encoding=encoding))
    screen.write("57.2 ± 1.8 · ─ 雪")
    screen.flush()
    text = raw.getvalue().decode(encoding)
    assert ("57.2 ± 1.8" if encoding != "ascii" else "57.2 +- 1.8 - - ?") in text


def test_a_screen_without_a_stream_swallows_all():
    screen = Screen(None)
    assert screen.write("text") == 4 and not screen.isatty() and screen.encoding == "utf-8"
    screen.flush()
    with pytest.raises(OSError, match="closed"):
        screen.fileno()


@pytest.mark.parametrize(
    ("error", "status", "sentence"),
    [
        (InputError("give another"), 2, "x: give another\n"),
        (
            OSError(13, "Permission denied", "/some/file"),
            2,
            "x: /some/file: Permission denied; see to it, or name another",
        ),
        (KeyboardInterrupt(), 130, "x: stopped; what is finished is kept, the same command goes on from there\n"),
    ],
)
def test_what_stops_a_command_is_one_sentence_and_a_status(capsys, error, status, sentence):
    def fail() -> int:
        raise error

    before = sys.stdout, sys.stderr
    assert guarded("x", fail) == status
    out, err = capsys.readouterr()
    assert out == "" and err.startswith(sentence) and err.count("\n") == 1
    assert (sys.stdout, sys.stderr) == before


def test_a_bug_is_shown_as_one():
    with pytest.raises(ZeroDivisionError):
        guarded("x", lambda: 1 // 0)


def test_a_librarys_first_word_does_not_switch_all_words_on():
    done = run("guarded('x', lambda: 0); import logging; logging.info('one'); logging.getLogger('y').info('two')")
    assert done.returncode == 0 and done.stdout == done.stderr == b""


def shown(width: int, *things) -> str:
    console = Console(file=io.StringIO(), width=width, emoji=False, highlight=False)
    for thing in things:
        (say if isinstance(thing, str) else show)(console, thing)
    return console.file.getvalue()


@pytest.mark.parametrize(
    "text", ["exp[final]", "exp[/1]", "ce:100:lr", "[bold]x[/bold]", "x" * 300, "a [link=b]c[/link]"]
)
def test_what_a_user_wrote_is_printed_as_it_is(text):
    assert shown(40, text) == text + "\n"
    out, _ = consoles()
    with out.capture() as captured:
        say(out, text)
    assert captured.get() == text + "\n"


def test_a_table_wider_than_the_window_is_shown_whole():
    table = Table("One", "Two")
    for column in table.columns:
        column.no_wrap = True
    table.add_row("1" * 30, "2" * 30)
    text = shown(20, table)
    assert "1" * 30 in text and "2" * 30 in text and "…" not in text


def test_columns_are_cut_into_groups_that_fit():
    assert fitting([10, 10, 10], 20, 100) == [range(0, 3)]
    assert fitting([10, 10, 10], 20, 40) == [range(0, 2), range(2, 3)]
    assert fitting([10, 10, 10], 20, 39) == [range(0, 1), range(1, 2), range(2, 3)]
    assert fitting([10, 90, 10], 20, 40) == [range(0, 1), range(1, 2), range(2, 3)]  # too wide even alone
    assert fitting([10], 20, 1) == [range(0, 1)]


def wait_for(text: str, console: Console) -> None:
    """Return as soon as a console has shown a text; the clock's thread may be late on a busy machine."""
    end = time.monotonic() + 60
    while text not in console.file.getvalue():
        assert time.monotonic() < end, console.file.getvalue()
        time.sleep(0.01)


def test_off_a_terminal_there_is_a_line_at_every_turn_of_the_clock():
    console = Console(file=io.StringIO(), width=120, emoji=False, highlight=False)
    with progress(console, "Training [x]", "fits", every_s=0.05) as advance:
        time.sleep(0.12)
        assert console.file.getvalue() == ""  # nothing to do yet
        advance(0, 4, "starting")
        wait_for("Training [x]: 0 of 4 fits, time left unknown\n", console)
        advance(1, 4)
        wait_for("Training [x]: 1 of 4 fits, about 1 min left\n", console)
    lines = console.file.getvalue().splitlines()
    settled = len(lines)
    time.sleep(0.12)
    assert len(console.file.getvalue().splitlines()) == settled  # the clock stops with the block


def test_a_forecast_tells_the_time_left_before_any_fit_does():
    forecast = Forecast((300.0,) * 4, workers=2, start_s=60.0)
    console = Console(file=io.StringIO(), width=120, emoji=False, highlight=False)
    with progress(console, "Training", "fits", forecast, every_s=0.05) as advance:
        advance(0, 4, "starting")
        wait_for("Training: 0 of 4 fits, about 11 min left\n", console)
    console = Console(file=io.StringIO(), width=120, force_terminal=True)
    with progress(console, "Training", "fits", forecast) as advance:
        advance(0, 4, "starting")
        wait_for("0:1", console)
        advance(4, 4)
    text = console.file.getvalue()
    assert re.search(r"0:11:00|0:10:5\d", text)
    assert "0:00:00" in text[text.index("4/4") :]  # what it took


def test_a_short_loop_off_a_terminal_says_nothing():
    console = Console(file=io.StringIO(), width=120)
    with progress(console, "Training", "fits") as advance:
        advance(1, 1)
    assert console.file.getvalue() == ""


def test_in_a_terminal_there_is_a_bar():
    console = Console(file=io.StringIO(), width=120, force_terminal=True)
    with progress(console, "Training", "fits") as advance:
        advance(1, 4, "ce three fold 0")
        wait_for("1/4", console)
        wait_for("ce three fold 0", console)
