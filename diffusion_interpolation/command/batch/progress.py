"""Tells how a batch goes on: bars on a terminal, or lines of JSON for other programs."""

from __future__ import annotations

import json
import sys
import time
from typing import Any, Protocol

from tqdm import tqdm


class Progress(Protocol):
    """Hears what happens to the paths of a batch."""

    def told(self, name: str, state: str, share: float, frames: int) -> None:
        """Hear that a path is at `share` of its work, with so many `frames` made."""

    def close(self) -> None:
        """End."""


class Bars:
    """One bar for all paths, and a line for each that is being made."""

    def __init__(self, paths: int) -> None:
        form = "{desc} {percentage:3.0f}% |{bar:30}| {elapsed}, {remaining} left{postfix}"
        self._all = tqdm(total=paths, desc=f"{paths} paths", bar_format=form)
        self._shares: dict[str, float] = {}
        self._running: dict[str, tqdm] = {}
        self._frames: dict[str, int] = {}
        self._begun = time.perf_counter()

    def told(self, name: str, state: str, share: float, frames: int) -> None:
        share = share if state == "running" else 1.0
        self._frames[name] = frames
        speed = sum(self._frames.values()) / (time.perf_counter() - self._begun)
        self._all.set_postfix_str(f"{speed:.2f} frames a second", refresh=False)
        self._all.update(share - self._shares.get(name, 0))
        self._shares[name] = share
        if state == "running":
            self._line(name).update(share - self._line(name).n)
        elif name in self._running:
            self._running.pop(name).close()

    def _line(self, name: str) -> tqdm:
        if name not in self._running:
            form = "  {desc:<30.30} {percentage:3.0f}% |{bar:20}|"
            self._running[name] = tqdm(total=1, desc=name, leave=False, bar_format=form)
        return self._running[name]

    def close(self) -> None:
        for bar in (*self._running.values(), self._all):
            bar.close()


class Lines:
    """One JSON object a line, on standard output."""

    def __init__(self, paths: int) -> None:
        self._begun = time.perf_counter()
        self._tell(paths=paths)

    def told(self, name: str, state: str, share: float, frames: int) -> None:
        self._tell(path=name, state=state, share=round(share, 4), frames=frames)

    def _tell(self, **facts: Any) -> None:
        seconds = round(time.perf_counter() - self._begun, 2)
        print(json.dumps({"seconds": seconds, **facts}), file=sys.stdout, flush=True)

    def close(self) -> None:
        self._tell(state="ended")
