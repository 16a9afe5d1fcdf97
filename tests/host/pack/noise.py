"""How much noise there is in latents, by the host alone."""

from __future__ import annotations

from typing import Any

import torch
from comfy_api.latest import io


class TestNoise(io.ComfyNode):
    @classmethod
    def define_schema(cls) -> io.Schema:
        return io.Schema(
            node_id="TestNoise",
            category="interpolation tests",
            description="Three numbers at the first sigma: the factor of the latent, that of the "
            "noise, and the size of the latents that the model was trained with.",
            inputs=[io.Model.Input("model"), io.Sigmas.Input("sigmas")],
            outputs=[io.AnyType.Output()],
        )

    @classmethod
    def execute(cls, model: Any, sigmas: torch.Tensor) -> io.NodeOutput:
        sampling = model.get_model_object("model_sampling")
        one, none = torch.ones(1, 1, 1, 1), torch.zeros(1, 1, 1, 1)
        # without noise the network is given latents of size 1
        size = 1 / sampling.calculate_input(torch.tensor(1e-12), one)
        mix = sampling.noise_scaling
        parts = [mix(sigmas[0], none, one), mix(sigmas[0], one, none), size]
        return io.NodeOutput(torch.stack(parts).flatten())


class TestPercent(io.ComfyNode):
    @classmethod
    def define_schema(cls) -> io.Schema:
        return io.Schema(
            node_id="TestPercent",
            category="interpolation tests",
            description="The host's sigma at a place of the schedule, as one of SIGMAS.",
            inputs=[io.Model.Input("model"), io.Float.Input("percent")],
            outputs=[io.Sigmas.Output()],
        )

    @classmethod
    def execute(cls, model: Any, percent: float) -> io.NodeOutput:
        sampling = model.get_model_object("model_sampling")
        return io.NodeOutput(torch.tensor([sampling.percent_to_sigma(percent)]))
