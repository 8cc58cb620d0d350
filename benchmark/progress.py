"""How far a loop has come, and how long it will still take."""

import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta
from typing import Protocol

from rich.console import Console
from rich.markup import escape
from rich.progress import BarColumn, MofNCompleteColumn, Progress, ProgressColumn, Task, TextColumn, TimeRemainingColumn
from rich.text import Text

from benchmark.forecast import Forecast, duration
from benchmark.screen import say

_MINUTE_S = 60.0


class Advance(Protocol):
    """Takes the number done, their total and what is new."""

    def __call__(self, done: int, total: int, now: str = "", /) -> None:
        """Show it."""


@contextmanager
def progress(
    console: Console, title: str, unit: str, forecast: Forecast | None = None, every_s: float = _MINUTE_S
) -> Iterator[Advance]:
    """Show how far a loop has come while the block runs: a bar in a terminal, elsewhere a line a minute.

    The time left is the forecast's, if there is one, else that of the pace so far.
    """
    bar = console.is_terminal
    with _bar(console, title, unit, forecast) if bar else _lines(console, title, unit, forecast, every_s) as advance:
        yield advance


class _TimeLeft(ProgressColumn):
    """The time left by a forecast, as `TimeRemainingColumn` writes it; the time that it took, when all is done."""

    def __init__(self, forecast: Forecast) -> None:
        super().__init__()
        self._forecast = forecast

    def render(self, task: Task) -> Text:
        """Return it."""
        elapsed = task.elapsed or 0.0
        seconds = (task.finished_time or 0.0) if task.finished else self._forecast.left_s(int(task.completed), elapsed)
        return Text(str(timedelta(seconds=round(seconds))), style="progress.remaining")


@contextmanager
def _bar(console: Console, title: str, unit: str, forecast: Forecast | None) -> Iterator[Advance]:
    columns = (
        TextColumn("{task.description}"),
        BarColumn(bar_width=16),
        MofNCompleteColumn(),
        TextColumn(f"{unit},"),
        _TimeLeft(forecast) if forecast else TimeRemainingColumn(elapsed_when_finished=True),
        TextColumn("{task.fields[note]}"),
    )
    with Progress(*columns, console=console, speed_estimate_period=600) as bars:
        bar = bars.add_task(escape(title), total=None, note="", visible=False)  # until there is something to do

        def advance(done: int, total: int, now: str = "", /) -> None:
            note = f"left · {now}" if done < total else ""
            bars.update(bar, completed=done, total=total, note=escape(note), visible=True)

        yield advance


@contextmanager
def _lines(console: Console, title: str, unit: str, forecast: Forecast | None, every_s: float) -> Iterator[Advance]:
    began, state, said, over = time.monotonic(), [0, 0], [""], threading.Event()

    def advance(done: int, total: int, now: str = "", /) -> None:
        state[:], said[:] = (done, total), [f" ({now})" if now.endswith("/s") else ""]

    def tell() -> None:
        while not over.wait(every_s):
            done, total = state
            if total:
                elapsed = time.monotonic() - began
                left = forecast.left_s(done, elapsed) if forecast else elapsed / done * (total - done) if done else None
                when = "time left unknown" if left is None else f"about {duration(left)} left"
                say(console, f"{title}: {done} of {total} {unit}{said[0]}, {when}")

    teller = threading.Thread(target=tell, daemon=True)
    teller.start()
    try:
        yield advance
    finally:
        over.set()
        teller.join()
