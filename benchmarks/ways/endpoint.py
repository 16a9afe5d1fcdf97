"""This package's way with attention to both keyframes (AID's fused outer attention) in every step.

The keyframes of a frame's gap go through the network beside it, under the frame's own noise, and
are put back on that noise at every step, so that no inversion is needed.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import torch
from torch import Tensor

from diffusion_interpolation.models.contract import Guidance, Sampled, Schedule

from .attention import fused, hooked
from .ours import bisection
from .peers import denoiser
from .registry import ROWS, Task, maker


@maker("attention to keyframes", rows="endpoint attention")
def attending(task: Task) -> Tensor:
    """Make frames as `bisection` does, on a model that looks at the keyframes."""
    keyframes = task.model.encode(task.pictures)
    return bisection(replace(task, model=_Attending(task.model, keyframes)))


ROWS["endpoint attention"]["attention to keyframes, denoise 0.75 to 0.4"] = {
    "maker": "attention to keyframes",
    "max_denoise": 0.75,
    "min_denoise": 0.40,
}


class _Attending:
    """A model whose rows attend to the `keyframes` `(N, c, h', w')` before and after them."""

    def __init__(self, model: Any, keyframes: Tensor) -> None:
        self._model, self._keyframes = model, keyframes
        self._noise: dict[int, Tensor] = {}

    def __getattr__(self, name: str) -> Any:
        return getattr(self._model, name)

    def sample(self, noisy: Tensor, schedule: Schedule, guidance: Guidance) -> Sampled:
        """Take the steps one by one, in batches of whole groups of three."""
        size = max(1, self._model.max_batch // 3)
        parts = [
            self._sampled(noisy[rows], schedule, guidance.rows(rows))
            for rows in (part.tolist() for part in torch.arange(len(noisy)).split(size))
        ]
        return Sampled(*(torch.cat(both) for both in zip(*parts, strict=True)))

    def _sampled(self, noisy: Tensor, schedule: Schedule, guidance: Guidance) -> Sampled:
        positions = torch.tensor(guidance.positions)
        before = positions.floor().long().clamp_max(len(self._keyframes) - 2)
        share = (positions - before).to(noisy)
        weights = torch.stack([torch.zeros_like(share), share, torch.ones_like(share)], 1)
        noise = torch.stack([self._noise_of(seed, noisy[0]) for seed in guidance.seeds])
        tripled = guidance.rows([row for row in range(len(noisy)) for _ in range(3)])
        denoised = noisy
        for step in range(len(schedule)):
            signal, sigma = self._model.scales(schedule[step:])
            ends = [signal * self._keyframes[before + end] + sigma * noise for end in (0, 1)]
            rows = torch.stack([ends[0], noisy, ends[1]], 1).flatten(0, 1)
            with hooked(denoiser(self._model), fused(weights), 3):
                sampled = self._model.sample(rows, schedule[step : step + 1], tripled)
            noisy, denoised = sampled.latents[1::3], sampled.denoised[1::3]
        return Sampled(noisy, denoised)

    def _noise_of(self, seed: int, like: Tensor) -> Tensor:
        """The noise that a frame began with; after the ranking, its seed is one higher."""
        first = seed if (seed - 1) % 2**64 not in self._noise else (seed - 1) % 2**64
        if first not in self._noise:
            drawn = torch.randn(like.shape, generator=torch.Generator().manual_seed(first))
            self._noise[first] = drawn.to(like)
        return self._noise[first]
