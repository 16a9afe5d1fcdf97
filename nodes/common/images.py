"""Pictures as the host's nodes pass them on, for the library."""

from __future__ import annotations

import torch
from torch import Tensor

from ...diffusion_interpolation.finite import check_finite

OTHER_VAE = (
    "start ComfyUI with --fp32-vae or --bf16-vae, or load another VAE file, such as SDXL's fp16 fix"
)
"""What to do where a VAE gives NaN."""


def to_rgb(name: str, images: Tensor) -> Tensor:
    """Return the RGB pictures `(n, 3, h, w)` of an IMAGE `(n, h, w, c)`, the input `name`.

    One channel is grey, two are grey with alpha, three RGB, four RGB with alpha. What has alpha is
    put on white. Raises `ValueError` for anything else, and for NaN or infinity.
    """
    channels = images.shape[-1]
    if images.ndim != 4 or not 1 <= channels <= 4:
        raise ValueError(
            f"{name}: got {tuple(images.shape)}, needs an IMAGE (count, height, width, channels) "
            "of "
            "1 to 4 channels: grey or RGB, with or without alpha"
        )
    check_finite(name, images, f"if a VAE made them, {OTHER_VAE}")
    colours = images[..., :3] if channels >= 3 else images[..., :1].expand(-1, -1, -1, 3)
    colours = colours.float()
    if channels in (2, 4):
        colours = torch.lerp(
            torch.ones_like(colours), colours, images[..., -1:].float().clamp(0, 1)
        )
    return colours.movedim(-1, 1)
