"""A VAE for large pictures that cost little."""

from __future__ import annotations

import copy
from typing import Any

import torch
from comfy_api.latest import io

_CATEGORY = "interpolation tests"


class TestCoarseVAE(io.ComfyNode):
    @classmethod
    def define_schema(cls) -> io.Schema:
        return io.Schema(
            node_id="TestCoarseVAE",
            category=_CATEGORY,
            description="A VAE whose pictures have `factor` times the width and the height, and "
            "cost no more.",
            inputs=[io.Vae.Input("vae"), io.Int.Input("factor", default=8)],
            outputs=[io.Vae.Output()],
        )

    @classmethod
    def execute(cls, vae: Any, factor: int) -> io.NodeOutput:
        def decode(latents: torch.Tensor) -> torch.Tensor:
            small = vae.decode(latents)
            return small.repeat_interleave(factor, 1).repeat_interleave(factor, 2)

        coarse = copy.copy(vae)
        coarse.encode = lambda pixels: vae.encode(pixels[:, ::factor, ::factor])
        coarse.decode = decode
        return io.NodeOutput(coarse)
