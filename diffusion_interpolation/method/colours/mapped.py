"""Colours of a frame, moved to those that its things have in both keyframes, along a map.

Both keyframes are moved to the frame along their correspondence, and mixed. Where the map is
reliable the mix has the right colours, whatever its shapes look like. Each region of the frame,
cells of like colour near each other, gets the correction on which most of its reliable cells agree.
A thing that is in one keyframe only, such as a hat, has no reliable cells and stays as it is.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor

from ..matching.correspondence import Correspondence
from ..matching.transport import cell_centres
from .cells import CELLS, LIKENESS, REACH, as_grid, as_rows, gauss, reduced
from .guided import upsample

FINE = 2
"""Times as fine is the grid to which corrections are spread along edges."""
MOVED = 4
"""Times as fine as cells are the keyframes that are moved."""
SPREAD = 0.06
"""Standard deviation, in sides, of how far a cell's correction is spread along its colour."""
CHANGE = 0.08
"""Standard deviation of corrections that agree."""
RELIABLE = 0.03
"""Standard deviation, in sides, of how far around a point of the map it is reliable."""
ROUNDS = 3
DOUBT = (0.4, 0.7)
"""Fractions of a region that agree, up to which nothing and from which all is corrected."""
COVERED = 0.15
"""Mean reliability from which a map says enough of colours; a few anchors alone say less."""
NOTHING_ALIKE = 0.3
"""Weight of no correction beside the cells that are like a place of the fine grid."""


class _Cells(NamedTuple):
    """Pictures `(1, 3, rows, columns)` on a grid, their colours `(cells, 3)` and places."""

    pictures: Tensor
    colours: Tensor
    places: Tensor


def says_colours(gap: Correspondence) -> bool:
    """Whether a map has points enough for `match_along`."""
    places = cell_centres(CELLS, CELLS, gap.aspect, gap.first)
    return bool(_reliability(places, gap, 0.5).mean() >= COVERED)


def small(keyframe: Tensor) -> Tensor:
    """Return a keyframe `(1, 3, h, w)` at the size at which `match_along` moves it."""
    return reduced(keyframe, CELLS * MOVED)


def match_along(
    frame: Tensor, keyframes: tuple[Tensor, Tensor], t: float, gap: Correspondence
) -> Tensor:
    """Return a frame at `t` between two keyframes with the colours that the map asks for.

    All pictures are `(1, 3, h, w)` in 0..1 on one device; the keyframes are those of `small`.
    """
    aspect = frame.shape[-1] / frame.shape[-2]
    cells, fine = (_on_grid(frame, CELLS * times, aspect) for times in (1, FINE))
    moved = [gap.move(keyframe[0], end, t)[None] for end, keyframe in enumerate(keyframes)]
    wanted = as_rows(reduced(moved[0].lerp(moved[1], t), CELLS))[0] - cells.colours
    correction = _agreed(cells, wanted, _reliability(cells.places, gap, t))
    alike = _alike(fine, cells, SPREAD)
    spread = alike @ correction / (alike.sum(1, keepdim=True) + NOTHING_ALIKE)
    field = upsample(as_grid(spread, fine.pictures.shape[-2:]), fine.pictures, frame)
    return (frame + field).clamp(0, 1)


def _on_grid(frame: Tensor, longest: int, aspect: float) -> _Cells:
    pictures = reduced(frame, longest)
    places = cell_centres(*pictures.shape[-2:], aspect, frame)
    return _Cells(pictures, as_rows(pictures)[0], places)


def _alike(some: _Cells, others: _Cells, reach: float) -> Tensor:
    """How much cells belong to one region `(some, others)`, 0 to 1."""
    near = gauss(torch.cdist(some.places, others.places), reach)
    return near * gauss(torch.cdist(some.colours, others.colours), LIKENESS)


def _reliability(places: Tensor, gap: Correspondence, t: float) -> Tensor:
    """How well the map knows what is at places `(cells,)`, 0 to 1: by its points nearby."""
    near = gauss(torch.cdist(places, gap.at(t).to(places)), RELIABLE)
    return (near @ gap.weights.to(places)).clamp(max=1)


def _agreed(cells: _Cells, wanted: Tensor, reliable: Tensor) -> Tensor:
    """The corrections `(cells, 3)` on which regions agree, of those that cells have `wanted`."""
    region = _alike(cells, cells, REACH)
    votes = region * reliable
    agreeing = gauss(torch.cdist(wanted, wanted), CHANGE)
    support = (votes * agreeing).sum(1) / votes.sum(1).clamp_min(1e-9)
    # begin with the corrections that have the most support
    weights = votes * support.square()
    correction = _mean(weights, wanted)
    for _ in range(ROUNDS):
        weights = votes * gauss(torch.cdist(correction, wanted), CHANGE)
        correction = _mean(weights, wanted)
    agree = votes * gauss(torch.cdist(correction, wanted), CHANGE)
    fraction = agree.sum(1, keepdim=True) / region.sum(1, keepdim=True)
    low, high = DOUBT
    return correction * ((fraction - low) / (high - low)).clamp(0, 1)


def _mean(weights: Tensor, values: Tensor) -> Tensor:
    return weights @ values / weights.sum(1, keepdim=True).clamp_min(1e-9)
