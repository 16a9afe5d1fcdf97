"""Learns a LoRA for each keyframe, with which a model draws that keyframe again.

The LoRAs hold what the pictures look like, beside a prompt that says what they show; mixed by
position they hold what lies between (DiffMorpher, Zhang et al. 2023, arXiv 2312.07409, section 3.2;
IMPUS, Yang et al. 2023, arXiv 2311.06792).
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol

import torch
from torch import Tensor, nn

from ...lora_settings import LoraSettings
from ...models.contract import Schedule
from ...models.lora import KeyframeLora
from ...models.memory import Batches
from ...models.prompts import PromptEmbeddings, Prompts, by_part, for_keyframes, move, of_keyframes
from .gradient_scale import GradientScale
from .inversion import Fitting, NoGradientError


class Predictor(Protocol):
    """What learning asks of a model (`models.contract`)."""

    device: torch.device
    max_batch: int

    def schedule(self, denoise: float, min_steps: int = 1) -> Schedule: ...

    def scales(self, schedule: Schedule) -> tuple[float, float]: ...

    def predict_noise(self, noisy: Tensor, levels: Tensor, text: PromptEmbeddings) -> Tensor: ...


def learn_lora(
    model: Predictor,
    network: nn.Module,
    latents: Tensor,
    positive: Prompts,
    settings: LoraSettings | None = None,
    on_step: Callable[[int, float], None] | None = None,
    fitting: Fitting | None = None,
) -> tuple[KeyframeLora, dict[int, float]]:
    """Learn the LoRAs of clean `latents` `(N, c, h', w')`; returns them, and the losses by step.

    `network` is what `model` predicts noise with. `positive` has a row for each latent, or one for
    all. The loss is the mean squared error of the noise, without guidance. It is told as the mean
    of `evaluate_every` steps, because each step has noise of its own. `on_step(step, loss)` is
    called after every step; what it raises ends the learning. `fitting` is that of `invert`. Raises
    `ValueError` for settings out of range and for a network without attention, `NoGradientError`
    where the model cannot be differentiated, and `FloatingPointError` for numbers that are not
    finite.
    """
    settings = settings or LoraSettings()
    settings.check()
    learner = _Learner(model, network, latents, positive, settings, fitting)
    losses, recent = {}, []
    with torch.enable_grad():
        for step in range(1, settings.steps + 1):
            recent.append(learner.step())
            if step % settings.evaluate_every == 0 or step == settings.steps:
                losses[step], recent = sum(recent) / len(recent), []
            if on_step:
                on_step(step, next(reversed(losses.values()), recent[-1] if recent else 0.0))
    return learner.lora.of([tensor.detach() for tensor in learner.tensors]), losses


class _Learner:
    """AdamW over the LoRAs of all keyframes, which have no part in each other's loss."""

    def __init__(
        self,
        model: Predictor,
        network: nn.Module,
        latents: Tensor,
        positive: Prompts,
        settings: LoraSettings,
        fitting: Fitting | None,
    ) -> None:
        self.model, self.network, self.settings = model, network, settings
        self.generator = torch.Generator().manual_seed(settings.seed)
        fresh = KeyframeLora.fresh(network, len(latents), settings.rank, self.generator)
        device = next(network.parameters()).device
        self.tensors = [one.to(device).requires_grad_(True) for one in fresh.tensors()]
        self.lora = fresh.of(self.tensors)
        self.latents = latents.detach().clone().to(model.device)
        self.positive = move(for_keyframes(positive, len(latents)), self.latents)
        fits = model.max_batch if fitting is None else self._fitting(fitting)
        self.batches, self.scale = Batches(max(1, fits)), GradientScale()
        self.optimizer = torch.optim.AdamW(self.tensors, lr=settings.learning_rate)

    def _fitting(self, fitting: Fitting) -> int:
        longest = max(self.positive.parts, key=lambda part: part.embeddings.shape[1])
        return fitting(self.latents.shape, longest, 1)

    def step(self) -> float:
        """Take one step for all keyframes; returns the mean of their losses."""
        count, generator = len(self.latents), self.generator
        noise = torch.randn(self.latents.shape, generator=generator).to(self.latents)
        low, high = self.settings.min_denoise, self.settings.max_denoise
        levels = low + (high - low) * torch.rand(count, generator=generator)
        self.optimizer.zero_grad(set_to_none=True)

        def descend(rows: list[int]) -> Tensor:
            # on the way back, too, where checkpoints run the network again
            with self.lora.on(self.network, self.lora.weights(rows)):
                losses = self._losses(rows, noise[rows], levels[rows])
                found = self._gradients(losses)
            # once all are there: a batch that does not fit leaves no trace
            for tensor, gradient in zip(self.tensors, found, strict=True):
                if gradient is not None:
                    gradient = self.scale.level(gradient)
                    tensor.grad = gradient if tensor.grad is None else tensor.grad + gradient
            return losses.detach()

        groups = by_part(self.positive, list(range(count)))
        loss = self.batches.run_groups(descend, groups).mean().item()
        if not self.scale.overflowed(tensor.grad for tensor in self.tensors):
            self.optimizer.step()
        return loss

    def _losses(self, rows: list[int], noise: Tensor, levels: Tensor) -> Tensor:
        """The mean squared errors `(n,)` of the noise predicted for the keyframes `rows`."""
        scales = [self.model.scales(self.model.schedule(level)) for level in levels.tolist()]
        signal, sigma = torch.tensor(scales).to(noise)[:, :, None, None, None].unbind(1)
        noisy = signal * self.latents[rows] + sigma * noise
        text = of_keyframes(self.positive, rows)
        predicted = self.model.predict_noise(noisy, levels, text)
        return (predicted - noise).square().mean((1, 2, 3))

    def _gradients(self, losses: Tensor) -> list[Tensor | None]:
        """Of the sum of losses, so that no keyframe changes what another one learns."""
        if not losses.requires_grad:
            raise NoGradientError("LoRA")
        # some layers of attention may be unused
        return list(
            torch.autograd.grad(losses.sum() * self.scale.factor, self.tensors, allow_unused=True)
        )
