"""What a `denoise` means, and the steps that lead from it to clean latents."""

from __future__ import annotations

import functools
import itertools
import math
from collections.abc import Sequence
from typing import Protocol

import torch
from torch import Tensor

from .contract import Schedule

_FAINT = 0.1
"""A noise-to-signal ratio that the eye does not see; a step from less than that does not count."""

_SHORT = 0.25
"""A first step shorter than this fraction of the second one is taken together with it."""


def noise_ratio(denoise: float) -> float:
    """Return the noise-to-signal ratio that `denoise` in (0, 1] names, for latents of unit size.

    It is the one that Stable Diffusion 1.5 has at this fraction of its schedule: 1.913 at 0.55,
    0.832 at 0.30. At 1 it is infinite: pure noise. It rises with `denoise`. Below 1 the numbers are
    those of ComfyUI's `ModelSamplingDiscrete.percent_to_sigma` at `1 - denoise`, bit for bit.
    Raises `ValueError` outside of (0, 1].
    """
    if not 0 < denoise <= 1:
        raise ValueError(f"denoise: got {denoise}, needs more than 0, and 1 at most")
    if denoise == 1:
        return math.inf
    logs = _log_ratios()
    # the first of 1000 timesteps is 0, the last 999
    place = torch.tensor(denoise * 999.0)
    weight = place.frac()
    log = (1 - weight) * logs[int(place.floor())] + weight * logs[int(place.ceil())]
    return log.exp().item()


@functools.cache
def _log_ratios() -> Tensor:
    """Return Stable Diffusion 1.5's logarithm of noise over signal at its 1000 timesteps."""
    betas = torch.linspace(0.00085**0.5, 0.012**0.5, 1000, dtype=torch.float64) ** 2
    kept = (1 - betas).cumprod(0)
    return ((1 - kept) / kept).sqrt().log().float()


class Spacing(Protocol):
    """A model's levels of noise, as points in its own unit, such as sigmas or timesteps.

    Points fall from the noisiest to the clean one. It says how steps are spread over them.
    """

    @property
    def grid(self) -> Sequence[float]:
        """The points of the whole schedule, noisiest first and the clean one last."""

    def point(self, ratio: float) -> float:
        """The point with this noise-to-signal ratio, or the nearest one that there is."""

    def spread(self, start: float, steps: int) -> Sequence[float]:
        """`steps + 1` points from `start` to the clean one, even in the scheduler's own time."""


def schedule_from(spacing: Spacing, denoise: float, min_steps: int = 1) -> Schedule:
    """Return the steps that begin exactly at `denoise`.

    After the start come the grid's points below it. Where fewer than `min_steps` of them count, new
    ones are spread evenly over the scheduler's own time: points of the same kind, as if the whole
    schedule had more steps, so that no step is much longer than another. Steps from noise that is
    hardly seen (`_FAINT`, or an eighth of a very low `denoise`) do not count, such as the last one
    of ComfyUI's `normal`. Raises `ValueError` outside of (0, 1].
    """
    ratio = noise_ratio(denoise)
    start, faint = spacing.point(ratio), spacing.point(min(_FAINT, ratio / 8))
    points = [start, *(point for point in spacing.grid if point < start)]
    if len(points) > 2:
        first, second = (high - low for high, low in itertools.pairwise(points[:3]))
        if first < _SHORT * second:
            del points[1]
    if sum(point > faint for point in points) < min_steps:
        points = _spread(spacing, start, min_steps, faint)
    return Schedule(tuple(points))


def _spread(spacing: Spacing, start: float, min_steps: int, faint: float) -> Sequence[float]:
    """Return new points, `min_steps` of them above `faint` and none between that and the end."""
    if start <= faint:
        return spacing.spread(start, min_steps)
    for steps in itertools.count(min_steps):
        *points, end = spacing.spread(start, steps)
        seen = [point for point in points if point > faint]
        if len(seen) >= min_steps:
            return [*seen, end]
    raise AssertionError("more steps are closer to the start")
