"""Colours of frames, moved to the mix of those that the same things have in both keyframes.

Things are followed from frame to frame on a coarse grid. What is carried is how much a colour has
changed since the keyframe, never the colour itself, so that details stay as they are.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn import functional as F

from .guided import upsample

CELLS = 32
"""Cells of the grid on the longer side of a picture."""
LIKENESS = 0.06
"""Standard deviation of the colours of one region."""
REACH = 0.2
"""Standard deviation, in sides, of the places of one region."""
CHANGE = 0.08
"""Standard deviation of how much colours of one region may change otherwise than the region."""
AGREEING = 0.6
"""Part of a region that must change alike from frame to frame; with half of it nothing is known."""
ROUNDS = 3
SURE = 2.0
"""A correction is made as far as it is more than so many standard errors."""
STEP = 1 / 255
"""Corrections below are none."""


class Traced(NamedTuple):
    """How far the colours of cells are from a keyframe's `(cells, 3)`, and how sure, 0 to 1."""

    change: Tensor
    sure: Tensor


def match_colours(
    frames: Tensor, keyframes: Sequence[int] | None = None, strength: float = 1.0
) -> Tensor:
    """Return frames `(n, 3, h, w)` in 0..1 with their colours on straight ways between keyframes.

    `keyframes` are the numbers of the frames that stay as they are, in order (the first and the
    last frame). At a `strength` of 0 nothing changes.
    """
    made, places = frames.clone(), list(keyframes or (0, len(frames) - 1))
    for first, last in zip(places, places[1:], strict=False):
        if last - first > 1 and strength > 0:
            _match_gap(made[first : last + 1], strength)
    return made


def _match_gap(frames: Tensor, strength: float) -> None:
    """Correct the frames between two keyframes in place."""
    coarse = _coarse(frames)
    colours = coarse.flatten(2).transpose(1, 2)
    near = _nearness(coarse.shape[-2:], colours)
    regions = [near * _gauss(torch.cdist(c, c), LIKENESS) for c in colours]
    order = list(range(len(frames)))
    there = _trace(order, colours, regions)
    back = _trace(order[::-1], colours, regions)
    for i in order[1:-1]:
        field = _correction(there[i], back[i], i / order[-1], regions[i])
        field = field.T.reshape(1, 3, *coarse.shape[-2:])
        moved = upsample(field, coarse[i : i + 1], frames[i : i + 1])
        frames[i] += strength * moved[0]
    frames.clamp_(0, 1)


def _trace(order: Sequence[int], colours: Tensor, regions: Sequence[Tensor]) -> dict[int, Traced]:
    """Follow regions from the first frame of `order` to the others."""
    nothing = torch.zeros_like(colours[0])
    known = Traced(nothing, torch.ones_like(nothing[:, :1]))
    found = {order[0]: known}
    for before, i in zip(order, order[1:], strict=False):
        found[i] = known = _followed(known, colours[before] - colours[i], regions[i])
    return found


def _followed(known: Traced, difference: Tensor, region: Tensor) -> Traced:
    """What is known of the next frame, whose colours are less by `difference` `(cells, 3)`."""
    shift = torch.zeros_like(difference)
    for _ in range(ROUNDS):
        agree = region * _gauss(torch.cdist(shift, difference), CHANGE)
        shift = agree @ difference / agree.sum(1, keepdim=True).clamp_min(1e-6)
    agree = region * _gauss(torch.cdist(shift, difference), CHANGE)
    share = agree.sum(1, keepdim=True) / region.sum(1, keepdim=True)
    agree = agree * known.sure.T.clamp_min(1e-3)
    total = agree.sum(1, keepdim=True).clamp_min(1e-9)
    regional = agree @ (known.change + difference) / total
    # a cell that changes as its region does is followed by itself
    own = _gauss((difference - shift).norm(dim=1, keepdim=True), CHANGE / 2)
    own = own * known.sure
    believed = (2 * share / AGREEING - 1).clamp(0.05, 1) ** 0.25
    sure = agree @ known.sure / total * believed
    return Traced(regional.lerp(known.change + difference, own), sure)


def _correction(there: Traced, back: Traced, weight: float, region: Tensor) -> Tensor:
    """How the colours of cells should change `(cells, 3)`: by the mean of their region."""
    wanted, sure = there.change.lerp(back.change, weight), there.sure * back.sure
    weights = region * sure.T
    total = weights.sum(1, keepdim=True).clamp_min(1e-9)
    mean = weights @ wanted / total
    spread = (weights @ wanted.square() / total - mean.square()).clamp_min(0).sum(1, keepdim=True)
    count = total.square() / weights.square().sum(1, keepdim=True).clamp_min(1e-12)
    # neighbouring cells are not independent
    error = spread / (count / 4).clamp_min(1)
    size = mean.square().sum(1, keepdim=True)
    gate = (1 - (SURE**2 * error + STEP**2) / size.clamp_min(1e-12)).clamp_min(0)
    return mean * gate * sure.clamp(0, 1)


def _coarse(frames: Tensor) -> Tensor:
    height, width = frames.shape[-2:]
    cell = max(1.0, max(height, width) / CELLS)
    return F.interpolate(frames, (round(height / cell), round(width / cell)), mode="area")


def _nearness(size: torch.Size, like: Tensor) -> Tensor:
    """How near cells are to each other `(cells, cells)`."""
    rows, columns = size
    y = (torch.arange(rows).to(like) + 0.5) / max(size)
    x = (torch.arange(columns).to(like) + 0.5) / max(size)
    places = torch.stack(torch.meshgrid(y, x, indexing="ij"), -1).flatten(0, 1)
    return _gauss(torch.cdist(places, places), REACH)


def _gauss(distance: Tensor, width: float) -> Tensor:
    return torch.exp(-distance.square() / (2 * width * width))
