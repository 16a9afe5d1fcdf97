"""Points that surely correspond: given by hand, or the joints of poses."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Tensor

from ...poses.pose import LIMBS, Pose
from ..path import gaps_between
from .transport import extent

ON_A_LIMB = 4
"""Points of a limb between its two joints."""
_POINT = re.compile(r"\s*(-?\d+(?:\.\d+)?)\s*,\s*(-?\d+(?:\.\d+)?)\s*")
_HIDDEN = "?"


class Anchors(NamedTuple):
    """Points `first` `(k, 2)` of a keyframe that surely lie at `second` in the next one.

    Points are (x, y) from the top left corner, in sides: 1 is the side of a square with the area of
    the picture.
    """

    first: Tensor
    second: Tensor


def none() -> Anchors:
    """No anchors."""
    return Anchors(torch.zeros(0, 2), torch.zeros(0, 2))


def joined(parts: Sequence[Anchors]) -> Anchors:
    """The anchors of all of `parts`."""
    return Anchors(*(torch.cat(points) for points in zip(none(), *parts, strict=True)))


def read_anchors(
    text: str, size: tuple[int, int], keyframes: int, loop: bool = False
) -> list[Anchors]:
    """The anchors of every gap between `keyframes` pictures of `size` (height, width) in a text.

    With `loop` there is a gap from the last keyframe to the first one, too. A line follows one
    point through the keyframes, in pixels from the top left corner: `120,80 -> 150,90`. `?` stands
    for a keyframe in which it cannot be seen, as for all after the last one. Raises `ValueError`
    for another form, and for points outside of the pictures.
    """
    lines = [(number, line) for number, line in enumerate(text.splitlines(), 1) if line.strip()]
    tracks = [_track(number, line, size, keyframes) for number, line in lines]
    tracks = [[*track, *[None] * (keyframes - len(track))] for track in tracks]
    gaps = []
    for before, after in gaps_between(keyframes, loop):
        pairs = [(track[before], track[after]) for track in tracks]
        seen = [pair for pair in pairs if None not in pair]
        points = torch.tensor(seen, dtype=torch.float32).view(-1, 2, 2)
        gaps.append(Anchors(*_in_sides(points, size).unbind(1)))
    return gaps


def _track(
    number: int, line: str, size: tuple[int, int], keyframes: int
) -> list[tuple[float, float] | None]:
    """The points of a line, None where it has none."""
    words = [word.strip() for word in line.split("->")]
    found = [_POINT.fullmatch(word) for word in words]
    if len(words) < 2 or not all(
        f or word == _HIDDEN for f, word in zip(found, words, strict=True)
    ):
        raise ValueError(
            f"anchors: line {number} is {line.strip()!r}, needs points in pixels, one for each "
            "keyframe, as in 120,80 -> 150,90"
        )
    if len(words) > keyframes:
        raise ValueError(
            f"anchors: line {number} has {len(words)} points, there are {keyframes} keyframes"
        )
    points = [None if match is None else (float(match[1]), float(match[2])) for match in found]
    for point in filter(None, points):
        if not (0 <= point[0] <= size[1] and 0 <= point[1] <= size[0]):
            raise ValueError(
                f"anchors: line {number} has a point at {point[0]:g},{point[1]:g}, outside of "
                f"pictures of {size[1]} x {size[0]} pixels"
            )
    return points


def pose_anchors(
    people: Sequence[Sequence[Pose]], size: tuple[int, int], loop: bool = False
) -> list[Anchors]:
    """The anchors of every gap between paired people, in pixels of pictures of `size`.

    `size` is (height, width). With `loop` there is a gap from the last keyframe to the first one,
    too. Anchors are the joints that a person has in both keyframes, and points on the limbs between
    them.
    """
    gaps = []
    for before, after in gaps_between(len(people), loop):
        pairs = zip(people[before], people[after], strict=True)
        moves = [_person(*pair, size) for pair in pairs]
        gaps.append(joined(moves))
    return gaps


def _person(before: Pose, after: Pose, size: tuple[int, int]) -> Anchors:
    there = (before.scores > 0) & (after.scores > 0)
    limbs = [limb for limb in LIMBS if there[list(limb)].all()]
    t = (torch.arange(ON_A_LIMB) + 1) / (ON_A_LIMB + 1)
    both = []
    for pose in (before, after):
        ends = pose.points[torch.tensor(limbs, dtype=torch.long).view(-1, 2)]
        inside = ends[:, :1].lerp(ends[:, 1:], t[:, None]).flatten(0, 1)
        both.append(_in_sides(torch.cat([pose.points[there], inside]).float(), size))
    return Anchors(*both)


def _in_sides(points: Tensor, size: tuple[int, int]) -> Tensor:
    """Points (x, y) in pixels of a picture of `size` (height, width), in sides."""
    height, width = size
    return points / points.new_tensor([width, height]) * points.new_tensor(extent(width / height))
