"""The steps of DDIM at eta 0, with the networks of Stable Diffusion."""

from __future__ import annotations

import itertools

import torch
from torch import Tensor

from ...contract import Guidance, Sampled, Schedule
from ...prompts import stack
from ..control import DiffusersControl, no_residuals
from .network import DiffusersNetwork
from .schedule import DiffusersSchedule


class DdimSteps:
    """Steps of DDIM for one batch of latents, with a ControlNet if there is one."""

    def __init__(
        self,
        network: DiffusersNetwork,
        schedule: DiffusersSchedule,
        control: DiffusersControl | None,
    ) -> None:
        self._network, self._schedule, self._control = network, schedule, control

    def __call__(self, latents: Tensor, schedule: Schedule, guidance: Guidance) -> Sampled:
        """All steps of `schedule`, under all prompts in one forward pass.

        A step is `x' = a' x0 + s' noise`, with `(a', s')` the scales of the next point (Song et al.
        2021, eq. 12). Nothing is clipped: latents are not bounded.
        """
        network, denoised = self._network, latents
        texts = [text.repeated(len(latents)) for text in guidance.texts()]
        conditions, passes = network.conditions(stack(texts), latents), len(texts)
        residuals = self._control.residuals(guidance, passes) if self._control else no_residuals
        for timestep, lower in itertools.pairwise(schedule.points):
            rows = network.inputs(latents.repeat(passes, 1, 1, 1))
            time = torch.full((len(rows),), timestep, device=network.device)
            outputs = network(rows, time, conditions | residuals(rows, time, conditions))
            output = guidance.guided(outputs.chunk(passes))
            scales = self._schedule.scales_at(timestep)
            denoised, noise = self._schedule.read(output, latents, scales)
            signal, sigma = self._schedule.landing_scales(lower)
            latents = signal * denoised + sigma * noise
        return Sampled(latents, denoised)
