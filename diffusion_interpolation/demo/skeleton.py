"""Where the joints of puppets are."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from ..poses.pose import Pose
from .numbers import number

HEAD = 0.095  # radius of the head, and the distances of what is on it
EYES, EARS = 0.43, 1.82  # angles around the head from its front


def polar(angle: Tensor, length: Tensor | float) -> Tensor:
    """`(n, 2)` offset of `length` at `angle` from straight down, turning towards +x."""
    direction = torch.stack([angle.sin(), angle.cos()], dim=-1)
    return direction * (length[..., None] if isinstance(length, Tensor) else length)


def joints(puppets: Tensor) -> Tensor:
    """OpenPose-18 joints `(n, 18, 2)` in picture heights.

    The puppet faces us: its right is on our left.
    """
    size, lean = number(puppets, "size"), number(puppets, "lean")
    pelvis = torch.stack([0.5 + number(puppets, "x"), 0.61 + number(puppets, "y")], dim=-1)
    up, side = polar(math.pi - lean, 1.0), polar(math.pi / 2 - lean, 1.0)
    at = {"neck": pelvis + up * (0.22 * size)[:, None]}
    for name, sign in (("right", -1.0), ("left", 1.0)):
        at[f"{name}_shoulder"] = at["neck"] + side * (sign * 0.075 * size)[:, None]
        at[f"{name}_hip"] = pelvis + side * (sign * 0.048 * size)[:, None]
        for root, middle, end, first, second in (
            ("shoulder", "elbow", "wrist", 0.135, 0.125),
            ("hip", "knee", "ankle", 0.145, 0.145),
        ):
            upper = sign * number(puppets, f"{name}_{root}") - lean
            lower = upper + sign * number(puppets, f"{name}_{middle}")
            at[f"{name}_{middle}"] = at[f"{name}_{root}"] + polar(upper, first * size)
            at[f"{name}_{end}"] = at[f"{name}_{middle}"] + polar(lower, second * size)
        at[f"{name}_eye"] = on_head(puppets, at["neck"], up, sign * EYES, 0.010)
        at[f"{name}_ear"] = on_head(puppets, at["neck"], up, sign * EARS, 0.0)
    at["nose"] = on_head(puppets, at["neck"], up, 0.0, -0.020)
    sides = ("right", "left")
    order = ["nose", "neck"]
    order += [f"{name}_{part}" for name in sides for part in ("shoulder", "elbow", "wrist")]
    order += [f"{name}_{part}" for name in sides for part in ("hip", "knee", "ankle")]
    order += [f"{name}_{part}" for part in ("eye", "ear") for name in sides]
    return torch.stack([at[name] for name in order], dim=1)


def head_frame(puppets: Tensor, neck: Tensor, up: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Centre of the head and the directions of its side and its top, each `(n, 2)`."""
    tilt = number(puppets, "lean") + number(puppets, "head_tilt")
    centre = neck + up * (0.112 * number(puppets, "size"))[:, None]
    return centre, polar(math.pi / 2 - tilt, 1.0), polar(math.pi - tilt, 1.0)


def on_head(puppets: Tensor, neck: Tensor, up: Tensor, angle: float, height: float) -> Tensor:
    """Places `(n, 2)` at `angle` around the turned head and `height` above its middle."""
    centre, side, top = head_frame(puppets, neck, up)
    size = number(puppets, "size")
    across = HEAD * size * (number(puppets, "turn") + angle).sin()
    return centre + side * across[:, None] + top * (height * size)[:, None]


def poses(puppets: Tensor, size: int) -> list[list[Pose]]:
    """One person a picture, in pixels of a `size` x `size` picture."""
    points = joints(puppets).float() * size
    return [[Pose(points=at, scores=torch.ones(18, device=at.device))] for at in points]
