"""The factor on a loss that keeps gradients in the range of half precision."""

from __future__ import annotations

import logging
from collections.abc import Iterable

from torch import Tensor

log = logging.getLogger(__name__)

HIGHEST = 1024.0
"""Adam does not see a factor on its gradients, but half precision does: it keeps them off zero."""

MAX_OVERFLOWS = 12
"""Steps in a row that are left out, each with a smaller factor, before learning ends."""

_STEPS_TO_RECOVER = 20
"""Steps without an overflow before the factor grows again."""


class GradientScale:
    """A factor that falls when gradients overflow, and grows again afterwards."""

    def __init__(self) -> None:
        self.factor = HIGHEST
        self._good = self._overflows = 0

    def level(self, gradient: Tensor) -> Tensor:
        """A gradient found with any factor as it would be with the highest one."""
        return gradient * (HIGHEST / self.factor)

    def overflowed(self, gradients: Iterable[Tensor | None]) -> bool:
        """Whether the gradients of a step are not all finite, so that it must be left out.

        Raises `FloatingPointError` where that is so step after step.
        """
        if all(gradient is None or bool(gradient.isfinite().all()) for gradient in gradients):
            self._overflows, self._good = 0, self._good + 1
            if self._good % _STEPS_TO_RECOVER == 0:
                self.factor = min(HIGHEST, 2 * self.factor)
            return False
        self._overflows, self._good = self._overflows + 1, 0
        self.factor /= 4
        if self._overflows == MAX_OVERFLOWS:
            raise FloatingPointError(
                f"inversion: the gradients of {MAX_OVERFLOWS} steps in a row are not finite; use "
                "float32 or a lower learning rate"
            )
        log.info("the gradients of a step overflow, so it is left out")
        return True
