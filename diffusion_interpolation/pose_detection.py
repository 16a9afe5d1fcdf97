"""Detectors: the people of a picture as OpenPose-18 poses (method, step 3)."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from .pictures import to_image
from .pose import Pose

Detector = Callable[[Tensor], list[Pose]]
"""From a picture `(3, h, w)` in 0..1 to the people in it, in its pixels."""


def detect(pictures: Tensor, detector: Detector) -> list[list[Pose]]:
    """The people of each picture of `(n, 3, h, w)`.

    Raises `ValueError` that names the pictures (from 0) without anyone.
    """
    people = [detector(picture) for picture in pictures]
    empty = [str(number) for number, persons in enumerate(people) if not persons]
    if empty:
        raise ValueError(
            f"images: no person found in picture {', '.join(empty)} (from 0), want one in each; "
            "for a stylised picture, detect on a photograph made from it"
        )
    return people


def openpose(weights: Path, device: torch.device | str = "cpu") -> Detector:
    """OpenPose's body network as controlnet-aux runs it (Cao et al. 2019).

    `weights` is body_pose_model.pth, for non-commercial use. Raises `ValueError` where it is
    missing or something else.
    """
    if not weights.is_file():
        raise ValueError(f"detector: {weights} is missing, want OpenPose's body_pose_model.pth")
    from controlnet_aux.open_pose.body import Body
    from controlnet_aux.open_pose.model import bodypose_model
    from controlnet_aux.open_pose.util import transfer

    # its own constructor would unpickle whatever the file holds
    body = Body.__new__(Body)
    body.model = bodypose_model()
    try:
        stored = torch.load(weights, map_location="cpu", weights_only=True)
        body.model.load_state_dict(transfer(body.model, stored))
    except Exception as error:
        raise ValueError(f"detector: {weights} is no body model of OpenPose ({error})") from error
    body.model.eval().to(device)

    def find(picture: Tensor) -> list[Pose]:
        pixels = np.asarray(to_image(picture))
        # the network was trained on OpenCV's order of colours
        candidate, subset = body(pixels[:, :, ::-1].copy())
        return [_openpose_person(candidate, person) for person in subset]

    return find


def _openpose_person(candidate: object, person: object) -> Pose:
    """A row of OpenPose's `subset`: for each joint, its place in `candidate` or -1."""
    points, scores = torch.zeros(18, 2), torch.zeros(18)
    for joint, index in enumerate(int(i) for i in person[:18]):
        if index >= 0:
            points[joint] = torch.tensor(candidate[index][:2], dtype=torch.float32)
            scores[joint] = float(candidate[index][2])
    return Pose(points, scores)


def puppet_reader(device: torch.device | str = "cpu") -> Detector:
    """The embedded demo's reader: one puppet a picture, and only puppets make sense to it."""
    from .demo import load_reader
    from .demo.networks import SIZE
    from .demo.world import poses

    reader = load_reader(device)

    @torch.no_grad()
    def find(picture: Tensor) -> list[Pose]:
        height, width = picture.shape[1:]
        small = F.interpolate(picture[None].to(device), (SIZE, SIZE), mode="area")
        [[pose]] = poses(reader(small).cpu(), SIZE)
        return [pose.scaled(width / SIZE, height / SIZE)]

    return find
