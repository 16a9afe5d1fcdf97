"""The node that learns the conditioning that gives the keyframes back (method, step 2)."""

from __future__ import annotations

import logging
from dataclasses import replace
from typing import Any

import torch
from comfy_api.latest import io, ui
from comfy_execution.graph_utils import ExecutionBlocker
from torch import Tensor

from ..diffusion_interpolation.method.guide import Guide
from ..diffusion_interpolation.method.learning.inversion import Inversion, invert
from ..diffusion_interpolation.models.prompts import PromptEmbeddings, Prompts
from ..diffusion_interpolation.settings import InversionSettings
from .comfy.codec import check_channels
from .comfy.conditioning import check_single, differences, joined, write_conditioning
from .comfy.learning.gradients import LearningModel
from .comfy.learning.progress import LossProgress, loss_curve
from .comfy.prompts import read_prompts
from .common.inputs import negative_input, positive_input
from .common.keyframes import read_keyframes
from .common.option_inputs import checked, inputs_of
from .common.types import CATEGORY, INVERSION_KEY

log = logging.getLogger(__name__)

LOSS = "loss on fixed noise"


class TextualInvert(io.ComfyNode):
    @classmethod
    def define_schema(cls) -> io.Schema:
        return io.Schema(
            node_id="TextualInvert",
            display_name="Textual Invert",
            category=CATEGORY,
            description="Learns a prompt for each keyframe, and one negative prompt for all "
            "keyframes, with which the model draws these pictures again. The frames between the "
            "keyframes then keep more of both. The model itself is not changed.",
            inputs=[
                io.Model.Input("model", tooltip="The model that will draw the frames."),
                io.Vae.Input("vae", tooltip="The model's VAE."),
                io.Image.Input(
                    "keyframes",
                    tooltip="The pictures to learn from, in order, as one batch of at least 2.",
                ),
                positive_input(),
                negative_input(),
                *inputs_of(InversionSettings),
            ],
            outputs=[
                io.Conditioning.Output(
                    "learned_positive",
                    display_name="positive",
                    tooltip="The learned prompts, one for each keyframe.",
                ),
                io.Conditioning.Output(
                    "learned_negative",
                    display_name="negative",
                    tooltip="The learned negative prompt, if the input negative is connected.",
                ),
                io.Image.Output(
                    "loss_curve",
                    display_name="loss_curve",
                    tooltip="A plot of the loss. It falls while the model comes closer to the "
                    "keyframes.",
                ),
            ],
        )

    @classmethod
    def execute(
        cls,
        model: Any,
        vae: Any,
        keyframes: Tensor,
        positive: Any,
        negative: Any = None,
        **options: Any,
    ) -> io.NodeOutput:
        """`options` are those of `InversionSettings`."""
        pictures = read_keyframes(keyframes, vae)
        [settings] = checked(options, InversionSettings)
        guide = read_prompts(positive, negative, settings.cfg, len(pictures))
        for part in guide.positive.parts:
            check_single("positive", part.extras)
        if any("hooks" in part.extras for part in guide.positive.parts):
            log.warning("TextualInvert: positive's scheduled LoRAs are left out of the learning")
        wrapped = LearningModel.of(model, vae)
        latents = wrapped.encode(pictures)
        check_channels("vae", latents, model)
        learned = _invert(wrapped, latents, pictures, guide, settings)
        facts = {INVERSION_KEY: {"cfg": settings.cfg, "losses": learned.losses}}
        away = ExecutionBlocker("TextualInvert has no negative to give: connect its input negative")
        if negative is not None:
            away = write_conditioning(learned.negative)
        towards = learned.positive.map_extras(lambda held: held | facts)
        curve = loss_curve(learned.losses, LOSS)
        return io.NodeOutput(
            write_conditioning(joined(towards.parts)),
            away,
            curve,
            ui=ui.PreviewImage(curve, cls=cls),
        )


def _invert(
    model: LearningModel,
    latents: Tensor,
    pictures: Tensor,
    guide: Guide,
    settings: InversionSettings,
) -> Inversion:
    progress = LossProgress(settings.steps, settings.evaluate_every, LOSS)
    if not settings.steps:
        return invert(model, pictures, guide.positive, guide.negative, settings)
    with model.gradients(latents.shape, 1 if settings.cfg == 1 else 2):
        # what comes in was made under inference_mode, which autograd cannot save
        positive, negative = guide.positive.map(torch.clone), guide.negative.map(torch.clone)
        learned = invert(
            model,
            pictures.clone(),
            positive,
            _sharing(negative, positive),
            settings,
            progress.step,
            latents.clone(),
            model.rows_that_fit,
        )
    return replace(learned, negative=replace(learned.negative, extras=guide.negative.extras))


def _sharing(negative: PromptEmbeddings, positive: Prompts) -> PromptEmbeddings:
    """`negative` with the extras of `positive`, if learning sees the same in both.

    Then both halves of guidance can go in one batch.
    """
    extras = positive.parts[0].extras
    same = not differences(_learned_with(extras), _learned_with(negative.extras))
    return replace(negative, extras=extras) if same else negative


def _learned_with(extras: dict[str, Any]) -> dict[str, Any]:
    """What of a conditioning learning uses: all but its ControlNet."""
    return {key: value for key, value in extras.items() if not key.startswith("control")}
