"""The embedded demo: a world of drawn puppets and a small Stable Diffusion trained on it."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import torch
    from typing_extensions import Unpack

    from ..diffusers_model import DiffusersModel, Options
    from ..rerank import ClipPair
    from .networks import Reader


def weights_folder() -> Path:
    """A diffusers pipeline folder, with `controlnet/`, `clip/` and `reader.safetensors` added."""
    return Path(__file__).parent / "weights"


def load_model(controlnet: bool = True, **options: Unpack[Options]) -> DiffusersModel:
    """The demo's Stable Diffusion; options are those of `DiffusersModel`."""
    from ..diffusers_model import DiffusersModel

    folder = weights_folder()
    return DiffusersModel.from_folder(
        folder, folder / "controlnet" if controlnet else None, **options
    )


def reranker(device: torch.device | str = "cpu") -> ClipPair:
    """The CLIP pair whose text tower conditions the demo model."""
    from ..rerank import transformers_pair

    return transformers_pair(weights_folder() / "clip", device, weights_folder() / "tokenizer")


def load_reader(device: torch.device | str = "cpu") -> Reader:
    """The network that reads a puppet's numbers off a picture."""
    from safetensors.torch import load_file

    from .networks import Reader

    reader = Reader()
    reader.load_state_dict(load_file(weights_folder() / "reader.safetensors"))
    return reader.float().to(device).eval().requires_grad_(False)
