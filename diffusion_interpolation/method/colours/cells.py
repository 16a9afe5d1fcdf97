"""Pictures on a coarse grid of cells, and how alike cells are."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor
from torch.nn import functional as F

CELLS = 32
"""Cells of the grid on the longer side of a picture."""
LIKENESS = 0.06
"""Standard deviation of the colours of one region."""
REACH = 0.2
"""Standard deviation, in sides, of the places of one region."""
STEP = 1 / 255
"""Corrections below are none."""


def gauss(distance: Tensor, width: float) -> Tensor:
    """`exp(-distance^2 / (2 width^2))`."""
    return torch.exp(-distance.square() / (2 * width * width))


def alike(some: Tensor, others: Tensor) -> Tensor:
    """Return `gauss(distance, 1)` between rows `(..., n, d)` and `(..., m, d)`."""
    ones = [x.new_ones(*x.shape[:-1], 1) for x in (some, others)]
    squares = [x.square().sum(-1, keepdim=True) / -2 for x in (some, others)]
    product = torch.cat([some, squares[0], ones[0]], -1) @ torch.cat(
        [others, ones[1], squares[1]], -1
    ).transpose(-1, -2)
    return product.clamp_(max=0).exp_()


def weighted_mean(weights: Tensor, values: Tensor) -> Tensor:
    """Return the mean `(n, c)` of `values` `(m, c)` under each row of `weights` `(n, m)`."""
    return weights @ values / weights.sum(1, keepdim=True).clamp_min(1e-9)


def certain(correction: Tensor, weights: Tensor, values: Tensor, errors: float) -> Tensor:
    """Return corrections `(n, c)` as far as they are more than so many standard `errors`.

    They are estimated from `values` `(m, c)` under `weights` `(n, m)`. What is less than a `STEP`
    is nothing.
    """
    mean = weighted_mean(weights, values)
    spread = (weighted_mean(weights, values.square()) - mean.square()).clamp_min(0)
    squares = weights.square().sum(1, keepdim=True).clamp_min(1e-12)
    # neighbouring cells are not independent
    count = (weights.sum(1, keepdim=True).square() / squares / 4).clamp_min(1)
    error = errors**2 * spread.sum(1, keepdim=True) / count
    size = correction.square().sum(1, keepdim=True)
    return correction * (1 - (error + STEP**2) / size.clamp_min(1e-12)).clamp_min(0)


def reduced(frames: Tensor, longest: int) -> Tensor:
    """Return frames `(n, c, h, w)` with at most `longest` pixels on the longer side."""
    height, width = frames.shape[-2:]
    cell = max(1.0, max(height, width) / longest)
    return resized(frames, (round(height / cell), round(width / cell)))


def resized(values: Tensor, size: Sequence[int]) -> Tensor:
    """Return the means of `values` `(n, c, h, w)` over the areas of a grid of `size`."""
    return F.interpolate(values, size, mode="area")


def as_rows(values: Tensor) -> Tensor:
    """Return a grid `(n, c, rows, columns)` as `(n, rows * columns, c)`."""
    return values.flatten(2).transpose(1, 2)


def as_grid(values: Tensor, size: Sequence[int]) -> Tensor:
    """Return rows `(rows * columns, c)` as a grid `(1, c, rows, columns)` of `size`."""
    return values.T.reshape(1, -1, *size)
