"""Matches the cells of two feature grids by entropic optimal transport.

The recipe is that of AlignMorph (arXiv 2609.24330, section 3): a balanced plan on the cosine cost,
read out both ways, with a reliability for each match. The pull towards an expected place and the
weight of what stands out from the border are additions.

Lengths are in sides: 1 is the side of a square with the area of the picture.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn import functional as F

EPSILON = 0.05
"""Entropy of the plan, in units of the cost. No cost is above 3, so that `exp(-cost / EPSILON)` and
its scalings stay finite in float32, without logarithms."""
ITERATIONS = 50
PULL = 0.4
"""Cost of a cell that goes 1 side away from where it is expected; it rises with the square."""
RADIUS = 0.1
"""A match is the mean of a plan's row within this distance of the peak, in sides."""
CYCLE = 0.06
"""Standard deviation of how far a trusted match may miss its start on the way back, in sides."""


class Matches(NamedTuple):
    """Points `first` `(m, 2)` of one picture that lie at `second` in another, and their weights.

    Points are (x, y) in sides, of which 1 is the square root of the picture's area. Weights `(m,)`
    are in 0..1, 0 where a match cannot be trusted.
    """

    first: Tensor
    second: Tensor
    weights: Tensor


def extent(aspect: float) -> tuple[float, float]:
    """Width and height, in sides, of a picture whose width is `aspect` times its height."""
    return aspect**0.5, aspect**-0.5


def cell_centres(rows: int, columns: int, aspect: float, like: Tensor) -> Tensor:
    """Centres `(rows * columns, 2)` of a grid's cells in sides, row by row."""
    width, height = extent(aspect)
    x = (torch.arange(columns, device=like.device) + 0.5) * (width / columns)
    y = (torch.arange(rows, device=like.device) + 0.5) * (height / rows)
    x, y = x.expand(rows, columns), y[:, None].expand(rows, columns)
    return torch.stack([x, y], -1).flatten(0, 1)


def sample_grid(values: Tensor, points: Tensor, aspect: float) -> Tensor:
    """Bilinear samples `(m, c)` of a grid `(c, rows, columns)` at points `(m, 2)` in sides."""
    places = 2 * points / points.new_tensor(extent(aspect)) - 1
    sampled = F.grid_sample(
        values[None], places[None, None], padding_mode="border", align_corners=False
    )
    return sampled[0, :, 0].T


def match(first: Tensor, second: Tensor, aspect: float, expected: Tensor | None = None) -> Matches:
    """Match two grids of features `(c, rows, columns)` of norm 1, cell by cell, both ways.

    `expected` `(rows * columns, 2)` says where each cell of the first picture should roughly lie
    in the second; without it, at the same place. There are two matches for each cell: of one in
    the first picture, and of one in the second.
    """
    rows, columns = first.shape[1:]
    cells = cell_centres(rows, columns, aspect, first)
    flat = first.flatten(1).T, second.flatten(1).T
    expected = cells if expected is None else expected
    plan = transport(1 - flat[0] @ flat[1].T + PULL * square_distances(expected, cells))
    near = square_distances(cells, cells) < RADIUS**2
    ways = [_Way.of(one, cells, near) for one in (plan, plan.T)]
    stands_out = [_contrast(features) for features in (first, second)]

    def trust(way: _Way, back: _Way, own: Tensor, other: Tensor) -> Tensor:
        told = torch.stack([*back.places.T, back.sharpness, other])
        there = sample_grid(told.view(4, rows, columns), way.places, aspect)
        missed = (there[:, :2] - cells).square().sum(1)
        cycle = torch.exp(-missed / (2 * CYCLE**2))
        return way.sharpness * there[:, 2] * cycle * own * there[:, 3]

    there, back = ways
    weights = trust(there, back, *stands_out), trust(back, there, *reversed(stands_out))
    return Matches(
        torch.cat([cells, back.places]), torch.cat([there.places, cells]), torch.cat(weights)
    )


def transport(cost: Tensor) -> Tensor:
    """The entropic transport plan `(n, m)` of a cost `(n, m)` between uniform masses.

    Sinkhorn's scalings (Cuturi 2013).
    """
    kernel = torch.exp(-cost / EPSILON)
    count, columns = kernel.shape
    right = kernel.new_ones(columns)
    for _ in range(ITERATIONS):
        left = 1 / (count * (kernel @ right))
        right = 1 / (columns * (kernel.T @ left))
    return left[:, None] * kernel * right


def square_distances(one: Tensor, other: Tensor) -> Tensor:
    """Squared distances `(n, m)` between points `(n, 2)` and `(m, 2)`."""
    return (one[:, None] - other).square().sum(-1)


class _Way(NamedTuple):
    """Where each cell goes, `(n, 2)`, and what part of its mass goes there, `(n,)`."""

    places: Tensor
    sharpness: Tensor

    @classmethod
    def of(cls, plan: Tensor, cells: Tensor, near: Tensor) -> _Way:
        rows = plan / plan.sum(1, keepdim=True)
        rows = rows * near[rows.argmax(1)]
        sharpness = rows.sum(1)
        return cls(rows @ cells / sharpness[:, None], sharpness)


def _contrast(features: Tensor) -> Tensor:
    """How much each cell's features differ from those of the picture's border: 0 to 1."""
    border = torch.cat([features[:, 0], features[:, -1], features[:, :, 0], features[:, :, -1]], 1)
    mean = F.normalize(border.mean(1), dim=0)
    return (1 - mean @ features.flatten(1)).clamp(0, 1)
