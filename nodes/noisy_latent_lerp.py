"""The node that mixes two neighbouring latents under one noise (method, step 5)."""

from __future__ import annotations

import math
from typing import Any

import torch
from comfy_api.latest import io
from torch import Tensor

from ..diffusion_interpolation.method.blend import noisy_blend
from ..diffusion_interpolation.method.matching.correspondence import Correspondence
from ..diffusion_interpolation.method.noise import draw_noise
from ..diffusion_interpolation.settings import FrameSettings, SamplingSettings
from .comfy.codec import (
    HOW_TO_ENCODE,
    ComfyCodec,
    carry_noisy,
    check_channels,
    has_frames,
    to_network,
)
from .comfy.schedule import ComfySchedule, as_sigmas
from .common.inputs import check_latents, position_input, scheduler_input
from .common.option_inputs import input_of
from .common.types import CATEGORY, CorrespondenceType


class NoisyLatentLerp(io.ComfyNode):
    @classmethod
    def define_schema(cls) -> io.Schema:
        return io.Schema(
            node_id="NoisyLatentLerp",
            display_name="Noisy Latent Lerp",
            category=CATEGORY,
            description="Adds the same noise to the two keyframes next to a position and mixes "
            "them. Conditioned Denoise, or any sampler that adds no noise, then makes the picture "
            "at that position from the mix.",
            inputs=[
                io.Model.Input("model", tooltip="The model that will denoise the mix."),
                io.Latent.Input(
                    "latents", tooltip="The latents of the keyframes as one batch, from VAE Encode."
                ),
                position_input(
                    "Place on the path: 0 is the first keyframe, 0.5 is half-way to the second, 1 "
                    "is the second, and so on.",
                ),
                *_settings(),
                CorrespondenceType.Input(
                    "correspondence",
                    optional=True,
                    tooltip=(
                        "What is where in neighbouring keyframes, from Match Keyframes. With it, "
                        "the things in both keyframes are moved to where they are at this position "
                        "before the two are mixed, so that they do not fade over, and a denoise of "
                        "0.35 is enough. It needs vae."
                    ),
                ),
                io.Vae.Input(
                    "vae",
                    optional=True,
                    tooltip="The model's VAE, to move the keyframes along the correspondence.",
                ),
            ],
            outputs=_outputs(),
        )

    @classmethod
    def execute(
        cls,
        model: Any,
        latents: dict[str, Any],
        position: float,
        denoise: float,
        scheduler: str,
        steps: int,
        blend: str,
        candidates: int,
        seed: int,
        min_steps: int = FrameSettings.min_steps,
        correspondence: list[Correspondence] | None = None,
        vae: Any = None,
    ) -> io.NodeOutput:
        check_channels("latents", latents["samples"], model)
        check_latents("latents", latents["samples"])
        if "noise_mask" in latents:
            raise ValueError(
                "latents: got a noise mask, but this node puts noise everywhere; set the mask "
                "behind it, where it keeps a part of the mix from being denoised"
            )
        ends, gap, weight = _neighbours(model, latents["samples"], position)
        if correspondence is not None:
            if vae is None:
                raise ValueError("vae: got none, but a correspondence, needs the model's VAE")
            ends = _moved(ComfyCodec(model, vae), ends, correspondence, gap, weight)
        left, right = ends
        schedules = ComfySchedule(model, scheduler, steps)
        schedule = schedules.schedule(denoise, min_steps)
        noise = [draw_noise(left.shape, seed, position, n) for n in range(candidates)]
        shape = candidates, *left.shape
        noisy = noisy_blend(
            left.expand(shape),
            right.expand(shape),
            torch.stack(noise).to(left),
            weight,
            schedules.scales(schedule),
            blend,
        )
        sigmas = as_sigmas(schedule)
        # it has a number for each keyframe, not for each candidate
        kept = {key: value for key, value in latents.items() if key != "batch_index"}
        carried = {**kept, "samples": carry_noisy(model, noisy, sigmas[0])}
        return io.NodeOutput(carried, sigmas, position)


def _settings() -> list[io.Input]:
    return [
        input_of(
            FrameSettings,
            "max_denoise",
            name="denoise",
            help="How much noise the mix gets, from 0 to 1. A value means the same amount of noise "
            "in every model: as much as the denoise of KSampler gives with Stable Diffusion 1.5. "
            "Higher values let the model invent more. Under 0.25 the picture looks like a "
            "cross-fade. Above 0.65 it drifts away from the keyframes.",
        ),
        scheduler_input(),
        input_of(SamplingSettings, "steps"),
        input_of(FrameSettings, "blend", advanced=False),
        input_of(
            FrameSettings,
            "candidates",
            default=1,
            help="How many versions to make, each from other noise. CLIP Rerank chooses "
            "among them. More versions give a better choice and take longer.",
        ),
        input_of(
            FrameSettings,
            "seed",
            help="The same seed gives the same candidates. Another seed gives other candidates.",
        ),
        input_of(FrameSettings, "min_steps"),
    ]


def _outputs() -> list[io.Output]:
    return [
        io.Latent.Output(
            "noisy_latent",
            display_name="noisy_latent",
            tooltip="The noisy mixes, one for each candidate. The sampler that takes them "
            "must not add noise.",
        ),
        io.Sigmas.Output(
            "sigmas",
            display_name="sigmas",
            tooltip="The rest of the schedule, from the noise of the mix to the finished picture.",
        ),
        io.Float.Output(
            "place",
            display_name="position",
            tooltip="The same position, for the next node.",
        ),
    ]


def _moved(
    codec: ComfyCodec, ends: Tensor, gaps: list[Correspondence], gap: int, weight: float
) -> Tensor:
    """The keyframes `ends` `(2, c, h', w')` of a gap, moved as pictures to where `weight` is."""
    if gap >= len(gaps):
        raise ValueError(
            f"correspondence: got maps of {len(gaps)} gaps, needs {gap + 1} for a position of "
            f"{gap + weight:g}: Match Keyframes needs all keyframes"
        )
    if not len(gaps[gap]):
        return ends
    pictures = codec.decode(ends)
    moved = [gaps[gap].move(pictures[end], end, weight) for end in (0, 1)]
    return codec.encode(torch.stack(moved)).to(ends)


def _neighbours(model: Any, latents: Tensor, position: float) -> tuple[Tensor, int, float]:
    """Both keyframes next to `position`, the number of their gap, and the weight of the right."""
    keyframes = to_network(model, latents)
    last = len(keyframes) - 1
    if last < 1:
        raise ValueError(
            f"latents: got {len(keyframes)}, needs a batch of at least 2 keyframes"
            f"{f'; {HOW_TO_ENCODE}' * has_frames(model)}"
        )
    if position > last:
        raise ValueError(
            f"position: got {position:g}, needs 0 to {last}: there are {last + 1} keyframes"
        )
    left = min(math.floor(position), last - 1)
    return keyframes[left : left + 2], left, position - left
