"""Skeletons, the ideal output of detectors for them, and networks that nobody trained."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from torch import Tensor

from diffusion_interpolation.poses.pose import Pose

_STANDING = [
    *[(0.50, 0.12), (0.50, 0.24)],  # nose, neck
    *[(0.36, 0.24), (0.26, 0.38), (0.22, 0.52)],  # right shoulder, elbow, wrist
    *[(0.64, 0.24), (0.74, 0.38), (0.78, 0.52)],
    *[(0.42, 0.52), (0.40, 0.74), (0.38, 0.94)],  # right hip, knee, ankle
    *[(0.58, 0.52), (0.60, 0.74), (0.62, 0.94)],
    *[(0.45, 0.09), (0.55, 0.09), (0.40, 0.11), (0.60, 0.11)],  # eyes, ears
]
"""x in widths and y in heights of a person's box."""

_CONNECTIONS = [
    *[(1, 2, 12), (1, 5, 20), (2, 3, 14), (3, 4, 16), (5, 6, 22), (6, 7, 24)],
    *[(1, 8, 0), (8, 9, 2), (9, 10, 4), (1, 11, 6), (11, 12, 8), (12, 13, 10)],
    *[(1, 0, 28), (0, 14, 30), (14, 16, 34), (0, 15, 32), (15, 17, 36), (2, 16, 18), (5, 17, 26)],
]
"""Joints at the two ends, and the first of two channels of OpenPose's part affinity fields."""

_COCO_OF_18 = [0, 15, 14, 17, 16, 5, 2, 6, 3, 7, 4, 11, 8, 12, 9, 13, 10]
"""For each joint of COCO-17 the one of OpenPose-18."""


def people_of(count: int, height: int, width: int, seed: int) -> list[Pose]:
    """People side by side, from left to right, each with joints of its own; the neck half-way."""
    generator = torch.Generator().manual_seed(seed)
    share = width / count
    people = []
    for number in range(count):
        tall = height * (0.75 + 0.2 * torch.rand((), generator=generator).item())
        wide = min(share, 0.8 * tall)
        corner = torch.tensor([number * share + (share - wide) / 2, (height - tall) / 2])
        shares = torch.tensor(_STANDING)
        shares = shares + 0.02 * (torch.rand(18, 2, generator=generator) - 0.5)
        shares[1] = (shares[2] + shares[5]) / 2
        people.append(Pose(corner + shares * torch.tensor([wide, tall]), torch.ones(18)))
    return people


def openpose_maps(people: Sequence[Pose], height: int, width: int) -> Any:
    """What the body network of OpenPose would give: from its input to (fields, heat maps)."""

    def forward(pixels: Tensor) -> tuple[Tensor, Tensor]:
        stride, sigma = 8, 7.0  # pixels of its input, as it was trained
        # its input is the picture at 0.5 x 368 rows, and some padding
        scale = 0.5 * 368 / height
        factors = torch.tensor([int(width * scale) / width, int(height * scale) / height])
        rows, columns = (side // stride for side in pixels.shape[2:])
        y, x = torch.meshgrid(torch.arange(rows), torch.arange(columns), indexing="ij")
        cells = torch.stack([x, y], dim=-1) * stride + (stride - 1) / 2
        fields, heat = torch.zeros(1, 38, rows, columns), torch.zeros(1, 19, rows, columns)
        for person in people:
            points = (person.points + 0.5) * factors - 0.5
            for joint, point in enumerate(points):
                near = torch.exp(-(cells - point).square().sum(-1) / (2 * sigma**2))
                heat[0, joint] = torch.maximum(heat[0, joint], near)
            for first, last, channel in _CONNECTIONS:
                way = points[last] - points[first]
                length = way.norm().clamp_min(1e-6)
                along = ((cells - points[first]) * way / length).sum(-1)
                aside = (cells - points[first] - along[..., None] * way / length).norm(dim=-1)
                inside = (along > -stride) & (along < length + stride) & (aside < stride)
                for axis in (0, 1):
                    fields[0, channel + axis][inside] = way[axis] / length
        heat[0, 18] = 1 - heat[0, :18].amax(0)
        return fields, heat

    return forward


def untrained_openpose(folder: Path) -> Path:
    """A body_pose_model.pth of random numbers; skips a test where controlnet-aux is not there."""
    model = pytest.importorskip("controlnet_aux.open_pose.model")
    torch.manual_seed(0)
    # the published file lacks the first part of the names
    weights = {k.split(".", 1)[1]: v for k, v in model.bodypose_model().state_dict().items()}
    torch.save(weights, folder / "body_pose_model.pth")
    return folder / "body_pose_model.pth"


def rtdetr_boxes(people: Sequence[Pose], height: int, width: int, person: int) -> Any:
    """What RT-DETR would give: a box for each of the people, and one of another thing."""

    def forward(pixel_values: Tensor) -> Any:
        logits = torch.full((1, len(people) + 1, 80), -9.0)
        boxes = torch.full((1, len(people) + 1, 4), 0.5)
        logits[0, -1, person + 1] = 5.0
        for number, pose in enumerate(people):
            left, top, right, bottom = pose.box
            logits[0, number, person] = 5.0 - 0.1 * number  # the surest first
            middle = (left + right) / 2 / width, (top + bottom) / 2 / height
            boxes[0, number] = torch.tensor(
                [*middle, 1.1 * (right - left) / width, 1.1 * (bottom - top) / height]
            )
        return SimpleNamespace(logits=logits, pred_boxes=boxes)

    return forward


def vitpose_maps(people: Sequence[Pose]) -> Any:
    """What ViTPose would give for the boxes of `rtdetr_boxes`, in their order."""

    def forward(pixel_values: Tensor, **_: Any) -> Any:
        rows, columns, sigma = 64, 48, 2.0
        grid = torch.stack(
            torch.meshgrid(torch.arange(rows), torch.arange(columns), indexing="ij")[::-1], dim=-1
        )
        heat = torch.zeros(len(people), 17, rows, columns)
        for number, pose in enumerate(people):
            left, top, right, bottom = pose.box
            middle = torch.tensor([(left + right) / 2, (top + bottom) / 2])
            wide, high = 1.1 * (right - left), 1.1 * (bottom - top)
            # the box is widened to the shape of the input, and by a quarter
            high = max(high, wide / 0.75)
            size = 1.25 * torch.tensor([0.75 * high, high])
            points = (
                (pose.points - middle + size / 2) / size * torch.tensor([columns - 1, rows - 1])
            )
            for joint, source in enumerate(_COCO_OF_18):
                away = (grid - points[source]).square().sum(-1)
                heat[number, joint] = torch.exp(-away / (2 * sigma**2))
        return SimpleNamespace(heatmaps=heat)

    return forward
