"""The embedded demo: a world of drawn puppets and two small models trained on it.

One is Stable Diffusion's UNet with a ControlNet, the other Lumina 2's flow transformer; both have
the same autoencoder and text encoder.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import torch
    from typing_extensions import Unpack

    from ..models.diffusers.flow import DiffusersFlow
    from ..models.diffusers.model import DiffusersModel, Options
    from ..scoring.clip import ClipPair
    from .networks import Reader


def weights_folder() -> Path:
    """A diffusers pipeline folder, with `controlnet/`, `clip/`, `flow/` and the reader added."""
    return Path(__file__).parent / "weights"


def load_model(controlnet: bool = True, **options: Unpack[Options]) -> DiffusersModel:
    """The demo's Stable Diffusion; options are those of `DiffusersModel`."""
    from ..models.diffusers.model import DiffusersModel

    folder = weights_folder()
    return DiffusersModel.from_folder(
        folder, folder / "controlnet" if controlnet else None, **options
    )


def load_flow(student: bool = False, **options: Unpack[Options]) -> DiffusersFlow:
    """The demo's flow transformer; the `student` needs 8 steps and no guidance (cfg 1)."""
    import json

    from diffusers import AutoencoderKL, Lumina2Transformer2DModel
    from safetensors.torch import load_file
    from transformers import CLIPTextModel, CLIPTokenizer
    from transformers.utils import logging

    from ..models.diffusers.flow import DiffusersFlow
    from .lora import with_lora

    logging.disable_progress_bar()
    folder = weights_folder()
    flow = folder / "flow"
    transformer = Lumina2Transformer2DModel.from_pretrained(flow / "transformer")
    if student:
        lora = load_file(flow / "student_lora.safetensors")
        transformer.load_state_dict(with_lora(transformer.state_dict(), lora))
    return DiffusersFlow(
        AutoencoderKL.from_pretrained(folder / "vae"),
        transformer,
        json.loads((flow / "scheduler" / "scheduler_config.json").read_text(encoding="utf-8")),
        CLIPTextModel.from_pretrained(folder / "text_encoder"),
        CLIPTokenizer.from_pretrained(folder / "tokenizer"),
        **options,
    )


MODELS: dict[str, Callable[..., DiffusersModel]] = {"demo": load_model, "demo-flow": load_flow}
"""The embedded models by the names that the command has for them. Options as in `load_model`."""


def load_named(name: str, **options: Unpack[Options]) -> DiffusersModel:
    """Return the embedded model `name` of `MODELS`, with its ControlNet if it has one."""
    return MODELS[name](**options)


def reranker(device: torch.device | str = "cpu") -> ClipPair:
    """The CLIP pair whose text tower conditions the demo model."""
    from ..scoring.clip import transformers_pair

    return transformers_pair(weights_folder() / "clip", device, weights_folder() / "tokenizer")


def load_reader(device: torch.device | str = "cpu") -> Reader:
    """The network that reads a puppet's numbers off a picture."""
    from safetensors.torch import load_file

    from .networks import Reader

    reader = Reader()
    reader.load_state_dict(load_file(weights_folder() / "reader.safetensors"))
    return reader.float().to(device).eval().requires_grad_(False)
