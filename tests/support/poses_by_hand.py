"""Poses that tests write down."""

from __future__ import annotations

import torch

from diffusion_interpolation.poses.pose import JOINTS, Pose


def only(**joints: tuple[float, float]) -> Pose:
    """A pose that has nothing but these joints."""
    points, scores = torch.zeros(18, 2), torch.zeros(18)
    for name, point in joints.items():
        points[JOINTS.index(name)] = torch.tensor(point)
        scores[JOINTS.index(name)] = 0.9
    return Pose(points, scores)
