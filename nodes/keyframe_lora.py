"""The node that learns a LoRA for each keyframe, and mixes them by the position of a frame."""

from __future__ import annotations

from typing import Any

import torch
from comfy_api.latest import io, ui
from torch import Tensor

from ..diffusion_interpolation.lora_settings import LoraSettings
from ..diffusion_interpolation.method.learning.identity import learn_lora
from ..diffusion_interpolation.models import lora as loras
from ..diffusion_interpolation.models.prompts import Prompts
from .comfy.codec import check_channels
from .comfy.conditioning import check_single
from .comfy.learning.gradients import LearningModel
from .comfy.learning.progress import LossProgress, loss_curve
from .comfy.lora import with_lora
from .comfy.prompts import read_prompts
from .common.inputs import positive_input
from .common.keyframes import read_keyframes
from .common.option_inputs import checked, inputs_of
from .common.types import CATEGORY

LOSS = "mean loss of ten steps"


class KeyframeLora(io.ComfyNode):
    @classmethod
    def define_schema(cls) -> io.Schema:
        return io.Schema(
            node_id="KeyframeLora",
            display_name="Keyframe LoRA",
            category=CATEGORY,
            description="Learns a LoRA for each keyframe. Each frame is then drawn with the LoRAs "
            "of the two keyframes beside it, mixed by its place. The frames keep more of what the "
            "keyframes look like. Textual Invert learns prompts instead. Both can be used "
            "together.",
            inputs=[
                io.Model.Input("model", tooltip="The model that will draw the frames."),
                io.Vae.Input("vae", tooltip="The model's VAE."),
                io.Image.Input(
                    "keyframes",
                    tooltip="The pictures to learn from, in order, as one batch of at least 2. "
                    "They must be those that the frames are made between.",
                ),
                positive_input(),
                *inputs_of(LoraSettings),
            ],
            outputs=[
                io.Model.Output(
                    "learned_model",
                    display_name="model",
                    tooltip="The model with the LoRAs, for Frame Bisector, Denoise Probe or "
                    "Conditioned Denoise. With any other sampler it draws like the model that came "
                    "in.",
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
        cls, model: Any, vae: Any, keyframes: Tensor, positive: Any, **options: Any
    ) -> io.NodeOutput:
        """`options` are those of `LoraSettings`."""
        pictures = read_keyframes(keyframes, vae)
        [settings] = checked(options, LoraSettings)
        prompts = read_prompts(positive, None, 1.0, len(pictures)).positive
        for part in prompts.parts:
            check_single("positive", part.extras)
        wrapped = LearningModel.of(model, vae)
        latents = wrapped.encode(pictures)
        check_channels("vae", latents, model)
        lora, losses = _learn(wrapped, latents, prompts, settings)
        curve = loss_curve(losses, LOSS)
        return io.NodeOutput(with_lora(model, lora), curve, ui=ui.PreviewImage(curve, cls=cls))


def _learn(
    model: LearningModel, latents: Tensor, prompts: Prompts, settings: LoraSettings
) -> tuple[loras.KeyframeLora, dict[int, float]]:
    progress = LossProgress(settings.steps, settings.evaluate_every, LOSS)
    with model.gradients(latents.shape, 1):
        # what comes in was made under inference_mode, which autograd cannot save
        return learn_lora(
            model,
            model.network,
            latents.clone(),
            prompts.map(torch.clone),
            settings,
            progress.step,
            model.rows_that_fit,
        )
