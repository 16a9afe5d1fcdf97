"""DDIM inversion and deterministic steps on the contract alone: schedule, scales, predict_noise.

Euler steps of flow matching are the same steps, with `(1 - sigma, sigma)` as the scales.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from diffusion_interpolation.models.contract import LearnableModel
from diffusion_interpolation.models.prompts import PromptEmbeddings

Predict = Callable[[Tensor, int], Tensor]
"""The noise in latents at a step of the ladder."""


@dataclass(frozen=True)
class Ladder:
    """The steps of a model from clean latents (0) to nearly pure noise (`top`).

    `scales` are the signal and the noise at each step. The last step of a flow model is pure noise,
    in which no latent is left, so it is left out.
    """

    model: LearnableModel
    steps: int
    scales: tuple[tuple[float, float], ...]

    @classmethod
    def of(cls, model: LearnableModel) -> Ladder:
        """Return the ladder of a model's own steps."""
        steps = len(model.schedule(1.0))
        rungs = [model.scales(model.schedule(step / steps)) for step in range(1, steps + 1)]
        return cls(model, steps, ((1.0, 0.0), *(rung for rung in rungs if rung[0] > 1e-3)))

    @property
    def top(self) -> int:
        return len(self.scales) - 1

    @torch.no_grad()
    def noise(self, latents: Tensor, step: int, text: PromptEmbeddings) -> Tensor:
        """Return the noise that the model predicts in latents at `step`, under one text row."""
        levels = torch.full((len(latents),), step / self.steps)
        return self.model.predict_noise(latents, levels, text.repeated(len(latents)))

    def move(self, latents: Tensor, noise: Tensor, start: int, stop: int) -> Tensor:
        """Return latents at `stop` of those at `start`, along the noise in them (DDIM, eta 0)."""
        (signal, sigma), (other, more) = self.scales[start], self.scales[stop]
        return other * (latents - sigma * noise) / signal + more * noise

    def invert(self, latents: Tensor, predict: Predict, stop: int, repeats: int = 1) -> Tensor:
        """Return the noisy latents at `stop` that lead back to clean `latents`.

        The noise of a step is predicted at the step that it leads to, `repeats` times, each time in
        the latents that the last prediction gave.
        """
        for step in range(1, stop + 1):
            guess = latents
            for _ in range(repeats):
                guess = self.move(latents, predict(guess, step), step - 1, step)
            latents = guess
        return latents

    def denoise(self, latents: Tensor, predict: Predict, start: int) -> Tensor:
        """Return the clean latents of noisy ones at `start`."""
        for step in range(start, 0, -1):
            latents = self.move(latents, predict(latents, step), step, step - 1)
        return latents
