"""The denoiser of Stable Diffusion 1, 2 and XL, as it is called for a batch of latents."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from ...prompts import PromptEmbeddings

if TYPE_CHECKING:
    from diffusers import UNet2DConditionModel


class DiffusersNetwork:
    """A UNet. A step of its latent grid is `scale` pixels of the picture."""

    def __init__(self, unet: UNet2DConditionModel, scale: int) -> None:
        self.unet, self._scale = unet, scale

    @property
    def device(self) -> torch.device:
        return self.unet.device

    def checkpointing(self, on: bool) -> None:
        """Whether activations are recomputed for the backward pass or kept."""
        if on:
            self.unet.enable_gradient_checkpointing()
        else:
            self.unet.disable_gradient_checkpointing()

    def __call__(self, rows: Tensor, time: Tensor, more: dict[str, Any]) -> Tensor:
        """What the network predicts of `rows`, from `inputs`, at `time`; float32."""
        return self.unet(rows, time, **more, return_dict=False)[0].float()

    def inputs(self, latents: Tensor) -> Tensor:
        """Latents in the type and the memory layout of the weights."""
        weights = self.unet.conv_in.weight
        in_order = weights.is_contiguous()
        layout = torch.contiguous_format if in_order else torch.channels_last
        return latents.to(weights.dtype, memory_format=layout)

    def conditions(self, text: PromptEmbeddings, latents: Tensor) -> dict[str, Any]:
        """What denoiser and ControlNet take in addition to latents and time.

        XL is told the size of the picture and that nothing was cropped off.
        """
        states = text.embeddings.to(self.device, self.unet.dtype)
        if not is_xl(self.unet):
            return {"encoder_hidden_states": states}
        if text.pooled is None:
            raise ValueError("text: has no pooled states, Stable Diffusion XL needs them")
        height, width = (side * self._scale for side in latents.shape[-2:])
        sizes = torch.tensor([height, width, 0, 0, height, width], device=self.device)
        added = {
            "text_embeds": text.pooled.to(self.device, self.unet.dtype),
            "time_ids": sizes.expand(len(text), -1),
        }
        return {"encoder_hidden_states": states, "added_cond_kwargs": added}


def is_xl(unet: UNet2DConditionModel) -> bool:
    """Whether a UNet is of the family of Stable Diffusion XL."""
    return unet.config.addition_embed_type == "text_time"
