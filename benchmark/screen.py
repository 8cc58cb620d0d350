"""The terminal, which may fail: closed pipes, narrow windows, encodings without our signs. Work never depends on it."""

import codecs
import io
import logging
import os
import sys
from collections.abc import Callable
from typing import Protocol, runtime_checkable

from rich.console import Console, RenderableType
from rich.markup import escape

from benchmark.contracts import InputError
from benchmark.signals import STOPPED, end_if_stopped, stoppable

_PIPED_WIDTH = 120  # where no terminal says how wide it is
_ENDLESS = 10_000  # columns
_PLAIN = str.maketrans({"±": "+-", "·": "-", "…": "...", "─": "-", "━": "-", "≥": ">=", "≤": "<="})


def _replace(error: UnicodeError) -> tuple[str, int]:
    """Write what an encoding lacks in plain letters."""
    if not isinstance(error, UnicodeEncodeError):
        raise error
    missing = error.object[error.start : error.end].translate(_PLAIN)
    return missing.encode("ascii", "replace").decode(), error.end


codecs.register_error("plain-letters", _replace)


@runtime_checkable
class Stream(Protocol):
    """What a screen needs of what lies below it."""

    def write(self, text: str, /) -> int:
        """Write a text."""

    def flush(self) -> None:
        """Send what was kept back."""

    def isatty(self) -> bool:
        """Return whether a person looks at it."""

    def fileno(self) -> int:
        """Return its descriptor."""


class Screen(io.TextIOBase):
    """A stream that drops what cannot be shown, once its reader is gone, and never raises."""

    def __init__(self, stream: Stream | None) -> None:
        self._stream = stream
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="plain-letters")

    @property
    def encoding(self) -> str:  # type: ignore[override]  # a plain attribute there
        """The stream's encoding."""
        return getattr(self._stream, "encoding", None) or "utf-8"

    def isatty(self) -> bool:
        """Return whether a person looks at it."""
        return self._stream is not None and self._stream.isatty()

    def fileno(self) -> int:
        """Return the stream's descriptor.

        Raises:
            OSError: It has none.
        """
        if self._stream is None:
            raise OSError("the stream is closed")
        return self._stream.fileno()

    def write(self, text: str) -> int:
        """Show a text if that is possible."""
        self._try(lambda stream: stream.write(text))
        return len(text)

    def flush(self) -> None:
        """Show what was kept back."""
        self._try(lambda stream: stream.flush())

    def _try(self, do: Callable[[Stream], object]) -> None:
        if self._stream is None:
            return
        try:
            do(self._stream)
        except (OSError, ValueError):  # the reader has gone, the disk is full, the stream was closed
            self._silence(self._stream)
            self._stream = None

    @staticmethod
    def _silence(stream: Stream) -> None:
        """Send what the stream still holds nowhere, so that Python's own flush at exit finds nothing to complain of."""
        try:
            nowhere = os.open(os.devnull, os.O_WRONLY)
            os.dup2(nowhere, stream.fileno())
            os.close(nowhere)
        except (OSError, ValueError):  # it has no descriptor, so there is nothing left to flush
            return


def guarded(name: str, run: Callable[[], int]) -> int:
    """Return what a command returns, or say in one sentence why it stopped: 2 for bad input, 130 if a signal ended it.

    Whatever the command prints goes through a `Screen`.
    """
    logging.getLogger().addHandler(logging.NullHandler())  # else a library's first word switches all words on
    streams = sys.stdout, sys.stderr
    sys.stdout, sys.stderr = Screen(streams[0]), Screen(streams[1])
    try:
        with stoppable():
            return run()
    except InputError as error:
        print(f"{name}: {in_one_line(str(error))}", file=sys.stderr)
        return 2
    except OSError as error:
        place, why = error.filename or "a file", error.strerror or error
        print(in_one_line(f"{name}: {place}: {why}; see to it, or name another place"), file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print(f"{name}: stopped; what is finished is kept, the same command goes on from there", file=sys.stderr)
        sys.stdout.flush()
        sys.stderr.flush()
        end_if_stopped()
        return STOPPED
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
        sys.stdout, sys.stderr = streams


def in_one_line(text: str) -> str:
    r"""Return a text whose line breaks and control characters, as in a file's name, stand there as escapes.

    >>> print(in_one_line("no file" + chr(10) + "name"))
    no file\nname
    """
    return "".join(sign if sign.isprintable() else repr(sign)[1:-1] for sign in text)


def consoles(piped_width: int = _PIPED_WIDTH) -> tuple[Console, Console]:
    """Return the consoles of stdout and stderr; no text of the user's is read as a colour or an emoji."""
    made = Console(emoji=False, highlight=False), Console(stderr=True, emoji=False, highlight=False)
    for console in made:
        if not console.is_terminal:
            console.width = piped_width
    return made


def say(console: Console, text: str, style: str | None = None) -> None:
    """Print a line as it is, whatever brackets it has, and however long it is."""
    console.print(escape(text), style=style, soft_wrap=True)


def show(console: Console, thing: RenderableType) -> None:
    """Print something that must not be shortened: what is wider than the window runs over its edge."""
    needed = console.measure(thing, options=console.options.update_width(_ENDLESS)).minimum
    if needed > console.width:  # a console prints nothing wider than itself
        terminal = console.is_terminal
        console = Console(file=console.file, width=needed, force_terminal=terminal, emoji=False, highlight=False)
    console.print(thing)


def fitting(widths: list[int], first: int, room: int) -> list[range]:
    """Cut columns into groups that fit side by side behind a first column; a group has one column at least.

    Args:
        widths: Of the columns, with the space between them.
        first: Width of the column that every group begins with.
        room: Width of the window.

    >>> fitting([10, 10, 10, 10], 20, 45)
    [range(0, 2), range(2, 4)]
    """
    groups, start, used = [], 0, first
    for number, width in enumerate(widths):
        if number > start and used + width > room:
            groups.append(range(start, number))
            start, used = number, first
        used += width
    return [*groups, range(start, len(widths))]
