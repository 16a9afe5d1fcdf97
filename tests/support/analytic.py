"""A latent diffusion model whose exact denoiser is known: no network, so that the method can be
held to a formula.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence

import torch
from torch import Tensor

from diffusion_interpolation.model import Begun, Guidance, Text, steps_to_begin


class GaussianModel:
    """Latents are pictures, drawn from `N(mean(text), spread^2)`; DDIM over every `stride`-th of
    1000 timesteps.

    It stands in for a network where a test asks about the method around it.
    """

    def __init__(self, spread: float = 0.5, stride: int = 50, batch_size: int = 8) -> None:
        self.spread, self.batch_size = spread, batch_size
        self.device = torch.device("cpu")
        self.hint_scale = 8
        self.grid = list(range(1, 1000, stride))
        betas = torch.linspace(0.00085**0.5, 0.012**0.5, 1000, dtype=torch.float64) ** 2
        self.kept = (1 - betas).cumprod(0)
        # of each call of `denoise` or `begin`, and of `finish`
        self.rows: list[int] = []
        self.finished: list[int] = []

    def encode(self, pictures: Tensor) -> Tensor:
        return pictures * 2 - 1

    def decode(self, latents: Tensor) -> Tensor:
        return ((latents + 1) / 2).clamp(0, 1)

    def timestep(self, level: float) -> int:
        return max(t for t in self.grid if t <= max(level * 1000, self.grid[0]))

    def _at(self, timestep: int) -> tuple[float, float]:
        kept = float(self.kept[timestep])
        return math.sqrt(kept), math.sqrt(1 - kept)

    def scales(self, level: float) -> tuple[float, float]:
        return self._at(self.timestep(level))

    def _noise(self, noisy: Tensor, scales: tuple[float, float], text: Text) -> Tensor:
        a, s = scales
        mean = text.states.mean((1, 2))[:, None, None, None]
        return s * (noisy - a * mean) / (a * a * self.spread**2 + s * s)

    def denoise(
        self, noisy: Tensor, level: float, guidance: Guidance, until: float | None = None
    ) -> Tensor:
        self.rows.append(len(noisy))
        steps = self._timesteps(level)
        if until is not None:
            steps = [t for t in steps if t is not None and t >= self.timestep(until)]
        return self._run(noisy, steps, guidance).latents

    def _timesteps(self, level: float) -> list[int | None]:
        """Those from `level` on, and None for the end."""
        return [*(t for t in reversed(self.grid) if t <= self.timestep(level)), None]

    def steps(self, level: float) -> int:
        return len(self._timesteps(level)) - 1

    def begin(self, noisy: Tensor, level: float, guidance: Guidance, share: float) -> Begun:
        self.rows.append(len(noisy))
        first = steps_to_begin(self.steps(level), share)
        return self._run(noisy, self._timesteps(level)[: first + 1], guidance)

    def finish(self, begun: Tensor, level: float, guidance: Guidance, share: float) -> Tensor:
        self.finished.append(len(begun))
        first = steps_to_begin(self.steps(level), share)
        return self._run(begun, self._timesteps(level)[first:], guidance).latents

    def _run(self, noisy: Tensor, steps: list[int | None], guidance: Guidance) -> Begun:
        clean = noisy
        for now, then in itertools.pairwise(steps):
            a, s = self._at(now)
            next_a, next_s = self._at(then) if then is not None else (1.0, 0.0)
            away = self._noise(noisy, (a, s), guidance.negative)
            noise = away + guidance.cfg * (self._noise(noisy, (a, s), guidance.positive) - away)
            clean = (noisy - s * noise) / a
            noisy = next_a * clean + next_s * noise
        return Begun(noisy, clean)

    def learning_batch(self, latent_shape: Sequence[int], text: Text, halves: int) -> int:
        return self.batch_size // halves

    def predict_noise(
        self, noisy: Tensor, levels: Tensor, text: Text, negatives: int = 0
    ) -> Tensor:
        rows = [
            self._noise(noisy[i : i + 1], self.scales(float(v)), text.rows([i]))
            for i, v in enumerate(levels)
        ]
        return torch.cat(rows)
