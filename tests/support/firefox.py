"""Firefox, driven by the protocol that it has built in (WebDriver BiDi), without geckodriver."""

from __future__ import annotations

import itertools
import json
import os
import re
import shutil
import subprocess
import time
from pathlib import Path
from types import TracebackType
from typing import Any

import websocket

FIREFOX = shutil.which("firefox-esr") or shutil.which("firefox")
LONGEST_WAIT = 60  # s; machines that test are busy
SIZE = {"width": 1200, "height": 900}
KEYS = {"End": "\ue010", "Home": "\ue011", "ArrowRight": "\ue014"}
"""The characters that stand for keys in WebDriver."""


class Firefox:
    """One tab of a Firefox without a window; it runs while in context."""

    def __init__(self, folder: Path) -> None:
        """`folder` is for its profile, and for what it writes."""
        self._folder, self._log = folder, folder / "firefox.log"
        self._numbers = itertools.count(1)

    def __enter__(self) -> Firefox:
        profile = self._folder / "profile"
        profile.mkdir()
        with self._log.open("wb") as log:
            self._process = subprocess.Popen(
                [
                    FIREFOX,
                    "--headless",
                    "--no-remote",
                    "--profile",
                    str(profile),
                    "--remote-debugging-port",
                    "0",
                ],
                stdout=log,
                stderr=subprocess.STDOUT,
                env={**os.environ, "MOZ_DISABLE_CONTENT_SANDBOX": "1", "HOME": str(self._folder)},
            )
        try:
            self._socket = websocket.create_connection(
                f"{self._address()}/session", timeout=LONGEST_WAIT, suppress_origin=True
            )
            self._ask("session.new", capabilities={})
            [tab] = self._ask("browsingContext.getTree")["contexts"]
            self._tab = tab["context"]
            self._ask("browsingContext.setViewport", context=self._tab, viewport=SIZE)
        except BaseException:
            self._stop()
            raise
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._stop()

    def open(self, address: str) -> None:
        """Open a page and wait until it is loaded."""
        self._ask("browsingContext.navigate", context=self._tab, url=address, wait="complete")

    def evaluate(self, function: str, *given: Any) -> Any:
        """What a function of JavaScript gives, or what its promise does."""
        told = ", ".join(json.dumps(one) for one in given)
        answer = self._ask(
            "script.evaluate",
            expression=f"(async () => JSON.stringify(await ({function})({told}) ?? null))()",
            target={"context": self._tab},
            awaitPromise=True,
        )
        if answer["type"] == "exception":
            raise RuntimeError(answer["exceptionDetails"]["text"])
        return json.loads(answer["result"]["value"])

    def wait(self, condition: str, *given: Any) -> None:
        """Until a function of JavaScript gives something true."""
        end = time.monotonic() + LONGEST_WAIT
        while not self.evaluate(condition, *given):
            if time.monotonic() > end:
                raise TimeoutError(f"{condition} {given} stayed false")
            time.sleep(0.1)

    def press(self, key: str) -> None:
        """Press a key of `KEYS` or a character."""
        value = KEYS.get(key, key)
        keys = [{"type": kind, "value": value} for kind in ("keyDown", "keyUp")]
        self._act({"type": "key", "id": "keys", "actions": keys})

    def drag(self, *places: tuple[float, float]) -> None:
        """Press the mouse at the first place of the page, move to the others, and let go."""
        moves = [{"type": "pointerMove", "x": round(x), "y": round(y)} for x, y in places]
        ends = [{"type": kind, "button": 0} for kind in ("pointerDown", "pointerUp")]
        self._act(
            {"type": "pointer", "id": "mouse", "actions": [moves[0], ends[0], *moves[1:], ends[1]]}
        )

    def _act(self, source: dict[str, Any]) -> None:
        self._ask("input.performActions", context=self._tab, actions=[source])

    def _ask(self, method: str, **given: Any) -> dict[str, Any]:
        """What the browser answers to a command."""
        number = next(self._numbers)
        self._socket.send(json.dumps({"id": number, "method": method, "params": given}))
        while True:
            answer = json.loads(self._socket.recv())
            if answer.get("id") != number:
                continue  # an event
            if answer["type"] == "error":
                raise RuntimeError(f"{method}: {answer['error']}: {answer['message']}")
            return answer["result"]

    def _address(self) -> str:
        """Where the browser listens, which it says once it is ready."""
        end = time.monotonic() + LONGEST_WAIT
        while time.monotonic() < end and self._process.poll() is None:
            if found := re.search(r"WebDriver BiDi listening on (ws://\S+)", self._said()):
                return found[1]
            time.sleep(0.1)
        raise RuntimeError(f"Firefox did not start: {self._said()[-2000:]}")

    def _said(self) -> str:
        return self._log.read_text(encoding="utf-8", errors="replace")

    def _stop(self) -> None:
        self._process.terminate()
        try:
            self._process.wait(20)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
