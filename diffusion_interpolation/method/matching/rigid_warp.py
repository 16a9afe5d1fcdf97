"""Moves pictures by a rigid moving least squares deformation (Schaefer et al. 2006).

Lengths are in sides: 1 is the side of a square with the area of the picture.
"""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional as F

from .transport import cell_centres, extent

FIELD = 64
"""Most rows and columns of the grid on which a deformation is computed; pictures have more."""
FALLOFF = 3
"""A point weighs as this power of one over its distance."""
SOFTENING = 1e-4
"""Added to squared distances, so that points weigh a finite number where they are."""
NO_TURN = 1e-9
"""A variance, in square sides, below which points say nothing of a turn."""
MOST_PAIRS = 2**22
"""Pairs of a place and a point that are in memory at once."""


def rigid_move(places: Tensor, before: Tensor, after: Tensor, weights: Tensor) -> Tensor:
    """Where `places` `(n, 2)` go when points `before` `(m, 2)` go to `after`.

    Near a point the plane moves with it, turned as the points around turn but not stretched.
    `weights` `(m,)` are 0 or more, and not all 0.
    """
    # around their middle, so that what rounding leaves of a variance is small beside it
    old, new = ((weights @ points) / weights.sum() for points in (before, after))
    centred = places - old, before - old, after - new
    chunk = max(1, MOST_PAIRS // len(before))
    parts = [_moved(part, *centred[1:], weights) for part in centred[0].split(chunk)]
    return torch.cat(parts) + new


def _moved(places: Tensor, before: Tensor, after: Tensor, weights: Tensor) -> Tensor:
    """One part of `rigid_move`, from weighted means alone.

    The covariance of two things is the mean of their product less the product of their means.
    """
    squared = (places[:, None] - before).square().sum(-1)
    influence = weights * (squared + SOFTENING).rsqrt() ** FALLOFF
    means = influence @ _moments(before, after) / influence.sum(1, keepdim=True)
    old, new = means[:, :2], means[:, 2:4]
    along, across = (means[:, 4:] - torch.stack(_products(old, new), 1)).unbind(1)
    # the turn as a complex number of length 1; a single point does not turn
    cosine, sine = F.normalize(torch.stack([along + NO_TURN, across]), dim=0)
    x, y = (places - old).unbind(1)
    return torch.stack([cosine * x - sine * y, sine * x + cosine * y], 1) + new


def _moments(before: Tensor, after: Tensor) -> Tensor:
    """Both points and their products: `(m, 6)`."""
    return torch.cat([before, after, torch.stack(_products(before, after), 1)], 1)


def _products(one: Tensor, other: Tensor) -> tuple[Tensor, Tensor]:
    """Inner and outer products `(n,)` of vectors `(n, 2)`."""
    outer = one[:, 0] * other[:, 1] - one[:, 1] * other[:, 0]
    return (one * other).sum(1), outer


def warp(picture: Tensor, before: Tensor, after: Tensor, weights: Tensor, aspect: float) -> Tensor:
    """Move a picture `(c, h, w)` so that what is at `before` comes to `after`, both `(m, 2)`.

    Each pixel looks up where it comes from, and what would come from outside is the border's.
    """
    height, width = picture.shape[1:]
    rows, columns = min(height, FIELD), min(width, FIELD)
    cells = cell_centres(rows, columns, aspect, picture)
    moves = (rigid_move(cells, after, before, weights) - cells) / cells.new_tensor(extent(aspect))
    moves = moves.T.view(1, 2, rows, columns)
    field = F.interpolate(moves, size=(height, width), mode="bilinear", align_corners=False)
    pixels = cell_centres(height, width, 1.0, picture).T.view(1, 2, height, width)
    places = (2 * (pixels + field) - 1).movedim(1, -1)
    moved = F.grid_sample(picture[None], places, padding_mode="border", align_corners=False)
    return moved[0]
