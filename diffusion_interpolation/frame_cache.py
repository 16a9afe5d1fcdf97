"""Keeps candidates that were made, so that a changed choice makes anew only what hangs on it."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from torch import Tensor

from .fingerprint import fingerprint
from .path import Slot


class Lru:
    """Tensors, or tuples with tensors, by key: the last used ones that fit in `budget` bytes."""

    def __init__(self, budget: int) -> None:
        self.budget, self.used = budget, 0
        self._entries: OrderedDict[bytes, Any] = OrderedDict()

    def get(self, key: bytes) -> Any:
        """What is kept under `key`, or None."""
        if key in self._entries:
            self._entries.move_to_end(key)
        return self._entries.get(key)

    def put(self, key: bytes, value: Any) -> None:
        """Keep `value`, in the place of what was used longest ago; too large a one is not kept."""
        self.used -= _size(self._entries.pop(key, None))
        if _size(value) > self.budget:
            return
        self._entries[key] = value
        self.used += _size(value)
        while self.used > self.budget:
            self.used -= _size(self._entries.popitem(last=False)[1])


def _size(value: Any) -> int:
    """Bytes that the tensors in `value` hold; a view holds all of what it looks at."""
    if isinstance(value, Tensor):
        return value.untyped_storage().nbytes()
    return sum(map(_size, value)) if isinstance(value, tuple) else 0


@dataclass(frozen=True)
class FrameCache:
    """What is known of a path's frames from earlier runs.

    `context` stands for all that a frame depends on beside its place and its neighbours: model,
    conditioning, seed, blend, scorer and the size of thumbnails. Pictures have a store of their
    own, because they are large and can be decoded again.
    """

    context: bytes
    candidates: Lru
    pictures: Lru

    def keys(
        self,
        slot: Slot,
        level: float,
        begun: int,
        ends: tuple[Tensor, Tensor],
        numbers: Iterable[int],
    ) -> dict[int, bytes]:
        """The key of every candidate of a frame between the latents `ends`, by its number.

        They are ranked after `begun` steps, 0: when they are finished.
        """
        frame = fingerprint(self.context, slot.position, level, begun, slot.weight, ends)
        return {number: fingerprint(frame, number) for number in numbers}


def once_finished(key: bytes) -> bytes:
    """Where a candidate that was ranked on the way is kept once it is finished, beside `key`."""
    return fingerprint(key, "finished")
