"""VAEs for large pictures that cost little, and with the bits of a device that batches change."""

from __future__ import annotations

import copy
from typing import Any

import torch
from comfy_api.latest import io

from .node import node


@node(
    "TestCoarseVAE",
    [io.Vae.Input("vae"), io.Int.Input("factor", default=8)],
    io.Vae.Output(),
)
def coarse_vae(vae: Any, factor: int) -> Any:
    """A VAE whose pictures have `factor` times the width and the height, and cost no more."""

    def decode(latents: torch.Tensor) -> torch.Tensor:
        small = vae.decode(latents)
        return small.repeat_interleave(factor, 1).repeat_interleave(factor, 2)

    coarse = copy.copy(vae)
    coarse.encode = lambda pixels: vae.encode(pixels[:, ::factor, ::factor])
    coarse.decode = decode
    return coarse


@node("TestBatchVAE", [io.Vae.Input("vae")], io.Vae.Output())
def batch_vae(vae: Any) -> Any:
    """A VAE whose last bits depend on the size of the batch, as on some devices."""
    other = copy.copy(vae)
    other.encode = lambda pixels: vae.encode(pixels) + 1e-5 * len(pixels)
    return other
