"""Pictures on a coarse grid of cells, and how alike cells are."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional as F

CELLS = 32
"""Cells of the grid on the longer side of a picture."""
LIKENESS = 0.06
"""Standard deviation of the colours of one region."""
REACH = 0.2
"""Standard deviation, in sides, of the places of one region."""


def gauss(distance: Tensor, width: float) -> Tensor:
    """`exp(-distance^2 / (2 width^2))`."""
    return torch.exp(-distance.square() / (2 * width * width))


def reduced(frames: Tensor, longest: int) -> Tensor:
    """Return frames `(n, c, h, w)` with at most `longest` pixels on the longer side."""
    height, width = frames.shape[-2:]
    cell = max(1.0, max(height, width) / longest)
    return resized(frames, (round(height / cell), round(width / cell)))


def resized(values: Tensor, size: tuple[int, int]) -> Tensor:
    """Return the means of `values` `(n, c, h, w)` over the areas of a grid of `size`."""
    return F.interpolate(values, size, mode="area")


def as_rows(values: Tensor) -> Tensor:
    """Return a grid `(n, c, rows, columns)` as `(n, rows * columns, c)`."""
    return values.flatten(2).transpose(1, 2)


def as_grid(values: Tensor, size: torch.Size) -> Tensor:
    """Return rows `(rows * columns, c)` as a grid `(1, c, rows, columns)` of `size`."""
    return values.T.reshape(1, -1, *size)
