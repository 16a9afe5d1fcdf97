"""The files of the pose detectors: where they are looked for, and where they can be had."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

TRANSFORMERS_FILES = ("config.json", "preprocessor_config.json", "model.safetensors")
"""Of a network that transformers has, with what prepares its pictures."""


class Weights(NamedTuple):
    """The files of one network: their folder below a folder of models, and their origin."""

    folder: str
    files: tuple[str, ...]
    repository: str
    """On the Hugging Face Hub."""
    commit: str
    """Of the repository, so that everyone gets the files that this was written for."""


OPENPOSE = Weights(
    "",
    ("body_pose_model.pth",),
    "lllyasviel/Annotators",
    "982e7edaec38759d914a963c48c4726685de7d96",
)
VITPOSE = Weights(
    "vitpose",
    TRANSFORMERS_FILES,
    "usyd-community/vitpose-base-simple",
    "a93ac0c67e0b7e2c55287d21d4c460c8f3c54d45",
)
RTDETR = Weights(
    "rtdetr",
    TRANSFORMERS_FILES,
    "PekingU/rtdetr_r50vd_coco_o365",
    "457857cec8ac28ddede40ecee9eed2beca321af8",
)


def find_weights(weights: Weights, roots: Sequence[Path], download: bool = False) -> Path:
    """The folder of the files, below the first of `roots` that has them all.

    Where none has them and `download` says so, they are downloaded below the first. Raises
    `ValueError` that names the folder and the files that are missing.
    """
    for root in roots:
        if not _missing(weights, root):
            return root / weights.folder
    folder = roots[0] / weights.folder
    missing = _missing(weights, roots[0])
    if not download:
        raise ValueError(
            f"detector: {folder} lacks {', '.join(missing)}, needs it from {weights.repository} on "
            "the Hugging Face Hub; put it there, or allow the download"
        )
    for name in missing:
        _download(weights, name, folder)
    return folder


def _missing(weights: Weights, root: Path) -> list[str]:
    return [name for name in weights.files if not (root / weights.folder / name).is_file()]


def _download(weights: Weights, name: str, folder: Path) -> None:
    from huggingface_hub import hf_hub_download

    try:
        hf_hub_download(weights.repository, name, revision=weights.commit, local_dir=folder)
    except Exception as error:
        raise ValueError(
            f"detector: {name} of {weights.repository} could not be downloaded to {folder}, needs "
            f"the file there ({error})"
        ) from error
