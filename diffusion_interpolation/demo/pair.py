"""The two puppets of the demo, as files: their pictures and their poses."""

from __future__ import annotations

import json
from pathlib import Path

import torch
from torch import Tensor

from ..files import write_whole
from ..pictures import to_png
from ..poses.format import write_poses
from . import world
from .networks import SIZE

_FIRST = {
    "x": -0.04,
    "lean": -0.08,
    "turn": -0.35,
    "right_shoulder": 0.45,
    "left_shoulder": 0.75,
    "right_elbow": -0.3,
    "left_elbow": 0.3,
    "right_hip": 0.15,
    "left_hip": 0.25,
}
_SECOND = {
    "x": 0.04,
    "lean": 0.10,
    "head_tilt": 0.1,
    "turn": 0.35,
    "size": 1.05,
    "right_shoulder": 2.5,
    "left_shoulder": 2.2,
    "right_elbow": 0.4,
    "left_elbow": 0.5,
    "right_hip": 0.5,
    "left_hip": 0.55,
    "right_knee": -0.2,
    "left_knee": -0.3,
}
# colours whose latents mix to the colours in between: red and blue would pass through green
_LOOKS = {
    "first": {
        "body": "red",
        "legs": "blue",
        "back": "pink",
        "hat": "no hat",
        "scene": "a floor",
    },
    "second": {
        "body": "yellow",
        "legs": "purple",
        "back": "blue",
        "hat": "a top hat",
        "scene": "hills",
    },
}


def pair() -> Tensor:
    """`(2, len(world.NUMBERS))`: the one lets its arms hang, the other throws them up."""
    rows = []
    for numbers, looks in zip((_FIRST, _SECOND), _LOOKS.values(), strict=True):
        row = torch.zeros(len(world.NUMBERS))
        row[world.INDEX["size"]] = 1.0
        for name, value in numbers.items():
            row[world.INDEX[name]] = value
        row[world.BODY] = torch.tensor(world.COLOURS[looks["body"]])
        row[world.LEGS] = torch.tensor(world.COLOURS[looks["legs"]])
        row[world.BACK] = torch.tensor(world.COLOURS[looks["back"]])
        row[world.SCENE] = torch.tensor(world.SCENES[looks["scene"]])
        row[world.HAT] = world.HATS[looks["hat"]]
        rows.append(row)
    return torch.stack(rows)


def write_pair(folder: Path) -> tuple[list[Path], list[Path]]:
    """Write both puppets into `folder`; returns the picture files and the pose files."""
    puppets = pair()
    folder.mkdir(parents=True, exist_ok=True)
    pictures, poses = [], []
    for name, picture, people in zip(
        _LOOKS, world.render(puppets, SIZE), world.poses(puppets, SIZE), strict=True
    ):
        pictures.append(folder / f"{name}.png")
        poses.append(folder / f"{name}.json")
        write_whole(pictures[-1], to_png(picture))
        write_whole(poses[-1], json.dumps(write_poses([people], (SIZE, SIZE))).encode())
    return pictures, poses
