"""Headless Chromium over its DevTools protocol, through a pipe: no port, no package, and the page as it is.

The protocol: https://chromedevtools.github.io/devtools-protocol/. Messages are JSON, each with a zero byte at its end.
What is evaluated here is put in by the debugger, so the page's own Content-Security-Policy stays in force.
"""

import json
import os
import select
import shutil
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

CHROMIUM = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
OPTIONS = ("--headless", "--no-sandbox", "--disable-gpu", "--no-first-run", "--remote-debugging-pipe")
SECONDS = 60.0  # for one answer, on a machine under load
KEYS = {"Tab": (9, ""), "Enter": (13, "\r"), "Space": (32, " "), "Escape": (27, ""), "ArrowRight": (39, "")}


class Browser:
    """A running Chromium; it keeps every event that it was told of."""

    def __init__(self, process: subprocess.Popen[bytes]) -> None:
        self.events: list[dict[str, Any]] = []
        self._process, self._unread, self._calls = process, b"", 0

    def call(self, method: str, session: str = "", **params: Any) -> dict[str, Any]:
        """Ask for something and return the answer."""
        self._calls += 1
        message = {"id": self._calls, "method": method, "params": params} | ({"sessionId": session} if session else {})
        assert self._process.stdin
        self._process.stdin.write(json.dumps(message).encode() + b"\0")
        self._process.stdin.flush()
        while (answer := self._read()).get("id") != self._calls:
            self.events.append(answer)
        assert "error" not in answer, (method, answer["error"])
        return answer["result"]

    def wait_for(self, event: str, session: str) -> None:
        """Return as soon as an event has come."""
        while not any(one["method"] == event and one.get("sessionId") == session for one in self.events):
            self.events.append(self._read())

    def _read(self) -> dict[str, Any]:
        assert self._process.stdout
        end = time.monotonic() + SECONDS
        while b"\0" not in self._unread:
            ready, _, _ = select.select([self._process.stdout], [], [], max(0.0, end - time.monotonic()))
            assert ready, f"Chromium said nothing for {SECONDS:.0f} s"
            came = os.read(self._process.stdout.fileno(), 1 << 20)
            assert came, "Chromium has ended"
            self._unread += came
        message, _, self._unread = self._unread.partition(b"\0")
        return json.loads(message)


class Tab:
    """One page, opened at a width and in a colour scheme."""

    def __init__(self, browser: Browser, file: Path, width: int, scheme: str = "light") -> None:
        target = browser.call("Target.createTarget", url="about:blank")["targetId"]
        self.browser, self._target = browser, target
        self._session = browser.call("Target.attachToTarget", targetId=target, flatten=True)["sessionId"]
        for room in ("Page", "Runtime", "Log", "Network"):
            self.call(f"{room}.enable")
        self.call("Emulation.setFocusEmulationEnabled", enabled=True)
        self.show(scheme)
        phone = width < 600
        size = {"width": width, "height": 800, "deviceScaleFactor": 1, "mobile": phone}
        self.call("Emulation.setDeviceMetricsOverride", **size)
        self.call("Page.navigate", url=file.as_uri())
        browser.wait_for("Page.loadEventFired", self._session)

    def call(self, method: str, **params: Any) -> dict[str, Any]:
        """Ask this page's debugger for something."""
        return self.browser.call(method, self._session, **params)

    def show(self, scheme: str, media: str = "screen") -> None:
        """Take up a colour scheme and a medium."""
        feature = {"name": "prefers-color-scheme", "value": scheme}
        self.call("Emulation.setEmulatedMedia", media=media, features=[feature])

    def evaluate(self, script: str) -> Any:
        """Return the value of an expression, a promise's once it is kept."""
        told = self.call("Runtime.evaluate", expression=script, returnByValue=True, awaitPromise=True, userGesture=True)
        assert "exceptionDetails" not in told, told["exceptionDetails"]
        return told["result"].get("value")

    def press(self, key: str, *, shift: bool = False) -> None:
        """Press and release a key, as a keyboard does."""
        code, text = KEYS[key]
        name = {"Space": " "}.get(key, key)
        both = {"key": name, "code": key, "windowsVirtualKeyCode": code, "modifiers": 8 * shift}
        down = {"type": "keyDown", "text": text} if text else {"type": "rawKeyDown"}
        self.call("Input.dispatchKeyEvent", **both, **down)
        self.call("Input.dispatchKeyEvent", **both, type="keyUp")

    def told(self, event: str) -> list[dict[str, Any]]:
        """Return what came with each event of a name."""
        mine = [one for one in self.browser.events if one.get("sessionId") == self._session]
        return [one["params"] for one in mine if one["method"] == event]

    def close(self) -> None:
        """Close the page."""
        self.browser.call("Target.closeTarget", targetId=self._target)


@contextmanager
def browsing(profile: Path) -> Iterator[Browser]:
    """Start Chromium with a profile folder of its own, and end it."""
    assert CHROMIUM
    # The pipe's ends are file descriptors 3 and 4, which a shell can name.
    command = ["sh", "-c", 'exec "$0" "$@" 3<&0 4>&1 </dev/null >&2', CHROMIUM, *OPTIONS, f"--user-data-dir={profile}"]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL) as process:
        browser = Browser(process)
        try:
            yield browser
        finally:
            try:
                browser.call("Browser.close")
                process.wait(SECONDS)
            except (AssertionError, OSError, subprocess.TimeoutExpired):
                process.kill()
