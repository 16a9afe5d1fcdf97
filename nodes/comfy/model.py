"""ComfyUI's MODEL, VAE and CONTROL_NET as the model that frames are made with."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

import comfy.samplers
from comfy.model_sampling import CONST

from ...diffusion_interpolation.models.contract import Guidance, Sampled, Schedule
from ...diffusion_interpolation.presets import Family, family_of
from .codec import ComfyCodec
from .control import PoseControl, References
from .sampler import ComfySampler
from .schedule import ComfySchedule


class ComfyModel:
    """A `LatentDiffusionModel` of what ComfyUI has loaded.

    Latents are in the scale that the network sees (`to_network`), float32.
    """

    def __init__(self, schedule: ComfySchedule, sampler: ComfySampler, codec: ComfyCodec) -> None:
        self._schedule, self.sampler, self._codec = schedule, sampler, codec

    @property
    def device(self) -> torch.device:
        return self.sampler.device

    @property
    def max_batch(self) -> int:
        return self.sampler.max_batch

    @property
    def hint_scale(self) -> int:
        return self.sampler.hint_scale

    def schedule(self, denoise: float, min_steps: int = 1) -> Schedule:
        return self._schedule.schedule(denoise, min_steps)

    def scales(self, schedule: Schedule) -> tuple[float, float]:
        return self._schedule.scales(schedule)

    def sample(self, noisy: Tensor, schedule: Schedule, guidance: Guidance) -> Sampled:
        return self.sampler.sample(noisy, schedule, guidance)

    def encode(self, pictures: Tensor) -> Tensor:
        return self._codec.encode(pictures)

    def decode(self, latents: Tensor) -> Tensor:
        return self._codec.decode(latents)


def comfy_model(
    model: Any,
    vae: Any,
    steps: int,
    *,
    sampler_name: str,
    scheduler: str,
    control_net: Any = None,
    references: References | None = None,
    rows: int = 0,
) -> ComfyModel:
    """Return a MODEL and a VAE as one model, which denoises by the host's names.

    `rows` and `references` are those of `ComfySampler`. Raises `ValueError` for a `control_net` or
    a `model` that cannot make frames.
    """
    sampler = ComfySampler(
        model,
        comfy.samplers.sampler_object(sampler_name),
        PoseControl(control_net, model, vae),
        references=references,
        rows=rows,
    )
    return ComfyModel(ComfySchedule(model, scheduler, steps), sampler, ComfyCodec(model, vae))


def find_family(model: Any) -> Family:
    """Return the family of a MODEL, as far as its class and its sampling tell."""
    config = model.model.model_config
    classes = [kind.__name__ for kind in type(config).__mro__]
    is_flow = isinstance(model.get_model_object("model_sampling"), CONST)
    return family_of(classes, is_flow, bool(config.unet_config.get("guidance_embed")))
