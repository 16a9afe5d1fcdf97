"""The node that shows the frame half-way at several values of denoise."""

from __future__ import annotations

import re
from dataclasses import replace
from typing import Any

import comfy.model_management
import comfy.utils
import torch
from comfy_api.latest import io, ui
from torch import Tensor

from ..diffusion_interpolation.charts.grid import labelled_grid
from ..diffusion_interpolation.method.bisection import Bisection
from ..diffusion_interpolation.method.guide import Guide
from ..diffusion_interpolation.method.path import Path
from ..diffusion_interpolation.options import option_of, options_of
from ..diffusion_interpolation.pictures import to_image, to_tensor
from ..diffusion_interpolation.settings import FrameSettings, SamplingSettings
from .comfy.lora import check_lora
from .comfy.model import ComfyModel, comfy_model
from .comfy.prompts import read_prompts
from .common.early import check_prompts, unasked
from .common.inputs import (
    ONLY_CUSTOM,
    found_by,
    late_prompts,
    sampler_input,
    scheduler_input,
)
from .common.keyframes import gather, keyframe_inputs
from .common.option_inputs import advanced, checked, input_of, inputs_of
from .common.presets import decide, preset_input, values_of_all
from .common.types import CATEGORY

_PRESET = (
    "Values for steps, cfg, sampler and scheduler that fit the model. fast try takes half the "
    "steps, and best half as many again, where the model needs more than 10. balanced takes what "
    "suits the family of the model. as in the paper takes 200 steps. custom takes the values in "
    "the node. After a run the inputs show what the preset has decided."
)
VALUES = "0.2, 0.3, 0.4, 0.5, 0.65, 0.8"
_NUMBER = re.compile(r"\d*\.?\d+")
_SAMPLED = [one.name for one in options_of(SamplingSettings)]


class DenoiseProbe(io.ComfyNode):
    @classmethod
    def define_schema(cls) -> io.Schema:
        positive, negative = late_prompts()
        return io.Schema(
            node_id="DenoiseProbe",
            display_name="Denoise Probe",
            category=CATEGORY,
            description="Makes the frame half-way between two pictures at several values of "
            "denoise, side by side. So you see in seconds which max_denoise suits the model and "
            "the pictures. Click on a frame, and Frame Bisector takes its denoise.",
            **found_by("denoise", "strength", "test", "compare"),
            inputs=[
                io.Model.Input("model", tooltip="The model that will draw the frames."),
                io.Vae.Input("vae", tooltip="The model's VAE."),
                positive,
                *keyframe_inputs(),
                negative,
                preset_input(_PRESET),
                io.String.Input(
                    "values",
                    default=VALUES,
                    tooltip=(
                        "The values of denoise, from 0.01 to 1, divided by commas. For each of "
                        "them the frame half-way between the first two keyframes is made, with one "
                        "candidate."
                    ),
                ),
                input_of(FrameSettings, "seed"),
                *inputs_of(SamplingSettings),
                advanced(sampler_input(ONLY_CUSTOM)),
                advanced(scheduler_input(ONLY_CUSTOM)),
            ],
            outputs=[
                io.Image.Output(
                    "grid",
                    display_name="grid",
                    tooltip="All frames in one picture, each below its value.",
                ),
                io.Image.Output(
                    "frames", display_name="frames", tooltip="The frames in the order of values."
                ),
            ],
            is_output_node=True,
        )

    @classmethod
    def check_lazy_status(
        cls,
        vae: Any,
        values: str,
        first: Tensor | None = None,
        last: Tensor | None = None,
        keyframes: Tensor | None = None,
        **given: Any,
    ) -> list[str]:
        """Ask for the prompts once the pictures, the values and the number of prompts fit."""
        if prompts := unasked(given):
            _read(values)
            count = len(gather(first, keyframes, last, vae)[0])
            pictures = {"first": first, "keyframes": keyframes, "last": last}
            check_prompts(cls.hidden, pictures, count)
        return prompts

    @classmethod
    def execute(
        cls,
        model: Any,
        vae: Any,
        positive: Any,
        values: str,
        negative: Any = None,
        first: Tensor | None = None,
        last: Tensor | None = None,
        keyframes: Tensor | None = None,
        **options: Any,
    ) -> io.NodeOutput:
        """`options` are a preset, a seed, `SamplingSettings`, `sampler_name` and `scheduler`."""
        denoises = _read(values)
        pictures, _ = gather(first, keyframes, last, vae)
        check_lora(model, len(pictures))
        decided, _ = decide(model, options, negative is not None)
        options = {**options, **decided}
        [sampling] = checked({name: options[name] for name in _SAMPLED}, SamplingSettings)
        names = {name: options[name] for name in ("sampler_name", "scheduler")}
        wrapped = comfy_model(model, vae, sampling.steps, **names)
        guide = read_prompts(positive, negative, sampling.cfg, len(pictures))
        least = {"min_steps": options["min_steps"]} if "min_steps" in options else {}
        settings = FrameSettings(seed=options["seed"], candidates=1, **least)
        frames = _half_way(wrapped, guide, pictures, settings, denoises)
        labels = [f"denoise {denoise:g}" for denoise in denoises]
        drawn = labelled_grid([to_image(one) for one in frames], labels)
        grid, shown = to_tensor([drawn]).movedim(1, -1), frames.movedim(1, -1)
        presets = values_of_all(model, negative is not None)
        told = _told(cls, grid, shown, denoises, presets)
        return io.NodeOutput(grid, shown, ui=told)


def _told(
    cls: type[io.ComfyNode],
    grid: Tensor,
    frames: Tensor,
    denoises: list[float],
    presets: dict[str, dict[str, Any]],
) -> dict[str, list[Any]]:
    """Return what the front end shows: the grid, and each frame with its denoise.

    With it go the values of all presets: who chooses a denoise goes on from those of a preset.
    """
    files = ui.PreviewImage(frames, cls=cls).as_dict()["images"]
    pairs = zip(files, denoises, strict=True)
    probe = {"frames": [{**file, "denoise": denoise} for file, denoise in pairs]}
    return {**ui.PreviewImage(grid, cls=cls).as_dict(), "probe": [{**probe, "presets": presets}]}


def _half_way(
    model: ComfyModel,
    guide: Guide,
    pictures: Tensor,
    settings: FrameSettings,
    denoises: list[float],
) -> Tensor:
    """Return the frame half-way between the first two of `pictures` at each of `denoises`.

    It is the one that Frame Bisector makes with a single candidate.
    """
    path = Path((1, *[0] * (len(pictures) - 2)))
    latents = model.encode(pictures)
    bar, made = comfy.utils.ProgressBar(len(denoises)), []
    for denoise in denoises:
        comfy.model_management.throw_exception_if_processing_interrupted()
        one = replace(settings, max_denoise=denoise, min_denoise=denoise)
        made += [frame.picture for frame in Bisection(model, path, guide, one).frames(latents)]
        bar.update(1)
    return torch.stack(made)


def _read(values: str) -> list[float]:
    """Return the numbers of a text; raises `ValueError` for what is no denoise."""
    words = [word.strip() for word in values.split(",") if word.strip()]
    one = option_of(FrameSettings, "max_denoise")
    if not words or not all(_NUMBER.fullmatch(word) for word in words):
        raise ValueError(f"values: got {values!r}, needs numbers, as in {VALUES}")
    numbers = [float(word) for word in words]
    if fault := next(filter(None, map(one.fault, numbers)), ""):
        raise ValueError(fault.replace(one.name, "values", 1))
    return numbers
