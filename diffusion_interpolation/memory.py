"""Work in batches that shrink until they fit in memory."""

from __future__ import annotations

import logging
from collections.abc import Callable

import torch
from torch import Tensor

log = logging.getLogger(__name__)


class Batches:
    """Runs work in batches of `size` rows; one that does not fit is halved, as are all after it."""

    def __init__(self, size: int) -> None:
        self.size = size

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
        log.info("a batch of %d does not fit in memory, going on with %d", rows, self.size)
        torch.cuda.empty_cache()


def out_of_memory(error: BaseException) -> bool:
    """Whether the error says that a device or the CPU has no memory left."""
    if isinstance(error, torch.cuda.OutOfMemoryError):
        return True
    # neither the CPU's allocator nor every driver has an error class of its own
    return any(words in str(error) for words in ("DefaultCPUAllocator", "out of memory"))
