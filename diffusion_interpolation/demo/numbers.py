"""The numbers that describe a puppet, what each of them means, and how puppets are drawn by lot."""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import Tensor

# Angles of limbs open outward from straight down; elbows and knees add to the limb above them.
# The face turns to the puppet's left for positive angles.
POSE_RANGES: dict[str, tuple[float, float]] = {
    "x": (-0.10, 0.10),
    "y": (-0.03, 0.03),
    "size": (0.85, 1.1),
    "lean": (-0.2, 0.2),
    "head_tilt": (-0.25, 0.25),
    "turn": (-0.6, 0.6),
    "right_shoulder": (0.2, 2.9),
    "right_elbow": (-0.9, 0.9),
    "left_shoulder": (0.2, 2.9),
    "left_elbow": (-0.9, 0.9),
    "right_hip": (0.05, 0.7),
    "right_knee": (-0.45, 0.45),
    "left_hip": (0.05, 0.7),
    "left_knee": (-0.45, 0.45),
}
# `ground` lifts the horizon from below the picture; `hills` lets the ground rise in waves.
LOOKS = (
    *("body_r", "body_g", "body_b"),
    *("legs_r", "legs_g", "legs_b"),
    *("back_r", "back_g", "back_b"),
    *("hat", "ground", "hills"),
)
NUMBERS = (*POSE_RANGES, *LOOKS)
INDEX = {name: i for i, name in enumerate(NUMBERS)}
BODY = slice(INDEX["body_r"], INDEX["body_b"] + 1)
LEGS = slice(INDEX["legs_r"], INDEX["legs_b"] + 1)
BACK = slice(INDEX["back_r"], INDEX["back_b"] + 1)
HAT = INDEX["hat"]
SCENE = slice(INDEX["ground"], INDEX["hills"] + 1)

COLOURS: dict[str, tuple[float, float, float]] = {
    "red": (0.85, 0.17, 0.17),
    "orange": (0.95, 0.55, 0.13),
    "yellow": (0.97, 0.88, 0.30),
    "green": (0.22, 0.65, 0.30),
    "blue": (0.20, 0.40, 0.85),
    "purple": (0.52, 0.27, 0.70),
    "pink": (0.97, 0.63, 0.76),
    "white": (0.94, 0.94, 0.94),
}
HATS: dict[str, float] = {"no hat": 0.0, "a cap": 0.4, "a top hat": 0.9}
ARMS: dict[str, float] = {"down": 0.55, "out": math.pi / 2, "up": 2.55}
# `(ground, hills)` of each
SCENES: dict[str, tuple[float, float]] = {
    "plain": (0.0, 0.0),
    "a floor": (0.55, 0.0),
    "hills": (0.55, 0.8),
}

OUTLINE = (0.13, 0.12, 0.16)
SKIN = (0.96, 0.80, 0.66)

BETWEEN = 0.2  # fraction of the looks that lie between two words


def number(puppets: Tensor, name: str) -> Tensor:
    """The column `name` `(n,)` of puppets `(n, len(NUMBERS))`."""
    return puppets[:, INDEX[name]]


class _Lots:
    """Random numbers of `count` puppets, on the device of the generator."""

    def __init__(self, count: int, generator: torch.Generator) -> None:
        self.count, self.generator, self.device = count, generator, generator.device

    def uniform(self, *shape: int) -> Tensor:
        return torch.rand(self.count, *shape, generator=self.generator, device=self.device)

    def normal(self, *shape: int) -> Tensor:
        return torch.randn(self.count, *shape, generator=self.generator, device=self.device)

    def constant(self, values: Sequence) -> Tensor:
        return torch.tensor(list(values), device=self.device)


def sample(count: int, generator: torch.Generator) -> Tensor:
    """Draw `(count, len(NUMBERS))` puppets, on the generator's device.

    Most looks lie near a word of the caption, a fifth lie in between.
    """
    lots = _Lots(count, generator)
    low, high = (lots.constant(ends) for ends in zip(*POSE_RANGES.values(), strict=True))
    poses = low + (high - low) * lots.uniform(len(POSE_RANGES))
    return torch.cat([poses, *_colours(lots, 3), _hats(lots), _scenes(lots)], dim=1)


def _colours(lots: _Lots, wanted: int) -> list[Tensor]:
    """`wanted` colours `(n, 3)` of each puppet, near different words."""
    palette = lots.constant(COLOURS.values())
    order = lots.uniform(len(palette)).argsort(dim=1)
    colours = []
    for first, second in zip(order.T[:wanted], order.T[wanted:], strict=False):
        mixed = torch.where(lots.uniform(1) < BETWEEN, lots.uniform(1), 0.0)
        colour = palette[first].lerp(palette[second], mixed) + 0.03 * lots.normal(3)
        colours.append(colour.clamp(0, 1))
    return colours


def _hats(lots: _Lots) -> Tensor:
    anchors = lots.constant(HATS.values())
    hat = anchors[(lots.uniform() * len(anchors)).long()]
    hat = (hat + 0.06 * lots.normal()) * (hat > 0)
    return torch.where(lots.uniform() < BETWEEN, lots.uniform(), hat).clamp(0, 1)[:, None]


def _scenes(lots: _Lots) -> Tensor:
    anchors = lots.constant(SCENES.values())
    order = lots.uniform(len(anchors)).argsort(dim=1)
    first, second = anchors[order[:, 0]], anchors[order[:, 1]]
    near = (first + lots.constant((0.07, 0.1)) * lots.normal(2)) * (first > 0)
    between = first.lerp(second, lots.uniform(1))
    return torch.where(lots.uniform(1) < BETWEEN, between, near).clamp(0, 1)
