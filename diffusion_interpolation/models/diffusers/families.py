"""Which class runs the model in a folder of diffusers' layout."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from .files import has_unet, model_folder, pipeline_name
from .flow import DiffusersFlow
from .model import DiffusersModel

if TYPE_CHECKING:
    from typing_extensions import Unpack

    from .parts import Options

FAMILIES = {
    "StableDiffusionPipeline": DiffusersModel,
    "StableDiffusionXLPipeline": DiffusersModel,
    "Lumina2Pipeline": DiffusersFlow,
}
"""By the name of the pipeline."""


def load_model(
    path: str | Path,
    controlnet: str | Path | None = None,
    allow_download: bool = False,
    **options: Unpack[Options],
) -> DiffusersModel:
    """The model of any family in a folder of diffusers' layout, or of that id on the hub.

    Everything else is as in `DiffusersModel.from_folder`. Raises `ValueError` for a family that is
    not supported.
    """
    folder = model_folder(path, allow_download)
    name = pipeline_name(folder)
    # Stable Diffusion has many pipelines, all of the same parts
    family = FAMILIES.get(name, DiffusersModel if has_unet(folder) else None)
    if family is None:
        raise ValueError(f"model: {path} is a {name}, needs one of {', '.join(FAMILIES)}")
    return family.from_folder(folder, controlnet, allow_download, **options)
