"""Colours of a frame, moved to those that its things have in both keyframes, along a map.

Both keyframes are moved to the frame along their correspondence, and mixed. Where the map is
reliable the mix has the right colours, whatever its shapes look like. Each region of the frame,
cells of like colour near each other, gets the correction on which most of its reliable cells agree.
A thing that is in one keyframe only, such as a hat, has no reliable cells and stays as it is.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn import functional as F

from ..matching.correspondence import Correspondence
from ..matching.transport import cell_centres
from .cells import (
    CELLS,
    LIKENESS,
    REACH,
    alike,
    as_grid,
    as_rows,
    certain,
    reduced,
    resized,
    weighted_mean,
)
from .guided import upsample

FINE = 2
"""Times as fine is the grid to which corrections are spread along edges."""
MOVED = 4
"""Times as fine as cells are the keyframes that are moved."""
SPREAD = 0.06
"""Standard deviation, in sides, of how far a cell's correction is spread along its colour."""
WINDOW = 6
"""Cells to each side to which it is spread at most."""
CHANGE = 0.08
"""Standard deviation of corrections that agree."""
RELIABLE = 0.03
"""Standard deviation, in sides, of how far around a point of the map it is reliable."""
ROUNDS = 3
SURE = 1.5
"""A correction is made as far as it is more than so many standard errors."""
DOUBT = (0.4, 0.7)
"""Fractions of a region that agree, up to which nothing and from which all is corrected."""
COVERED = 0.15
"""Mean reliability from which a map says enough of colours; a few anchors alone say less."""
NOTHING_ALIKE = 0.3
"""Weight of no correction beside the cells that are like a place of the fine grid."""

Colours = Callable[[Tensor, Sequence[float]], Tensor]
"""Gives frames `(n, 3, h, w)` in 0..1 the colours that they should have at their positions."""


def as_made(frames: Tensor, positions: Sequence[float]) -> Tensor:
    """Return `frames` as they are."""
    return frames


class _Cells(NamedTuple):
    """A picture on a grid `(1, 3, rows, columns)`, its colours `(cells, 3)` and their places."""

    picture: Tensor
    colours: Tensor
    places: Tensor
    aspect: float


class _Wanted(NamedTuple):
    """The colours that cells should have `(cells, 3)`, and how reliable each is, 0 to 1."""

    colours: Tensor
    reliable: Tensor


@dataclass(frozen=True)
class ColoursAlong:
    """Gives frames the colours that their things have in the keyframes, along each gap's map.

    `keyframes` `(N, 3, h, w)` are in 0..1, and positions are in keyframes. Keyframes, and frames of
    a gap whose map says too little, stay as they are.
    """

    gaps: Sequence[Correspondence]
    keyframes: Sequence[Tensor]
    _known: dict[float, _Wanted] = field(default_factory=dict, init=False, repr=False)
    """What is wanted at positions that were asked for: candidates of a frame share it."""

    def __call__(self, frames: Tensor, positions: Sequence[float]) -> Tensor:
        return torch.stack([self._match(*one) for one in zip(frames, positions, strict=True)])

    @cached_property
    def says(self) -> list[bool]:
        """Whether the map of each gap has points enough."""
        return [_says_colours(gap) for gap in self.gaps]

    @cached_property
    def _small(self) -> list[Tensor]:
        """The keyframes at the size at which they are moved."""
        return [reduced(keyframe[None], CELLS * MOVED)[0] for keyframe in self.keyframes]

    def _match(self, frame: Tensor, position: float) -> Tensor:
        number = int(position)
        if position == number or not self.says[number]:
            return frame
        cells = _on_grid(frame[None])
        if position not in self._known:
            self._known[position] = self._wanted(cells, number, position - number)
        wanted = _Wanted(*(values.to(frame) for values in self._known[position]))
        correction = _agreed(cells, wanted)
        fine = resized(frame[None], [FINE * length for length in cells.picture.shape[-2:]])
        change = upsample(_spread(correction, cells, fine), fine, frame[None])[0]
        return (frame + change).clamp(0, 1)

    def _wanted(self, cells: _Cells, number: int, t: float) -> _Wanted:
        """What cells of a frame at `t` in a gap should look like."""
        gap, like = self.gaps[number], cells.picture
        keyframes = self._small[number : number + 2]
        moved = [gap.move(one.to(like), end, t) for end, one in enumerate(keyframes)]
        mixed = resized(moved[0].lerp(moved[1], t)[None], like.shape[-2:])
        return _Wanted(as_rows(mixed)[0], _reliability(cells.places, gap, t))


def _says_colours(gap: Correspondence) -> bool:
    places = cell_centres(CELLS, CELLS, gap.aspect, gap.first)
    return bool(_reliability(places, gap, 0.5).mean() >= COVERED)


def _reliability(places: Tensor, gap: Correspondence, t: float) -> Tensor:
    """How well the map knows what is at places `(cells,)`, 0 to 1: by its points nearby."""
    near = alike(places / RELIABLE, gap.at(t).to(places) / RELIABLE)
    return (near @ gap.weights.to(places)).clamp(max=1)


def _on_grid(frame: Tensor) -> _Cells:
    picture = reduced(frame, CELLS)
    aspect = frame.shape[-1] / frame.shape[-2]
    places = cell_centres(*picture.shape[-2:], aspect, frame)
    return _Cells(picture, as_rows(picture)[0], places, aspect)


def _agreed(cells: _Cells, wanted: _Wanted) -> Tensor:
    """The corrections `(cells, 3)` on which regions agree, of those that cells want."""
    asked = wanted.colours - cells.colours
    features = torch.cat([cells.places / REACH, cells.colours / LIKENESS], 1)
    region = alike(features, features)
    votes, scaled = region * wanted.reliable, asked / CHANGE
    support = (votes * alike(scaled, scaled)).sum(1) / votes.sum(1).clamp_min(1e-9)
    # begin with the corrections that have the most support
    weights = votes * support.square()
    correction = weighted_mean(weights, asked)
    for _ in range(ROUNDS):
        weights = votes * alike(correction / CHANGE, scaled)
        correction = weighted_mean(weights, asked)
    agree = votes * alike(correction / CHANGE, scaled)
    fraction = agree.sum(1, keepdim=True) / region.sum(1, keepdim=True)
    low, high = DOUBT
    correction = correction * ((fraction - low) / (high - low)).clamp(0, 1)
    return certain(correction, votes, asked, SURE)


def _spread(correction: Tensor, cells: _Cells, fine: Tensor) -> Tensor:
    """Corrections `(cells, 3)` on a `fine` grid `(1, 3, ...)`: those of like cells nearby."""
    rows, columns = cells.picture.shape[-2:]
    places = cell_centres(*fine.shape[-2:], cells.aspect, fine)
    asking = F.pixel_unshuffle(_features(as_grid(places, fine.shape[-2:]), fine), FINE)
    asking = asking.view(-1, FINE**2, rows * columns).permute(2, 1, 0)
    features = _features(as_grid(cells.places, (rows, columns)), cells.picture)
    # a zero in the last channel tells what is outside the picture
    inside = torch.ones_like(features[:, :1])
    known = torch.cat([features, as_grid(correction, (rows, columns)), inside], 1)
    around = F.unfold(known, 2 * WINDOW + 1, padding=WINDOW)
    around = around.view(known.shape[1], -1, rows * columns).permute(2, 1, 0)
    near, corrections, there = around.split([5, 3, 1], -1)
    weights = alike(asking, near) * there.transpose(1, 2)
    spread = weights @ corrections / (weights.sum(-1, keepdim=True) + NOTHING_ALIKE)
    return F.pixel_shuffle(spread.permute(2, 1, 0).reshape(1, -1, rows, columns), FINE)


def _features(places: Tensor, picture: Tensor) -> Tensor:
    """Places and colours `(1, 5, rows, columns)`, each in its standard deviations."""
    return torch.cat([places / SPREAD, picture / LIKENESS], 1)
