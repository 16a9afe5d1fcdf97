"""Draws puppets: shapes are signed distances in picture heights, negative inside."""

from __future__ import annotations

import math
from itertools import pairwise
from typing import NamedTuple

import torch
from torch import Tensor

from .numbers import BACK, BODY, HAT, LEGS, OUTLINE, SKIN, number
from .skeleton import HEAD, head_frame, joints, on_head

OUTLINE_WIDTH = 0.009
LIGHT = (-0.5, -0.75)  # where the light comes from
SHADE = 0.16  # how much brighter the lit side of a shape is


class Shape(NamedTuple):
    """A shape on a canvas.

    `distance` `(n, h, w)` is how far each pixel is from the shape's edge, in picture heights, and
    negative inside. `light` `(n, h, w)` is 1 where the shape faces the light and -1 where it faces
    away.
    """

    distance: Tensor
    light: Tensor


class Canvas:
    """Pictures `(n, 3, size, size)`, painted on with edges that are soft over one pixel."""

    def __init__(self, colour: Tensor, size: int) -> None:
        self.size, self.device = size, colour.device
        self.pixels = colour[:, :, None, None].expand(-1, 3, size, size).clone()
        ticks = (torch.arange(size, device=self.device) + 0.5) / size
        self.x, self.y = ticks[None, None, :], ticks[None, :, None]

    def colour(self, values: tuple[float, ...]) -> Tensor:
        return torch.tensor(values, device=self.device)[None]

    def paint(self, distance: Tensor, colour: Tensor, strength: Tensor | float = 1.0) -> None:
        """Paint `colour`, `(n or 1, 3)` or one for every pixel, at `strength` `(n, 1, 1)`."""
        cover = (0.5 - distance * self.size).clamp(0, 1) * strength
        colour = colour[:, :, None, None] if colour.dim() == 2 else colour
        self.pixels += (colour - self.pixels) * cover[:, None]

    def outlined(self, shape: Shape, colour: Tensor) -> None:
        """Paint a shape in `colour` `(n or 1, 3)`, lit from one side, with a dark edge."""
        self.paint(shape.distance - OUTLINE_WIDTH, self.colour(OUTLINE))
        lit = colour[:, :, None, None] * (1 + SHADE * shape.light[:, None])
        self.paint(shape.distance, lit)

    def capsule(self, start: Tensor, end: Tensor, radius: Tensor) -> Shape:
        """What lies within `radius` `(n, 1, 1)` of the segments from `start` to `end` `(n, 2)`."""
        way = end - start
        unit = way / way.square().sum(-1, keepdim=True).clamp_min(1e-9)
        along = self.along(start, unit).clamp(0, 1)
        return self._round(
            self.x - start[:, 0, None, None] - way[:, 0, None, None] * along,
            self.y - start[:, 1, None, None] - way[:, 1, None, None] * along,
            radius,
        )

    def disc(self, centre: Tensor, radius: Tensor) -> Shape:
        """What lies within `radius` `(n, 1, 1)` of the points `centre` `(n, 2)`."""
        x, y = self.x - centre[:, 0, None, None], self.y - centre[:, 1, None, None]
        return self._round(x, y, radius)

    def _round(self, x: Tensor, y: Tensor, radius: Tensor) -> Shape:
        light = ((x * LIGHT[0] + y * LIGHT[1]) / radius).clamp(-1, 1)
        return Shape((x * x + y * y).sqrt() - radius, light)

    def along(self, start: Tensor, direction: Tensor) -> Tensor:
        """Dot product `(n, h, w)` of `direction` and the way from `start` `(n, 2)` to a pixel."""
        x, y = direction[:, 0, None, None], direction[:, 1, None, None]
        return (self.x * x + self.y * y) - (start * direction).sum(1)[:, None, None]


def render(puppets: Tensor, size: int = 128) -> Tensor:
    """Pictures `(n, 3, size, size)` in 0..1 of puppets `(n, len(NUMBERS))`, on their device."""
    canvas, at = Canvas(puppets[:, BACK], size), joints(puppets)
    scale = number(puppets, "size")[:, None, None]
    pelvis, chest = at[:, [8, 11]].mean(1), at[:, 1]
    _paint_scene(canvas, puppets)
    _paint_shadow(canvas, puppets, at)
    dark, skin = canvas.colour(OUTLINE), canvas.colour(SKIN)
    for leg in ((8, 9, 10), (11, 12, 13)):
        _paint_limb(canvas, at[:, leg], 0.030 * scale, puppets[:, LEGS], dark)
    canvas.outlined(canvas.capsule(at[:, 8], at[:, 11], 0.036 * scale), puppets[:, LEGS])
    torso = canvas.capsule(pelvis.lerp(chest, 0.22), chest.lerp(pelvis, 0.18), 0.068 * scale)
    canvas.outlined(torso, puppets[:, BODY])
    for arm in ((2, 3, 4), (5, 6, 7)):
        _paint_limb(canvas, at[:, arm], 0.026 * scale, puppets[:, BODY], skin)
    _paint_head(canvas, puppets, at, (chest - pelvis) / (chest - pelvis).norm(dim=-1, keepdim=True))
    return canvas.pixels.clamp(0, 1)


def _paint_scene(canvas: Canvas, puppets: Tensor) -> None:
    """The sky pales towards the horizon; under it lies a floor, or two rows of hills."""
    sky, white = puppets[:, BACK, None, None], 1.0
    pale = 0.35 * (canvas.y - 0.1).clamp_min(0).square()[:, None]
    canvas.pixels = sky + (white - sky) * pale.expand(-1, -1, -1, canvas.size)
    ground = number(puppets, "ground")[:, None, None]
    horizon, waves = 1.04 - 0.45 * ground, 0.16 * number(puppets, "hills")[:, None, None]
    near = 0.66 * sky + 0.05
    lit = near * (1 + 0.5 * (canvas.y - horizon).clamp(0, 0.4)[:, None])
    for colour, height, cycles, phase in (
        (sky * 0.82 + 0.03, 1.0, 1.15, 5.2),
        (lit, 0.42, 1.7, 1.9),
    ):
        turns = 2 * math.pi * cycles * canvas.x + phase
        crest = horizon - height * waves * (0.5 + 0.5 * turns.sin())
        slope = height * waves * math.pi * cycles * turns.cos()
        canvas.paint((crest - canvas.y) / (1 + slope.square()).sqrt(), colour)


def _paint_shadow(canvas: Canvas, puppets: Tensor, at: Tensor) -> None:
    """A soft shadow between the feet, where there is a ground to fall on."""
    size = number(puppets, "size")[:, None, None]
    middle = at[:, [10, 13]].mean(1)
    x = (canvas.x - middle[:, 0, None, None]) / (0.19 * size)
    y = (canvas.y - middle[:, 1, None, None] - 0.03 * size) / (0.04 * size)
    depth = (1 - x * x - y * y).clamp_min(0) * (2 * number(puppets, "ground")).clamp(0, 1)[
        :, None, None
    ]
    canvas.pixels = canvas.pixels * (1 - 0.35 * depth[:, None])


def _paint_limb(canvas: Canvas, at: Tensor, radius: Tensor, colour: Tensor, tip: Tensor) -> None:
    """Two segments between the three joints `(n, 3, 2)` and a round end."""
    upper = canvas.capsule(at[:, 0], at[:, 1], radius)
    lower = canvas.capsule(at[:, 1], at[:, 2], radius)
    nearer = lower.distance < upper.distance
    light = torch.where(nearer, lower.light, upper.light)
    canvas.outlined(Shape(torch.minimum(upper.distance, lower.distance), light), colour)
    canvas.outlined(canvas.disc(at[:, 2], 1.15 * radius), tip)


def _paint_head(canvas: Canvas, puppets: Tensor, at: Tensor, up: Tensor) -> None:
    scale = number(puppets, "size")[:, None, None]
    centre, side, top = head_frame(puppets, at[:, 1], up)
    dark, skin = canvas.colour(OUTLINE), canvas.colour(SKIN)
    for ear in (16, 17):
        canvas.outlined(canvas.disc(at[:, ear], 0.022 * scale), skin)
    head = canvas.disc(centre, HEAD * scale)
    canvas.outlined(head, skin)
    for eye in (14, 15):
        distance = canvas.disc(at[:, eye], 0.018 * scale).distance
        canvas.paint(torch.maximum(distance, head.distance), dark)
    canvas.paint(canvas.disc(at[:, 0], 0.013 * scale).distance, 0.84 * skin)
    smile = ((-0.36, -0.043), (-0.13, -0.054), (0.13, -0.054), (0.36, -0.043))
    mouth = [on_head(puppets, at[:, 1], up, angle, height) for angle, height in smile]
    for start, end in pairwise(mouth):
        line = canvas.capsule(start, end, 0.006 * scale).distance
        canvas.paint(torch.maximum(line, head.distance), dark)
    _paint_hat(canvas, puppets, centre, side, top)


def _paint_hat(canvas: Canvas, puppets: Tensor, head: Tensor, side: Tensor, up: Tensor) -> None:
    """A brim and a crown; both grow out of nothing as the hat number leaves 0."""
    hat, size = puppets[:, HAT], number(puppets, "size")
    presence, dark = (6 * hat).clamp(0, 1), canvas.colour(OUTLINE)
    strength, thickness = presence[:, None, None], torch.full_like(hat, 0.013)[:, None, None]
    base = head + up * (0.068 * size)[:, None]
    half = side * (0.110 * size * presence)[:, None]
    brim = canvas.capsule(base - half, base + half, thickness)
    canvas.paint(brim.distance, dark, strength)
    middle = base + up * (0.075 * size * hat)[:, None]
    across = canvas.along(middle, side).abs() - (0.070 * size * presence)[:, None, None]
    along = canvas.along(middle, up).abs() - (0.075 * size * hat)[:, None, None]
    canvas.paint(torch.maximum(across, along), dark, strength)
