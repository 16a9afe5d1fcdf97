"""Keeps candidates, so that after a changed choice only the frames that depend on it are made."""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any, NamedTuple

from torch import Tensor

from ...fingerprint import fingerprint
from ..path import Slot
from .candidates import Candidate


class _Entry(NamedTuple):
    value: Any
    size: int


class Store:
    """Tensors, or tuples with tensors, by key, in a bounded number of bytes.

    Room is made by dropping what was used longest ago, but nothing that the running path needs.
    Where nothing else is left, a new value is not kept. A path larger than the store therefore
    keeps a part of itself for the next run; a store that dropped in the order of use alone would
    drop each value shortly before the next run asks for it. Several threads may use a store.
    """

    def __init__(self, budget: int | Callable[[int], int]) -> None:
        """`budget` is in bytes, or a function from the bytes that are held to the budget."""
        self._budget = budget if callable(budget) else lambda held: budget
        self.used = 0
        self._entries: OrderedDict[bytes, _Entry] = OrderedDict()
        self._needed: set[bytes] = set()
        self._lock = threading.RLock()

    def start(self) -> None:
        """Begin a path: what an earlier one needed may be dropped from now on."""
        with self._lock:
            self._needed.clear()

    def get(self, key: bytes, needed: bool = False) -> Any:
        """Return what is kept under `key`, or None; with `needed` the running path needs it."""
        with self._lock:
            entry = self._entries.get(key)
            if entry is None:
                return None
            self._use(key, needed)
            return entry.value

    def put(self, key: bytes, value: Any, needed: bool = False) -> None:
        """Keep `value` if there is room for it in addition to what the running path needs."""
        size = _size(value)
        with self._lock:
            self._drop(key)
            budget = self._budget(self.used)
            if size <= budget:
                self.shrink(budget - size)
            if self.used + size <= budget:
                self._entries[key] = _Entry(value, size)
                self.used += size
                self._use(key, needed)
            self.shrink(budget, needed=True)

    def fit(self) -> None:
        """Drop what no longer fits in the budget."""
        with self._lock:
            self.shrink(self._budget(self.used), needed=True)

    def shrink(self, size: int, needed: bool = False) -> None:
        """Drop values until `size` bytes are held; with `needed` also what the path needs.

        Of that the last used goes first: the frames at the greatest depth, which no others need.
        """
        with self._lock:
            spare = [key for key in self._entries if key not in self._needed]
            if needed:
                spare += [key for key in reversed(self._entries) if key in self._needed]
            for key in spare:
                if self.used <= size:
                    break
                self._drop(key)

    def _use(self, key: bytes, needed: bool) -> None:
        self._entries.move_to_end(key)
        if needed:
            self._needed.add(key)

    def _drop(self, key: bytes) -> None:
        entry = self._entries.pop(key, None)
        self.used -= 0 if entry is None else entry.size


def _size(value: Any) -> int:
    """Return the bytes of the tensors in `value`; a view holds all of what it looks at."""
    if isinstance(value, Tensor):
        return value.untyped_storage().nbytes()
    return sum(map(_size, value)) if isinstance(value, tuple) else 0


@dataclass(frozen=True)
class FrameCache:
    """What is known of a path's frames from earlier runs.

    `context` stands for everything that a frame depends on, except its place and its neighbours:
    model, conditioning, seed, blend, scorer and the size of thumbnails. `about` has candidates
    without their latents. It is small, and the next run needs no more of candidates that are not
    chosen. Pictures are large, but they can be decoded again.
    """

    context: bytes
    about: Store
    latents: Store
    pictures: Store

    def start(self) -> None:
        """Begin a run: what an earlier one needed may be dropped from now on."""
        for store in (self.about, self.latents, self.pictures):
            store.start()

    def find(self, key: bytes, needed: bool = False) -> Candidate | None:
        """Return a candidate, whose latent is None where there was no room to keep it.

        With `needed` the running path needs its latent.
        """
        about = self.about.get(key, needed=True)
        latent = self.latents.get(key, needed)
        return None if about is None else about._replace(latent=latent)

    def keep(self, key: bytes, candidate: Candidate, needed: bool = False) -> None:
        """Keep a candidate; with `needed` the running path needs its latent."""
        self.about.put(key, candidate._replace(latent=None), needed=True)
        self.latents.put(key, candidate.latent, needed)

    def keys(
        self,
        slot: Slot,
        steps: tuple[tuple[float, ...], ...],
        ends: tuple[Tensor, Tensor],
        numbers: Iterable[int],
    ) -> dict[int, bytes]:
        """The key of every candidate of a frame between the latents `ends`, by its number.

        `steps` are the points of the schedule before the candidates are ranked, and after.
        """
        frame = fingerprint(self.context, slot.position, steps, slot.weight, ends)
        return {number: fingerprint(frame, number) for number in numbers}


def once_finished(key: bytes) -> bytes:
    """Return the key of the finished candidate, if `key` is that of the partial candidate."""
    return fingerprint(key, "finished")
