"""The detectors by name: the files that each needs, and how it is loaded from them."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import torch

from .. import extras
from .detection import Detector, openpose, puppet_reader, vitpose
from .weights import OPENPOSE, RTDETR, VITPOSE, Weights, find_weights

OPENPOSE_NAME, VITPOSE_NAME, PUPPETS_NAME = "OpenPose", "ViTPose", "puppets of the demo"
DETECTORS = (VITPOSE_NAME, OPENPOSE_NAME, PUPPETS_NAME)
WANTED: dict[str, tuple[Weights, ...]] = {
    VITPOSE_NAME: (VITPOSE, RTDETR),
    OPENPOSE_NAME: (OPENPOSE,),
    PUPPETS_NAME: (),
}


def find_folders(name: str, roots: Sequence[Path], download: bool = False) -> tuple[Path, ...]:
    """Return the folders of a detector's files below `roots` (`find_weights`).

    Raises `ValueError` where files are missing and are not to be downloaded, and where a package is
    missing, which is said before anything is downloaded in vain.
    """
    if name == OPENPOSE_NAME:
        extras.require("detector", extras.OPENPOSE)
    return tuple(find_weights(weights, roots, download) for weights in WANTED[name])


def load_detector(
    name: str, folders: Sequence[Path], device: torch.device | str = "cpu"
) -> Detector:
    """Return the detector of a name in `DETECTORS` from its `find_folders`."""
    if name == PUPPETS_NAME:
        return puppet_reader(device)
    if name == OPENPOSE_NAME:
        return openpose(folders[0] / OPENPOSE.files[0], device)
    return vitpose(*folders, device)
