"""The sigmas of ComfyUI as a schedule of the contract."""

from __future__ import annotations

import math
from functools import cached_property
from typing import Any

import numpy as np
import torch
from torch import Tensor

import comfy.samplers

from ...diffusion_interpolation.models.contract import Schedule
from ...diffusion_interpolation.models.denoise import schedule_from
from .codec import check_pictures

_PURE = 1e4
"""A noise-to-signal ratio of pure noise. More would leave nothing of a flow model's latent to put
on a wire, which carries it divided by its share of signal."""

_FINE = 1000
"""Steps of a schedule between whose sigmas others are interpolated."""


class ComfySchedule:
    """The host's schedule of `steps` for `model` by a `scheduler`: `sigmas` that fall to 0.

    A `denoise` is the sigma at which the host's own `noise_scaling` gives its noise-to-signal
    ratio, in every family of models. Raises `ValueError` for a model of sound.
    """

    def __init__(self, model: Any, scheduler: str, steps: int) -> None:
        check_pictures(model)
        self._sampling = model.get_model_object("model_sampling")
        self._scheduler = scheduler
        self.sigmas = self._host_sigmas(steps)
        self.grid = self.sigmas.tolist()
        self._points: dict[float, float] = {}

    def _host_sigmas(self, steps: int) -> Tensor:
        sigmas = comfy.samplers.calculate_sigmas(self._sampling, self._scheduler, steps)
        return sigmas.cpu().float()

    def schedule(self, denoise: float, min_steps: int = 1) -> Schedule:
        """The sigmas from that of `denoise` down to 0 (`schedule_from`)."""
        return schedule_from(self, denoise, min_steps)

    def point(self, ratio: float) -> float:
        """The sigma with this noise-to-signal ratio, or the highest that the model has."""
        if ratio not in self._points:
            self._points[ratio] = self._search(min(ratio, _PURE))
        return self._points[ratio]

    def _search(self, ratio: float) -> float:
        """The lowest sigma, in float32, whose ratio is not below `ratio`, by bisection."""
        low, high = 0.0, float(self._sampling.sigma_max)
        if self._ratio(high) <= ratio:
            return high
        # more halvings than a float64 has bits
        for _ in range(64):
            middle = (low + high) / 2
            low, high = (middle, high) if self._ratio(middle) < ratio else (low, middle)
        return torch.tensor(high).item()

    def _ratio(self, sigma: float) -> float:
        """Noise over signal in a latent of the size that the model was trained with."""
        signal, noise = self.scales_at(torch.tensor(sigma, dtype=torch.float64))
        size = float(getattr(self._sampling, "sigma_data", 1.0))
        return noise / (signal * size) if signal > 0 else math.inf

    def spread(self, start: float, steps: int) -> list[float]:
        """Sigmas from `start` to 0, evenly over the places of a schedule of very many steps."""
        places = np.arange(len(self._fine))
        first = np.interp(-start, -self._fine, places)
        between = np.linspace(first, places[-1], steps + 1)[1:-1]
        return [start, *np.interp(between, places, self._fine).tolist(), 0.0]

    @cached_property
    def _fine(self) -> np.ndarray:
        # where a model knows few sigmas, they come several times
        return np.unique(self._host_sigmas(_FINE).numpy().astype(np.float64))[::-1]

    def scales(self, schedule: Schedule) -> tuple[float, float]:
        """`(a, s)` such that `a * latent + s * noise` is a latent at the first sigma."""
        return self.scales_at(as_sigmas(schedule)[0])

    def scales_at(self, sigma: Tensor) -> tuple[float, float]:
        """As `scales`, at `sigma`, in its type."""
        # a latent without noise, and noise without a latent
        latent = torch.tensor([1, 0], dtype=sigma.dtype).view(2, 1, 1, 1)
        signal, noise = self._sampling.noise_scaling(sigma, 1 - latent, latent).flatten().tolist()
        return signal, noise


def as_schedule(sigmas: Tensor) -> Schedule:
    """The schedule of `sigmas` `(steps + 1,)`."""
    return Schedule(tuple(sigmas.tolist()))


def as_sigmas(schedule: Schedule) -> Tensor:
    """The way back of `as_schedule`."""
    return torch.tensor(schedule.points, dtype=torch.float32)
