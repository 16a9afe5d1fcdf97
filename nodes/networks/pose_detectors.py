"""The detectors that PoseExtract offers: their files, and where they compute."""

from __future__ import annotations

from functools import lru_cache
from pathlib import Path

import comfy.model_management as memory
import folder_paths
from torch import Tensor

from ...diffusion_interpolation.poses.detection import Detector, Find
from ...diffusion_interpolation.poses.detectors import (
    DETECTORS,
    PUPPETS_NAME,
    WANTED,
    find_folders,
    load_detector,
)
from ...diffusion_interpolation.poses.pose import Pose
from ..common.model_files import states
from .hosted import hosted

FOLDER = "pose_detection"

folder_paths.add_model_folder_path(FOLDER, str(Path(folder_paths.models_dir) / FOLDER))


def find_with(name: str, download: bool) -> Find:
    """The detector of this name, which can be interrupted between pictures.

    Raises `ValueError` for another name, and where its files are missing and are not to be
    downloaded.
    """
    if name not in DETECTORS:
        raise ValueError(f"detector: got {name!r}, needs one of {', '.join(DETECTORS)}")
    find = load_detector(name, ()).find if name == PUPPETS_NAME else _from_files(name, download)

    def find_or_stop(picture: Tensor) -> list[Pose]:
        memory.throw_exception_if_processing_interrupted()
        return find(picture)

    return find_or_stop


def weights_state(name: str | None) -> str:
    """Return a text that changes when a file of a detector is replaced; of any detector for None.

    (The name may come by a wire, and then the host does not know it yet.)
    """
    wanted = WANTED.get(name, ()) if name is not None else sum(WANTED.values(), ())
    roots = [Path(root) for root in folder_paths.get_folder_paths(FOLDER)]
    return states(
        r / weights.folder / file for r in roots for weights in wanted for file in weights.files
    )


def _from_files(name: str, download: bool) -> Find:
    roots = [Path(root) for root in folder_paths.get_folder_paths(FOLDER)]
    return _loaded(name, find_folders(name, roots, download), weights_state(name))


@lru_cache(maxsize=1)
def _loaded(name: str, folders: tuple[Path, ...], state: str) -> Find:
    """`state`, that of the files, makes replaced ones be read again."""
    return _on_device(load_detector(name, folders))


def _on_device(detector: Detector) -> Find:
    """`detector` on the host's device, which its networks may leave between uses."""
    bring = hosted(detector.network, memory.get_torch_device(), memory.unet_offload_device())

    def find(picture: Tensor) -> list[Pose]:
        bring()
        return detector.find(picture)

    return find
