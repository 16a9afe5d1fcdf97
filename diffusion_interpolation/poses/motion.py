"""The people between two keyframes: how joints move from one pose to the other (method, step 3)."""

from __future__ import annotations

import cmath
import math
from collections.abc import Sequence
from itertools import pairwise

import torch

from ..settings import MOTIONS, Motion
from .pose import JOINTS, Pose

_CHAINS = tuple(
    tuple(JOINTS.index(f"{side}_{joint}") for joint in joints)
    for side in ("right", "left")
    for joints in (("shoulder", "elbow", "wrist"), ("hip", "knee", "ankle"))
)
"""The joints of arms and legs, from the body outward."""


def pose_at(
    poses: Sequence[Sequence[Pose]], position: float, motion: Motion = "swing"
) -> list[Pose]:
    """The people at `position`, from 0 to N - 1 for the poses of N keyframes.

    - `straight`: each joint on a straight line, as in the paper. Half-way through a wide movement
      limbs are too short.
    - `swing`: the body and the head move as with `straight`. Upper arms and thighs turn about
      shoulder and hip through the smaller angle. Forearms and shins turn along with them, and by as
      much as elbow or knee bends, through the smaller angle, too. Lengths change evenly from one
      pose to the other.

    Between two keyframes a joint that only one of them has is dropped; at a keyframe its pose is
    returned whole. One keyframe serves every position.
    Raises `ValueError` for no keyframes, for a position outside, for another `motion`, and between
    two keyframes with different numbers of people.
    """
    if motion not in MOTIONS:
        raise ValueError(f"pose_motion: got {motion!r}, needs one of {', '.join(MOTIONS)}")
    if not poses:
        raise ValueError("poses: got no keyframes, needs at least one")
    if len(poses) == 1:
        return list(poses[0])
    if not 0 <= position <= len(poses) - 1:
        raise ValueError(f"position: got {position}, needs 0 to {len(poses) - 1}")
    before = math.floor(position)
    if position == before:
        return list(poses[before])
    now, then = poses[before], poses[before + 1]
    if len(now) != len(then):
        raise ValueError(
            f"poses: keyframes {before} and {before + 1} have {len(now)} and {len(then)} people, "
            "needs as many in both (see match_people)"
        )
    between = _swung if motion == "swing" else _between
    return [between(a, b, position - before) for a, b in zip(now, then, strict=True)]


def _between(a: Pose, b: Pose, share: float) -> Pose:
    both = a.present & b.present
    points = torch.where(both[:, None], a.points.lerp(b.points, share), 0.0)
    return Pose(points, torch.where(both, a.scores.lerp(b.scores, share), 0.0))


def _swung(a: Pose, b: Pose, share: float) -> Pose:
    """As `_between`, with arms and legs that turn; what has no direction goes straight."""
    pose = _between(a, b, share)
    before, after, points = (
        [complex(x, y) for x, y in points.tolist()] for points in (a.points, b.points, pose.points)
    )
    for chain in _CHAINS:
        turn = 0.0
        for inner, outer in pairwise(chain):
            bones = before[outer] - before[inner], after[outer] - after[inner]
            if not (all(bones) and pose.present[inner] and pose.present[outer]):
                turn = 0.0
                continue
            # as far as the bone before it, and by as much as the joint bends
            turn += cmath.phase(bones[1] / bones[0] * cmath.rect(1, -turn))
            length = abs(bones[0]) + share * (abs(bones[1]) - abs(bones[0]))
            direction = cmath.phase(bones[0]) + share * turn
            points[outer] = points[inner] + cmath.rect(length, direction)
    return Pose(pose.points.new_tensor([[z.real, z.imag] for z in points]), pose.scores)
