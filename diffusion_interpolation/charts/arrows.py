"""Pictures of a correspondence: arrows from where things are to where they go."""

from __future__ import annotations

import math

import torch
from PIL import Image, ImageDraw
from torch import Tensor

from ..method.matching.correspondence import Correspondence
from ..method.matching.transport import extent
from ..pictures import to_image, to_tensor

SHORTEST_SIDE = 512
"""Pixels; smaller pictures are shown larger, so that the arrows can be told apart."""
APART = 0.035
"""Sides between the starts of two arrows, at least."""
_POINT, _ANCHOR, _EDGE = (255, 170, 60), (60, 220, 255), (0, 0, 0)
_HEAD = 0.4


def draw_correspondence(first: Tensor, second: Tensor, correspondence: Correspondence) -> Tensor:
    """Both pictures `(3, h, w)`, half of each, under arrows from the first one to the second.

    Anchors, whose weight is 1, have a colour of their own. Returns `(3, h', w')` with at least
    `SHORTEST_SIDE` on the shorter side.
    """
    image = to_image(first.lerp(second, 0.5))
    grow = max(1.0, SHORTEST_SIDE / min(image.size))
    image = image.resize([round(side * grow) for side in image.size], Image.Resampling.BICUBIC)
    draw = ImageDraw.Draw(image)
    scale = torch.tensor(image.size) / torch.tensor(extent(correspondence.aspect))
    for number in _spread(correspondence):
        start, end = (at[number] * scale for at in (correspondence.first, correspondence.second))
        sure = correspondence.weights[number] == 1
        _arrow(draw, start.tolist(), end.tolist(), _ANCHOR if sure else _POINT)
    return to_tensor([image])[0]


def _spread(correspondence: Correspondence) -> list[int]:
    """Points of the highest weights first, and none near one before it, but all anchors."""
    kept: list[int] = []
    for number in correspondence.weights.argsort(descending=True).tolist():
        away = (correspondence.first[kept] - correspondence.first[number]).norm(dim=1)
        if correspondence.weights[number] == 1 or not (away < APART).any():
            kept.append(number)
    return kept


def _arrow(
    draw: ImageDraw.ImageDraw,
    start: list[float],
    end: list[float],
    colour: tuple[int, int, int],
) -> None:
    """A line with a head at its end, or a dot where it is shorter than the head."""
    away = [b - a for a, b in zip(start, end, strict=True)]
    length = math.hypot(*away)
    size = 3 if length < 8 else 9
    for ink, wider in ((_EDGE, 1), (colour, 0)):
        if length < 8:
            radius = size + wider
            draw.ellipse([*(at - radius for at in start), *(at + radius for at in start)], ink)
            continue
        draw.line([*start, *end], ink, 2 + 2 * wider)
        angle = math.atan2(away[1], away[0])
        wings = [
            (end[0] - size * math.cos(angle + turn), end[1] - size * math.sin(angle + turn))
            for turn in (_HEAD, -_HEAD)
        ]
        draw.polygon([tuple(end), *wings], ink, outline=ink)
