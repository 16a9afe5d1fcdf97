"""Brings a field on a coarse grid to the size of its picture, along the picture's edges.

The guided filter of He et al. (2013) in its fast form (arXiv 1505.00996).
"""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional as F

RADIUS = 2
"""Cells of the coarse grid to each side, over which the field is one linear map of the colours."""
EPSILON = 1e-4
"""Variance of colours under which they tell nothing of the field."""


def upsample(field: Tensor, coarse: Tensor, picture: Tensor) -> Tensor:
    """Return a field `(n, c, rows, columns)` at the size of pictures `(n, 3, h, w)`.

    `coarse` `(n, 3, rows, columns)` are the pictures on the grid of the field. Around each cell the
    field is `slope @ colour + offset`, so that it ends where the picture has an edge.
    """
    mean, value = _box(coarse), _box(field)
    with_field = _box(field[:, :, None] * coarse[:, None])
    covariance = with_field - value[:, :, None] * mean[:, None]
    variance = _box(coarse[:, :, None] * coarse[:, None]) - mean[:, :, None] * mean[:, None]
    system = variance.permute(0, 3, 4, 1, 2) + EPSILON * torch.eye(3).to(field)
    slope = torch.linalg.solve(system, covariance.permute(0, 3, 4, 2, 1)).permute(0, 4, 3, 1, 2)
    offset = value - (slope * mean[:, None]).sum(2)
    size = picture.shape[-2:]
    slope = _resized(_box(slope).flatten(1, 2), size).unflatten(1, slope.shape[1:3])
    return (slope * picture[:, None]).sum(2) + _resized(_box(offset), size)


def _box(values: Tensor) -> Tensor:
    """The mean over a square around each cell, inside the grid."""
    flat = values.flatten(0, -3)[:, None]
    side = 2 * RADIUS + 1
    mean = F.avg_pool2d(flat, side, 1, RADIUS, count_include_pad=False)
    return mean.view_as(values)


def _resized(values: Tensor, size: torch.Size) -> Tensor:
    return F.interpolate(values, size, mode="bilinear", align_corners=False)
