"""What is where in two keyframes, and pictures moved along it before they are blended.

Two pictures that are blended as they are show everything twice that moves between them. With a
correspondence, both neighbours of a frame are first moved to where their things are at the frame's
position. Points are matched on the keyframes alone, never on frames that were made, and go on
straight lines from one keyframe to the other.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from ...models.contract import PromptEmbeddings
from ..path import gaps_between
from .anchors import Anchors, none
from .features import FeatureExtractor, FeatureModel, joined, of_model, picture_features
from .rigid_warp import warp
from .transport import cell_centres, match, square_distances

POINTS = 384
"""The most points of a correspondence besides its anchors: those of the highest weights."""
TRUST = 0.4
"""If these points have this mean weight or less, the pictures have nothing in common, and none is
kept. Pairs of puppets have 0.5 to 0.9, photographs and their bent copies above 0.8, by the features
of a diffusion model; those of vision models have other weights."""
REACH = 0.1
"""Standard deviation, in sides, of how far around an anchor others are expected to go its way."""


@dataclass(frozen=True)
class Correspondence:
    """Points `first` `(m, 2)` of a keyframe that lie at `second` in the next one.

    Points are (x, y) from the top left corner, in sides: 1 is the side of a square with the area of
    the picture. The picture's width is `aspect` times its height. `weights` `(m,)` are in (0, 1];
    anchors have 1. Without points nothing is moved.
    """

    first: Tensor
    second: Tensor
    weights: Tensor
    aspect: float

    def __len__(self) -> int:
        return len(self.weights)

    def at(self, t: float) -> Tensor:
        """Where the points are at `t`: 0 is the first of the two keyframes, 1 the second."""
        return self.first.lerp(self.second, t)

    def move(self, picture: Tensor, start: float, end: float) -> Tensor:
        """Return `picture` with its things, which are where they are at `start`, moved to `end`.

        It is `(3, h, w)`. Raises `ValueError` for a picture of another aspect, if there are points
        and `start` is not `end`.
        """
        if not len(self) or start == end:
            return picture
        check_aspect(picture, self.aspect)
        points = [self.at(t).to(picture) for t in (start, end)]
        return warp(picture, *points, self.weights.to(picture), self.aspect)


def check_aspect(picture: Tensor, aspect: float) -> None:
    """Raise `ValueError` for a picture `(3, h, w)` of another aspect."""
    height, width = picture.shape[-2:]
    if abs(width / height / aspect - 1) > 0.02:
        raise ValueError(
            f"correspondence: is of pictures {aspect:.3g} times as wide as high, "
            f"got {width} x {height} pixels"
        )


def anchored(anchors: Anchors, aspect: float) -> Correspondence:
    """The correspondence of anchors alone; that without any moves nothing."""
    return Correspondence(*anchors, torch.ones(len(anchors.first)), aspect)


def find(
    first: Tensor,
    second: Tensor,
    aspect: float,
    anchors: Anchors | None = None,
    trust: float = TRUST,
) -> Correspondence:
    """The correspondence between two pictures, from their features `(c, rows, columns)` of norm 1.

    `anchors` are points of weight 1; cells near one are expected to move by as much, in the same
    direction, and cells far from all of them to stay in place. Besides the anchors, the `POINTS`
    matches of the highest weights are kept. If their mean weight is `trust` or less, the pictures
    have too little in common, and only the anchors are kept.
    """
    anchors = Anchors(*(points.to(first) for points in anchors or none()))
    cells = cell_centres(*first.shape[1:], aspect, first)
    found = match(first, second, aspect, _expected(cells, anchors))
    best = found.weights.topk(min(POINTS, len(found.weights))).indices
    # a wrong map is worse than none
    best = best[(found.weights[best] > 0) & (found.weights[best].mean() > trust)]
    points = [torch.cat([a, m[best]]).cpu() for a, m in zip(anchors, found[:2], strict=True)]
    ones = found.weights.new_ones(len(anchors.first))
    return Correspondence(*points, torch.cat([ones, found.weights[best]]).cpu(), aspect)


def _expected(cells: Tensor, anchors: Anchors) -> Tensor:
    """Where cells `(n, 2)` are expected: in place, and near anchors where these go."""
    pull = torch.exp(-square_distances(cells, anchors.first) / (2 * REACH**2))
    moves = pull @ (anchors.second - anchors.first)
    # several anchors that say the same say no more than one
    return cells + moves / pull.sum(1, keepdim=True).clamp_min(1)


def correspondences(
    extract: FeatureExtractor | None,
    pictures: Tensor,
    anchors: Sequence[Anchors] | None = None,
    trust: float = TRUST,
    loop: bool = False,
) -> list[Correspondence]:
    """The correspondence of every gap between keyframes `(N, 3, h, w)` in 0..1.

    With `loop` there is a gap from the last keyframe to the first one, too. `anchors` has one entry
    per gap. Without `extract` the correspondences consist of anchors alone. `trust` is that of
    `find`.
    """
    height, width = pictures.shape[2:]
    aspect, gaps = width / height, gaps_between(len(pictures), loop)
    anchors = anchors or [none()] * len(gaps)
    if extract is None:
        return [anchored(one, aspect) for one in anchors]
    grids = picture_features(extract, pictures)
    pairs = [joined([grid[list(gap)] for grid in grids]) for gap in gaps]
    return [find(*pair, aspect, one, trust) for pair, one in zip(pairs, anchors, strict=True)]


def match_keyframes(
    model: FeatureModel,
    text: PromptEmbeddings,
    pictures: Tensor,
    anchors: Sequence[Anchors] | None = None,
    loop: bool = False,
) -> list[Correspondence]:
    """The `correspondences` of keyframes by a model's own features.

    The first row of `text` is the prompt under which the model sees all of them.
    """
    extract = of_model(model, text.rows([0]))
    return correspondences(extract, pictures, anchors, loop=loop)


def move(
    gaps: Sequence[Correspondence],
    pictures: Tensor,
    starts: Sequence[float],
    ends: Sequence[float],
) -> Tensor:
    """Pictures `(n, 3, h, w)` at positions `starts`, with their things where they are at `ends`.

    Positions are in keyframes; a start and its end lie in the same gap.
    """
    moved = []
    for picture, start, end in zip(pictures, starts, ends, strict=True):
        gap = min(int(min(start, end)), len(gaps) - 1)
        moved.append(gaps[gap].move(picture, start - gap, end - gap))
    return torch.stack(moved)
