"""The sigmas of ComfyUI as a schedule of the contract."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

import comfy.samplers

from ...diffusion_interpolation.models.contract import Schedule
from .codec import check_flat


class ComfySchedule:
    """A sampler's whole schedule for `model`: `sigmas` `(steps + 1,)` that fall to 0.

    A `denoise` goes through the host's `model_sampling`. Raises `ValueError` for a model of
    video, and for sigmas that do not hold a step.
    """

    def __init__(self, model: Any, sigmas: Tensor) -> None:
        check_flat(model)
        self._sampling = model.get_model_object("model_sampling")
        self.sigmas = self._invertible(sigmas.cpu().float())

    def _invertible(self, sigmas: Tensor) -> Tensor:
        """Without the noisiest end of a flow model's schedule, which keeps nothing of a latent."""
        kept = [sigma for sigma in sigmas if self.scales_at(sigma)[0] > 0]
        if len(kept) < 2:
            raise ValueError(f"sigmas: got {sigmas.tolist()}, needs a schedule that falls to 0")
        return torch.stack(kept)

    def schedule(self, denoise: float) -> Schedule:
        """The sigmas from `denoise` on.

        They begin at the last one not above that of `denoise`, or at the lowest above 0. Raises
        `ValueError` for a `denoise` outside of (0, 1].
        """
        if not 0 < denoise <= 1:
            raise ValueError(f"denoise: got {denoise}, needs more than 0, and 1 at most")
        highest = float(self._sampling.percent_to_sigma(1.0 - denoise))
        # a number that went through float32 stays where it was
        above = self.sigmas > highest * (1 + 1e-5)
        return as_schedule(self.sigmas[min(int(above.sum()), len(self.sigmas) - 2) :])

    def scales(self, schedule: Schedule) -> tuple[float, float]:
        """`(a, s)` such that `a * latent + s * noise` is a latent at the first sigma."""
        return self.scales_at(as_sigmas(schedule)[0])

    def scales_at(self, sigma: Tensor) -> tuple[float, float]:
        """As `scales`, at `sigma`."""
        one, none = torch.ones(1, 1, 1, 1), torch.zeros(1, 1, 1, 1)
        mix = self._sampling.noise_scaling
        return mix(sigma, none, one).item(), mix(sigma, one, none).item()


def host_sigmas(model: Any, scheduler: str, steps: int) -> Tensor:
    """The host's sigmas `(steps + 1,)` of a scheduler, falling to 0."""
    sampling = model.get_model_object("model_sampling")
    return comfy.samplers.calculate_sigmas(sampling, scheduler, steps)


def as_schedule(sigmas: Tensor) -> Schedule:
    """The schedule of `sigmas` `(steps + 1,)`."""
    return Schedule(tuple(sigmas.tolist()))


def as_sigmas(schedule: Schedule) -> Tensor:
    """The way back of `as_schedule`."""
    return torch.tensor(schedule.points, dtype=torch.float32)
