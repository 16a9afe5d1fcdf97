"""The node that denoises what NoisyLatentLerp mixed, under conditioning mixed alike."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import torch
from comfy_api.latest import io
from torch import Tensor

from ..diffusion_interpolation.method.noise import row_seed
from ..diffusion_interpolation.settings import FrameSettings, PoseSettings, SamplingSettings
from .comfy.codec import carry_noisy, check_channels, take_noisy
from .comfy.control import PoseControl
from .comfy.prompts import PoseOptions, read_prompts
from .comfy.sampler import ComfySampler
from .comfy.schedule import as_schedule
from .common.inputs import (
    check_latents,
    negative_input,
    pose_inputs,
    position_input,
    positive_input,
)
from .common.option_inputs import checked, input_of, inputs_of
from .common.types import CATEGORY
from .preview.progress import Progress


class ConditionedDenoise(io.ComfyNode):
    @classmethod
    def define_schema(cls) -> io.Schema:
        return io.Schema(
            node_id="ConditionedDenoise",
            display_name="Conditioned Denoise",
            category=CATEGORY,
            description="Denoises a noisy latent with the prompts and poses of a position between "
            "keyframes. All candidates go through the model together.",
            inputs=[
                io.Model.Input("model", tooltip="The model that draws the picture."),
                io.Latent.Input(
                    "noisy_latent",
                    tooltip="The mix from Noisy Latent Lerp. With a noise mask, only the part that "
                    "the mask covers is denoised, and the rest keeps its noise.",
                ),
                io.Sigmas.Input(
                    "sigmas", tooltip="The rest of the schedule, from Noisy Latent Lerp."
                ),
                io.Sampler.Input(
                    "sampler",
                    tooltip="The sampler, from KSampler Select. euler is the paper's choice.",
                ),
                positive_input(),
                input_of(SamplingSettings, "cfg"),
                position_input("The position of Noisy Latent Lerp, for its prompts and poses."),
                input_of(
                    FrameSettings,
                    "seed",
                    new_each_run=False,
                    help="Only samplers that add noise in their steps, such as euler_ancestral, "
                    "use it: with them, another seed gives other details. The noise at the start "
                    "comes from Noisy Latent Lerp.",
                ),
                negative_input(),
                *pose_inputs(),
                io.Vae.Input(
                    "vae",
                    optional=True,
                    tooltip="The model's VAE. Only a ControlNet that works on latents needs it, "
                    "such as one for SD3 or Flux.",
                ),
                *inputs_of(PoseSettings),
            ],
            outputs=_outputs(),
        )

    @classmethod
    def execute(
        cls,
        model: Any,
        noisy_latent: dict[str, Any],
        sigmas: Tensor,
        sampler: Any,
        positive: Any,
        cfg: float,
        position: float,
        seed: int,
        negative: Any = None,
        control_net: Any = None,
        poses: Any = None,
        vae: Any = None,
        **options: Any,
    ) -> io.NodeOutput:
        """`options` are those of `PoseSettings`."""
        check_channels("noisy_latent", noisy_latent["samples"], model)
        check_latents("noisy_latent", noisy_latent["samples"])
        if len(sigmas) < 2 or not sigmas.any():
            # there is no step to take, as where a schedule was split at its end
            return io.NodeOutput(noisy_latent)
        _check_start(model, sigmas[0])
        [posing] = checked(options, PoseSettings)
        size = _picture_size(model, noisy_latent["samples"])
        pose = PoseOptions(control_net, poses, posing, size)
        guide = read_prompts(positive, negative, cfg, None, pose)
        noisy = take_noisy(model, noisy_latent["samples"], sigmas[0])
        progress = Progress(model, len(noisy) * (len(sigmas) - 1))
        denoiser = ComfySampler(
            model,
            sampler,
            PoseControl(control_net, model, vae),
            mask=noisy_latent.get("noise_mask"),
            on_step=progress.step,
        )
        guidance = guide.at([position] * len(noisy), denoiser, tuple(noisy.shape[2:]))
        seeds = [row_seed(seed, position, candidate) for candidate in range(len(noisy))]
        sampled = denoiser.sample(noisy, as_schedule(sigmas), replace(guidance, seeds=seeds))
        _check_finite(sampled.latents)
        # sigmas that do not fall to 0 leave noise for another node
        carried = carry_noisy(model, sampled.latents, sigmas[-1])
        return io.NodeOutput({**noisy_latent, "samples": carried})


def _outputs() -> list[io.Output]:
    return [
        io.Latent.Output(
            "latent",
            display_name="latent",
            tooltip="The denoised latents, one for each candidate.",
        )
    ]


def _check_start(model: Any, sigma: Tensor) -> None:
    """Raise `ValueError` for a sigma at which nothing is left of what should be denoised."""
    latent = torch.ones(1, 1, 1, 1)
    sampling = model.get_model_object("model_sampling")
    # nor is NaN above 0
    if not sampling.noise_scaling(sigma.cpu(), torch.zeros_like(latent), latent).item() > 0:
        raise ValueError(
            f"sigmas: got {sigma.item():g} as the first, where this model keeps nothing of "
            "noisy_latent, needs a lower one, such as the sigmas of Noisy Latent Lerp begin with"
        )


def _check_finite(latents: Tensor) -> None:
    if not latents.isfinite().all():
        raise FloatingPointError(
            "model: it gave numbers that are not finite, needs finite ones; "
            "try another precision, or a lower cfg"
        )


def _picture_size(model: Any, latents: Tensor) -> tuple[int, int]:
    """Height and width of the picture that `latents` are of."""
    pixels = getattr(model.get_model_object("latent_format"), "spacial_downscale_ratio", 8)
    height, width = latents.shape[-2:]
    return height * pixels, width * pixels
