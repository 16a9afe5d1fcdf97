"""Writes files beside the sampling: a thread that does one thing after the other."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from contextvars import copy_context
from typing import Any

AHEAD = 8
"""How many things may wait to be done."""


class Writer:
    """Does things in the order in which they are given, in a thread of its own.

    The things see the context variables of the thread that made the writer. If `ahead` things wait,
    whoever gives one more waits, too, so that a slow disk does not fill the memory. An error in one
    of the things is raised where the thing is waited for.
    """

    def __init__(self, ahead: int = AHEAD) -> None:
        self._pool = ThreadPoolExecutor(1, thread_name_prefix="interpolation-files")
        self._context, self._ahead = copy_context(), ahead
        self._waiting: deque[Future[None]] = deque()

    def give(self, act: Callable[..., None], *given: Any) -> None:
        """Have `act(*given)` done after all that was given before."""
        while len(self._waiting) >= self._ahead:
            self._waiting.popleft().result()
        self._waiting.append(self._pool.submit(self._context.run, act, *given))

    def finish(self) -> None:
        """Wait until all is done."""
        while self._waiting:
            self._waiting.popleft().result()

    def close(self) -> BaseException | None:
        """Do what still waits, end the thread, and return the first error among that."""
        self._pool.shutdown()
        errors = (done.exception() for done in self._waiting)
        return next((error for error in errors if error is not None), None)
