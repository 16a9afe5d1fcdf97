"""Where things of a picture are in the picture before, whatever their colours have become."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional as F

PATCH = 7
"""Pixels of a side of the squares that are compared."""
PULL = 2e-5
"""Cost of a pixel away; it rises with the square of the distance."""
CLEARLY = 0.5
"""Part of the cost of staying that a move may cost at most; flat places stay where they are."""


def flow(pictures: Tensor, others: Tensor, reach: int) -> Tensor:
    """Return how far on `(n, 2, h, w)` (x, y), in pixels, each point lies in `others`.

    Squares are compared by the variance of their difference, which no shift of colours changes.
    Things may lie up to `reach` pixels away.
    """
    height, width = pictures.shape[-2:]
    padded = F.pad(others, [reach] * 4, mode="replicate")
    shifts = [(x, y) for y in range(-reach, reach + 1) for x in range(-reach, reach + 1)]
    costs = []
    for x, y in shifts:
        moved = padded[:, :, reach + y :, reach + x :][:, :, :height, :width]
        difference = moved - pictures
        mean = _box(difference)
        cost = (_box(difference.square()) - mean.square()).sum(1)
        costs.append(cost + PULL * (x * x + y * y))
    cost = torch.stack(costs, 1)
    best = cost.argmin(1, keepdim=True)
    side = 2 * reach + 1
    x, y = best % side, best // side
    parts = [
        place - reach + _between(cost, best, place, step, side)
        for place, step in ((x, 1), (y, side))
    ]
    still, lowest = cost[:, [reach * side + reach]], cost.gather(1, best)
    return torch.where(lowest < CLEARLY * still, torch.cat(parts, 1), 0.0)


def follow(pictures: Tensor, moves: Tensor) -> Tensor:
    """Return pictures `(n, c, h, w)` sampled where `moves` `(n, 2, h, w)` lead from each point."""
    height, width = pictures.shape[-2:]
    y, x = torch.arange(height).to(moves), torch.arange(width).to(moves)
    places = torch.stack([x + moves[:, 0], y[:, None] + moves[:, 1]], -1)
    scale = moves.new_tensor([width, height])
    grid = (2 * places + 1) / scale - 1
    return F.grid_sample(pictures, grid, padding_mode="border", align_corners=False)


def _between(cost: Tensor, best: Tensor, place: Tensor, step: int, side: int) -> Tensor:
    """The lowest point, to a part of a pixel, of a parabola through the best and its neighbours."""
    inside = (place > 0) & (place < side - 1)
    low, high = (best - step).clamp_min(0), (best + step).clamp_max(cost.shape[1] - 1)
    left, middle, right = (cost.gather(1, index) for index in (low, best, high))
    bend = (left - 2 * middle + right).clamp_min(1e-9)
    return torch.where(inside, ((left - right) / (2 * bend)).clamp(-0.5, 0.5), 0)


def _box(values: Tensor) -> Tensor:
    return F.avg_pool2d(values, PATCH, 1, PATCH // 2, count_include_pad=False)
