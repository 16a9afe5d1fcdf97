"""How much noise there is in latents, by the host alone."""

from __future__ import annotations

from typing import Any

import torch
from comfy_api.latest import io

from .node import node


@node("TestNoise", [io.Model.Input("model"), io.Sigmas.Input("sigmas")], io.AnyType.Output())
def noise(model: Any, sigmas: torch.Tensor) -> torch.Tensor:
    """Three numbers at the first sigma: the factor of the latent, that of the noise, and the size
    of the latents that the model was trained with."""
    sampling = model.get_model_object("model_sampling")
    one, none = torch.ones(1, 1, 1, 1), torch.zeros(1, 1, 1, 1)
    # without noise the network is given latents of size 1
    size = 1 / sampling.calculate_input(torch.tensor(1e-12), one)
    mix = sampling.noise_scaling
    return torch.stack([mix(sigmas[0], none, one), mix(sigmas[0], one, none), size]).flatten()


@node("TestPercent", [io.Model.Input("model"), io.Float.Input("percent")], io.Sigmas.Output())
def percent(model: Any, percent: float) -> torch.Tensor:
    """The host's sigma at a place of the schedule, as one of SIGMAS."""
    sampling = model.get_model_object("model_sampling")
    return torch.tensor([sampling.percent_to_sigma(percent)])
