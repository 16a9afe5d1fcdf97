"""Work in batches that shrink until they fit in memory."""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence

import torch
from torch import Tensor

log = logging.getLogger(__name__)


class Batches:
    """Runs work in batches of `size` rows; one that does not fit is halved, as are all after it.

    Before the next attempt `empty_cache` gives back what torch holds of a device's memory unused.
    """

    def __init__(self, size: int, empty_cache: Callable[[], None] | None = None) -> None:
        self.size, self._empty_cache = size, empty_cache or empty_caches

    def run(self, work: Callable[[list[int]], Tensor], count: int) -> Tensor:
        """The rows of `work(range(count))`. Raises its error where not even one row fits."""
        done, results = 0, []
        while done < count:
            rows = list(range(done, min(done + self.size, count)))
            result = self._attempt(work, rows)
            if result is None:
                self._halve(len(rows))
                continue
            results.append(result)
            done += len(rows)
        return torch.cat(results)

    def run_groups(
        self, work: Callable[[list[int]], Tensor], groups: Sequence[Sequence[int]]
    ) -> Tensor:
        """As `run`, for rows that go in groups; the result has the order of the rows."""
        results = [
            self.run(lambda part, group=group: work([group[i] for i in part]), len(group))
            for group in groups
        ]
        order = torch.tensor([row for group in groups for row in group]).argsort()
        return torch.cat(results)[order.to(results[0].device)]

    def _attempt(self, work: Callable[[list[int]], Tensor], rows: list[int]) -> Tensor | None:
        """The result, or None where memory ran out: the error, and what it held, end here."""
        try:
            return work(rows)
        except RuntimeError as error:
            if len(rows) == 1 or not out_of_memory(error):
                raise
            return None

    def _halve(self, rows: int) -> None:
        self.size = rows // 2
        log.info("a batch of %d does not fit in memory, continuing with %d", rows, self.size)
        self._empty_cache()


def empty_caches() -> None:
    """Give back the memory that torch holds unused on every kind of device that there is."""
    for device in accelerators():
        getattr(torch, device).empty_cache()


def accelerators() -> list[str]:
    """The kinds of device besides the CPU that torch can compute on here, the fastest first."""
    kinds = {"cuda": torch.cuda, "xpu": getattr(torch, "xpu", None), "mps": torch.backends.mps}
    return [name for name, kind in kinds.items() if kind is not None and kind.is_available()]


def out_of_memory(error: BaseException) -> bool:
    """Whether the error says that a device or the CPU has no memory left."""
    if isinstance(error, torch.cuda.OutOfMemoryError):
        return True
    # neither the CPU's allocator nor every driver or library has an error class of its own
    known = (
        "DefaultCPUAllocator",
        "out of memory",
        "not enough GPU video memory",
        "OUT_OF_DEVICE_MEMORY",
        "OUT_OF_HOST_MEMORY",
        "STATUS_ALLOC_FAILED",
    )
    return any(words in str(error) for words in known)
