"""A latent diffusion model whose exact denoiser is known: no network, so that the method can be
held to a formula.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence

import torch
from torch import Tensor

from diffusion_interpolation.models.contract import Guidance, Sampled, Schedule
from diffusion_interpolation.models.prompts import PromptEmbeddings

CLEAN = -1


class GaussianModel:
    """Latents are pictures, drawn from `N(mean(text), spread^2)`; DDIM over every `stride`-th of
    1000 timesteps.

    It stands in for a network where a test asks about the method around it.
    """

    def __init__(self, spread: float = 0.5, stride: int = 50, max_batch: int = 8) -> None:
        self.spread, self.max_batch = spread, max_batch
        self.device = torch.device("cpu")
        self.hint_scale = 8
        self.grid = list(range(1, 1000, stride))
        betas = torch.linspace(0.00085**0.5, 0.012**0.5, 1000, dtype=torch.float64) ** 2
        self.kept = (1 - betas).cumprod(0)
        # of each call of `sample`
        self.rows: list[int] = []
        self.seeds: list[Sequence[int] | None] = []

    def encode(self, pictures: Tensor) -> Tensor:
        return pictures * 2 - 1

    def decode(self, latents: Tensor) -> Tensor:
        return ((latents + 1) / 2).clamp(0, 1)

    def schedule(self, denoise: float, min_steps: int = 1) -> Schedule:
        """From the last timestep of the grid that is not above `denoise`, whatever the steps."""
        last = max(t for t in self.grid if t <= max(denoise * 1000, self.grid[0]))
        return Schedule((*(t for t in reversed(self.grid) if t <= last), CLEAN))

    def scales(self, schedule: Schedule) -> tuple[float, float]:
        return self._at(schedule.points[0])

    def _at(self, timestep: int) -> tuple[float, float]:
        kept = 1.0 if timestep == CLEAN else float(self.kept[timestep])
        return math.sqrt(kept), math.sqrt(1 - kept)

    def _noise(self, noisy: Tensor, scales: tuple[float, float], text: PromptEmbeddings) -> Tensor:
        a, s = scales
        mean = text.embeddings.mean((1, 2))[:, None, None, None]
        return s * (noisy - a * mean) / (a * a * self.spread**2 + s * s)

    def sample(self, noisy: Tensor, schedule: Schedule, guidance: Guidance) -> Sampled:
        self.rows.append(len(noisy))
        self.seeds.append(guidance.seeds)
        denoised = noisy
        for now, then in itertools.pairwise(schedule.points):
            (a, s), (next_a, next_s) = self._at(now), self._at(then)
            noise = guidance.guided([self._noise(noisy, (a, s), t) for t in guidance.texts()])
            denoised = (noisy - s * noise) / a
            noisy = next_a * denoised + next_s * noise
        return Sampled(noisy, denoised)

    def predict_noise(
        self, noisy: Tensor, levels: Tensor, text: PromptEmbeddings, negatives: int = 0
    ) -> Tensor:
        rows = [
            self._noise(noisy[i : i + 1], self.scales(self.schedule(float(v))), text.rows([i]))
            for i, v in enumerate(levels)
        ]
        return torch.cat(rows)
