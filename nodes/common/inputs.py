"""Inputs that several nodes share: their schema, and how they are read and checked."""

from __future__ import annotations

from typing import Any

import comfy.samplers
from comfy_api.latest import io
from torch import Tensor

from ...diffusion_interpolation.finite import check_finite
from .images import OTHER_VAE
from .types import PoseKeypoint


def found_by(*words: str) -> dict[str, Any]:
    """Return the argument of a schema that lets a node be found by these words, where there is one.

    Older hosts have none.
    """
    known = "search_aliases" in io.Schema.__dataclass_fields__
    return {"search_aliases": list(words)} if known else {}


def position_input(tooltip: str) -> io.Float.Input:
    """A place on the path, in keyframes."""
    return io.Float.Input(
        "position",
        default=0.5,
        min=0.0,
        max=10000.0,
        step=0.01,
        round=0.000001,
        tooltip=tooltip,
    )


PROMPTS = "positive", "negative"


def late_prompts() -> tuple[io.Conditioning.Input, io.Conditioning.Input]:
    """Return the inputs of the prompts for a node that asks for them once all else fits."""
    return positive_input(lazy=True), negative_input(lazy=True, more=_OF_PRESETS)


def positive_input(lazy: bool | None = None) -> io.Conditioning.Input:
    return io.Conditioning.Input(
        "positive",
        lazy=lazy,
        tooltip="The prompt. Connect one prompt that fits all keyframes, from CLIP Text Encode, or "
        "one for each keyframe, from Textual Invert or Keyframe Conditioning.",
    )


_OF_PRESETS = (
    " Where nothing is connected, presets take cfg 1 and few steps for models that have a "
    "distilled relative."
)


def negative_input(lazy: bool | None = None, more: str = "") -> io.Conditioning.Input:
    return io.Conditioning.Input(
        "negative",
        optional=True,
        lazy=lazy,
        tooltip="What the frames should not look like. Connect exactly one prompt; it is used for "
        "all frames. It is needed unless cfg is 1." + more,
    )


ONLY_CUSTOM = " Only the preset custom uses this value; the other presets set it themselves."


def sampler_input(help_of_preset: str = "") -> io.Combo.Input:
    return io.Combo.Input(
        "sampler_name",
        options=comfy.samplers.SAMPLER_NAMES,
        default="euler",
        tooltip="The sampler that removes the noise. euler is the paper's choice (DDIM)."
        + help_of_preset,
    )


def scheduler_input(help_of_preset: str = "") -> io.Combo.Input:
    """The noise schedule. Euler on `ddim_uniform` is DDIM at eta 0, the paper's sampler."""
    return io.Combo.Input(
        "scheduler",
        options=comfy.samplers.SCHEDULER_NAMES,
        default="ddim_uniform",
        tooltip="How the sampler's steps are spread between pure noise and the finished picture. "
        "ddim_uniform is the paper's choice. For flow models, such as Flux, simple is usual."
        + help_of_preset,
    )


def pose_inputs() -> list[io.Input]:
    """Return the inputs that poses come by."""
    return [
        io.ControlNet.Input(
            "control_net",
            optional=True,
            tooltip="An OpenPose ControlNet of the model's family. With it, people move from one "
            "pose to the next instead of melting. It needs the input poses.",
        ),
        PoseKeypoint.Input(
            "poses",
            optional=True,
            tooltip="A pose for every keyframe, from Pose Extract, DWPose or an OpenPose editor. "
            "It needs the input control_net.",
        ),
    ]


def check_latents(name: str, latents: Tensor) -> None:
    """Raise `ValueError` for no latents, or such that are not finite, whatever made them."""
    # newer hosts put pictures and sound side by side in an object of their own
    if not isinstance(latents, Tensor):
        raise ValueError(f"{name}: got a latent of several parts, needs one of pictures alone")
    if not len(latents):
        raise ValueError(f"{name}: got an empty batch, needs at least 1 latent")
    check_finite(name, latents, f"if a VAE made them, {OTHER_VAE}; if a sampler did, lower its cfg")
